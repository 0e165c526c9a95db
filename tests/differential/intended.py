"""Differences that are known and meant, each with its reason. Anything else is a finding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.differential.answers import Refusal
from tests.differential.requests import Request

# Any below: an answer is whatever pymilvus makes of one.


@dataclass(frozen=True)
class Intended:
    """`covers`: the request, what elanus answers, what Milvus 2.3.5 answers."""

    reason: str
    covers: Callable[[Request, Any, Any], bool]


UNCLASSIFIED = 65535


def both_refuse(ours: Any, theirs: Any) -> bool:
    return isinstance(ours, Refusal) and isinstance(theirs, Refusal)


def unclassified(request: Request, ours: Any, theirs: Any) -> bool:
    return both_refuse(ours, theirs) and theirs.code == UNCLASSIFIED


def only_we_refuse(call: str, *told: str) -> Callable[[Request, Any, Any], bool]:
    """`told`: what the request reads like, one of them."""

    def covers(request: Request, ours: Any, theirs: Any) -> bool:
        alone = isinstance(ours, Refusal) and not isinstance(theirs, Refusal)
        return alone and request.call == call and any(text in str(request) for text in told)

    return covers


def only_they_refuse(call: str, *told: str) -> Callable[[Request, Any, Any], bool]:
    def covers(request: Request, ours: Any, theirs: Any) -> bool:
        alone = isinstance(theirs, Refusal) and not isinstance(ours, Refusal)
        return alone and request.call == call and any(text in str(request) for text in told)

    return covers


def codes(call: str, told: str, ours_is: int, theirs_is: int) -> Callable[[Request, Any, Any], bool]:
    def covers(request: Request, ours: Any, theirs: Any) -> bool:
        asked = request.call == call and told in str(request)
        return asked and both_refuse(ours, theirs) and (ours.code, theirs.code) == (ours_is, theirs_is)

    return covers


def null_key(request: Request, ours: Any, theirs: Any) -> bool:
    return request.arguments.get("filter") == 'exists j["k"]'


def missing_list(request: Request, ours: Any, theirs: Any) -> bool:
    return request.arguments.get("filter") == 'array_length(j["l"]) == 0'


def underscore(request: Request, ours: Any, theirs: Any) -> bool:
    return request.arguments.get("filter") == 's like "b_"'


def scalar_autoindex(request: Request, ours: Any, theirs: Any) -> bool:
    named = request.call == "describe_index" and request.arguments["index_name"] in ("b", "d")
    return named and isinstance(ours, dict) and ours.get("index_type") == "AUTOINDEX"


INTENDED: tuple[Intended, ...] = (
    Intended(
        "2.3.5 has no code for most mistakes and says 65535; elanus says the code that 2.6 and 3.0 say",
        unclassified,
    ),
    Intended(
        "a collection that has aliases is dropped only after them, as from 2.4 on",
        only_we_refuse("drop_collection", "one that has an alias"),
    ),
    Intended(
        "2.3.5 reads some of a search only where there are rows, and leaves some unread",
        only_we_refuse("search", "data=", "radius", "group_by_field"),
    ),
    Intended(
        "2.3.5 evaluates what cannot mean anything: an order of booleans, a remainder of fractions",
        only_we_refuse("query", "b > true", "% 2.5"),
    ),
    Intended(
        "later grammars have more: JSON compared as a whole, a condition of constants, is null, inner and "
        "suffix patterns, comparisons of array_length",
        only_they_refuse(
            "query", "j == 1", "j > 'a'", "'true'", "'1 == 1'", "is null", 'like "%', "array_length"
        ),
    ),
    Intended("in later versions a key whose value is null does not exist", null_key),
    Intended("2.3.5 takes a list that is missing for an empty one; to elanus it has no length", missing_list),
    Intended("in later versions _ in a pattern stands for one character", underscore),
    Intended(
        "later versions refuse a delete without an expression; 2.3.5 does nothing and calls it done",
        only_we_refuse("Delete", "''"),
    ),
    Intended(
        "2.3.5 succeeds in dropping a database that is missing; a typing error should be told",
        only_we_refuse("DropDatabase", "a missing database"),
    ),
    Intended(
        "2.3.5 makes collections without a vector, of a type that nobody knows, of -1 shards",
        only_we_refuse("CreateCollection", "no vector", "unknown type", "-1 shards"),
    ),
    Intended(
        "a reserved field name has the code of every other wrong field name",
        codes("CreateCollection", "a field named", 1701, 1100),
    ),
    Intended(
        "a max_length of 0 and none are the same to elanus: a missing parameter",
        codes("CreateCollection", "max_length 0", 1101, 1100),
    ),
    Intended(
        "later versions index paths of JSON, and want to know their type",
        codes("create_index", "on j", 1101, 1100),
    ),
    Intended(
        "2.3.5 takes HAMMING for an HNSW index of floats and fails when it builds",
        only_we_refuse("create_index", "HNSW HAMMING"),
    ),
    Intended(
        "later versions index booleans too",
        only_they_refuse("create_index", " on b"),
    ),
    Intended("an index of a scalar without a type is AUTOINDEX, as later versions tell", scalar_autoindex),
)


def reason_for(request: Request, ours: Any, theirs: Any) -> str | None:
    return next((known.reason for known in INTENDED if known.covers(request, ours, theirs)), None)
