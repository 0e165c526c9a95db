"""Key-value pairs, search parameters, expression templates, consistency."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any

import msgspec

from elanus.access.protocol import messages
from elanus.access.requests import Grouping, Page, TemplateValue
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.timestamps import SHIFT
from elanus.model.types import ConsistencyLevel

# Any below: protobuf messages of the private pool have no static types; search parameters are free JSON.

NESTED = "params"
"""The key under which clients nest parameters as JSON."""
_TRUE = frozenset({"true", "True", "TRUE", "1"})
_FALSE = frozenset({"false", "False", "FALSE", "0", ""})


def pairs(values: Iterable[Any]) -> dict[str, str]:
    """KeyValuePairs to a dict. Raises InvalidParameter on a key that is given twice with different values."""
    return once((pair.key, pair.value) for pair in values)


def once(values: Iterable[tuple[str, str]]) -> dict[str, str]:
    """As `pairs`, of (key, value)."""
    found: dict[str, str] = {}
    for key, value in values:
        if found.setdefault(key, value) != value:
            raise InvalidParameter(f"parameter {key!r} is given twice, as {found[key]!r} and as {value!r}")
    return found


def to_pairs(values: Mapping[str, str]) -> list[Any]:
    return [messages.KeyValuePair(key=key, value=value) for key, value in values.items()]


def integer(values: Mapping[str, str], key: str, default: int) -> int:
    """The integer under `key`. Raises InvalidParameter."""
    text = values.get(key)
    if text is None or text == "":
        return default
    try:
        return int(text)
    except ValueError:
        raise InvalidParameter(f"{key} is {text!r}; it must be an integer") from None


def number(key: str, text: str) -> float:
    """Raises InvalidParameter."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if math.isnan(found):
        raise InvalidParameter(f"{key} is {text!r}; it must be a number")
    return found


def flag(values: Mapping[str, str], key: str) -> bool:
    """The boolean under `key`, False where it is missing. Raises InvalidParameter."""
    text = values.get(key, "")
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidParameter(f"{key} is {text!r}; it must be true or false")


def nested(text: str) -> dict[str, Any]:
    """The JSON object that clients put under `params`. Raises InvalidParameter."""
    if not text.strip():
        return {}
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidParameter(f"params is {text!r}, which is not JSON: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidParameter(f"params is {text!r}; it must be a JSON object")
    return found


def loose(value: Any) -> Any:
    """A number or boolean that came as a string as what it is; other values as they came."""
    if not isinstance(value, str):
        return value
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


# Searches ------------------------------------------------------------------------------------------------

_SEARCH_KEYS = frozenset(
    {
        "topk",
        "limit",
        "offset",
        "anns_field",
        "metric_type",
        "round_decimal",
        "ignore_growing",
        "iterator",
        "nq",
        "collection_id",
        "cluster_id",
        "page_retain_order",
        "search_iter_v2",
        "search_iter_batch_size",
        "search_iter_last_bound",
        "search_iter_id",
        "group_by_field",
        "group_size",
        "strict_group_size",
        "timezone",
        "time_fields",
        "hints",
        "pipeline_trace",
    }
)
"""Keys of a search that are not parameters of the index."""
_NOT_BUILT = frozenset(
    {
        "group_by_fields",
        "rank_group_scorer",
        "order_by_fields",
        "analyzer_name",
        "json_path",
    }
)


@dataclass(frozen=True, kw_only=True)
class SearchParams:
    """What a search's key-value pairs say. `index`: the parameters of the index, from wherever they came."""

    limit: int
    offset: int = 0
    field: str = ""
    metric: str = ""
    round_decimal: int = -1
    iterator: bool = False
    ignore_growing: bool = False
    group: Grouping | None = None
    page: Page | None = None
    index: dict[str, Any] = dataclasses.field(default_factory=dict)


def search_params(values: Mapping[str, str]) -> SearchParams:
    """Raises InvalidParameter, or Unimplemented for what is not built."""
    refuse_not_built(values, _NOT_BUILT)
    inner = nested(values.get(NESTED, ""))
    # Clients differ in where they put these: beside `params` or inside.
    outer = {k: _text(v) for k, v in inner.items() if k in _SEARCH_KEYS} | dict(values)
    refuse_not_built({k: _text(v) for k, v in inner.items() if k in _NOT_BUILT}, _NOT_BUILT)
    if "topk" not in outer and "limit" not in outer:
        raise InvalidParameter("the search has no topk; give a limit of at least 1")
    index = {k: loose(v) for k, v in values.items() if k not in _SEARCH_KEYS and k != NESTED}
    index |= {k: loose(v) for k, v in inner.items() if k not in _SEARCH_KEYS}
    page = _page(outer)
    limit = integer(outer, "topk" if "topk" in outer else "limit", 0)
    return SearchParams(
        limit=limit if page is None else integer(outer, "search_iter_batch_size", limit),
        offset=integer(outer, "offset", 0),
        field=outer.get("anns_field", ""),
        metric=outer.get("metric_type", ""),
        round_decimal=integer(outer, "round_decimal", -1),
        iterator=page is not None or flag(outer, "iterator"),
        ignore_growing=flag(outer, "ignore_growing"),
        group=_grouping(outer),
        page=page,
        index=index,
    )


def _grouping(outer: Mapping[str, str]) -> Grouping | None:
    field = outer.get("group_by_field", "")
    if not field:
        return None
    return Grouping(
        field=field, size=integer(outer, "group_size", 1), strict=flag(outer, "strict_group_size")
    )


def _page(outer: Mapping[str, str]) -> Page | None:
    """Of an iterator that leaves to the server where it goes on (`search_iter_v2`)."""
    if not flag(outer, "search_iter_v2"):
        return None
    text = outer.get("search_iter_last_bound", "")
    bound = number("search_iter_last_bound", text) if text else None
    return Page(token=outer.get("search_iter_id", ""), last_bound=bound)


def refuse_not_built(values: Mapping[str, str], keys: Set[str]) -> None:
    """Raises Unimplemented for a parameter that would change the answer and is not built."""
    for key in keys & values.keys():
        if values[key] not in ("", "null", "None", "false", "False"):
            raise Unimplemented(f"the parameter {key}={values[key]!r} is not implemented")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# Reads ---------------------------------------------------------------------------------------------------

FIRST_TIMESTAMP = 3
"""A guarantee timestamp below this is a code for a consistency level, not a time."""
_GUARANTEES = {1: ConsistencyLevel.EVENTUALLY, 2: ConsistencyLevel.BOUNDED}
_COUNTER = (1 << SHIFT) - 1


def session(request: Any, iterator: bool) -> int:
    """The timestamp that a later page of an iterator is to be read at; 0: now.

    It is the one that its first page was answered with. Clients before 2.5 send the time of their last write
    instead, whose counter is 0 (`Reader` gives none away that is): their pages are read at the end.
    """
    ts: int = request.guarantee_timestamp
    return ts if iterator and ts & _COUNTER and ts >= FIRST_TIMESTAMP else 0


def consistency(request: Any) -> ConsistencyLevel | None:
    """The level a read asks for; None: the collection's own. Raises InvalidParameter.

    Clients that know no levels leave it at 0 (Strong) and say what they want by the timestamp.
    """
    if request.use_default_consistency:
        return None
    try:
        level = ConsistencyLevel(request.consistency_level)
        if level is ConsistencyLevel.STRONG:
            level = _GUARANTEES.get(request.guarantee_timestamp, level)
        return level
    except ValueError:
        names = ", ".join(f"{level.value} ({level.name.title()})" for level in ConsistencyLevel)
        raise InvalidParameter(
            f"consistency_level is {request.consistency_level}; it must be one of {names}"
        ) from None


def templates(values: Mapping[str, Any]) -> dict[str, TemplateValue]:
    """Expression template values. Raises Unimplemented for bytes, InvalidParameter for an empty one."""
    return {name: _template(name, value) for name, value in values.items()} if values else {}


def _template(name: str, value: Any) -> TemplateValue:
    kind = value.WhichOneof("val")
    if kind is None:
        raise InvalidParameter(f"the template variable {name!r} has no value")
    if kind == "bytes_val":
        raise Unimplemented(f"the template variable {name!r} holds bytes, which is not implemented")
    if kind == "array_val":
        return _template_array(name, value.array_val)
    found: TemplateValue = getattr(value, kind)
    return found


def _template_array(name: str, array: Any) -> list[TemplateValue]:
    kind = array.WhichOneof("data")
    if kind is None:
        return []
    if kind == "array_data":
        return [_template_array(name, inner) for inner in array.array_data.data]
    if kind == "json_data":
        try:
            return [msgspec.json.decode(text) for text in array.json_data.data]
        except (msgspec.DecodeError, RecursionError) as error:
            raise InvalidParameter(f"the template variable {name!r} holds invalid JSON: {error}") from None
    return list(getattr(array, kind).data)
