"""Names: which characters, how long, which words are taken."""

import re

from elanus.model.codes import Code
from elanus.model.errors import InvalidParameter
from elanus.model.limits import Limits

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATTERNS = {
    "collection": _PLAIN,
    "alias": _PLAIN,
    "database": _PLAIN,
    "field": _PLAIN,
    "partition": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*"),
    "index": re.compile(r"[A-Za-z_][A-Za-z0-9_\[\]]*"),
    "user": re.compile(r"[A-Za-z][A-Za-z0-9_.-]*"),
    "role": re.compile(r"[A-Za-z_][A-Za-z0-9_$]*"),
    "privilege group": _PLAIN,
    "object": re.compile(r"[A-Za-z_][A-Za-z0-9_$]*"),
}
_RULES = {
    "partition": "letters, digits, underscores and hyphens, and may not start with a hyphen",
    "index": "letters, digits, underscores and brackets, and must start with a letter or underscore",
    "user": "letters, digits, underscores, dots and hyphens, and must start with a letter",
    "role": "letters, digits, underscores and $, and must start with a letter or underscore",
    "object": "letters, digits, underscores and $, and must start with a letter or underscore",
}
_PLAIN_RULE = "letters, digits and underscores, and must start with a letter or underscore"
_CODES = {
    "database": Code.DATABASE_INVALID_NAME,
    "field": Code.FIELD_INVALID_NAME,
    "privilege group": Code.PRIVILEGE_GROUP_INVALID_NAME,
}

RESERVED_FIELDS = frozenset({"RowID", "Timestamp", "__virtual_pk__", "$meta", "$namespace_id"})
_FUNCTIONS = (
    "json_contains",
    "json_contains_all",
    "json_contains_any",
    "array_contains",
    "array_contains_all",
    "array_contains_any",
    "array_length",
    "text_match",
    "phrase_match",
    "random_sample",
)
KEYWORDS = frozenset(
    {*_FUNCTIONS, *(f.upper() for f in _FUNCTIONS), "true", "True", "TRUE", "false", "False", "FALSE"}
)


def check_name(kind: str, name: str, limits: Limits) -> None:
    """`kind` is "collection", "alias", "database", "field", "partition", "index", "user", "role",
    "privilege group" or "object" (what a grant names).

    Raises InvalidParameter, with the code of its own that the protocol has for some kinds.
    """
    code = _CODES.get(kind, Code.PARAMETER_INVALID)
    if not name:
        raise InvalidParameter(f"the {kind} name is empty; give one", code)
    length = len(name.encode())
    most = limits.user_name_length if kind == "user" else limits.name_length
    if length > most:
        raise InvalidParameter(
            f"the {kind} name {name[:32]!r}... has {length} bytes; at most {most} are allowed",
            code,
        )
    if not _PATTERNS[kind].fullmatch(name):
        rule = _RULES.get(kind, _PLAIN_RULE)
        raise InvalidParameter(f"the {kind} name {name!r} is invalid; it may have {rule}", code)


def check_field_name(name: str, limits: Limits) -> None:
    """Raises InvalidParameter with code FIELD_INVALID_NAME."""
    if name in RESERVED_FIELDS:
        raise InvalidParameter(
            f"the field name {name!r} is reserved; choose another one", Code.FIELD_INVALID_NAME
        )
    check_name("field", name, limits)
    if name in KEYWORDS or name.lower() == "null":
        raise InvalidParameter(
            f"the field name {name!r} is a word of the filter language; choose another one",
            Code.FIELD_INVALID_NAME,
        )
