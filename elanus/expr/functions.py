"""Calls: which functions there are, what they take, what they become."""

import re
from collections.abc import Callable

from elanus.expr import tree
from elanus.expr.casts import gather, scalar
from elanus.expr.plan import Column, Compare, Constant, Contains, Element, Json, Kind, Length, Like, Node
from elanus.expr.scope import Scope
from elanus.model.types import DataType

Bind = Callable[[tree.Syntax], Node]

UNBUILT = (
    "text_match",
    "text_match_fuzzy",
    "phrase_match",
    "random_sample",
    "element_filter",
    "match_all",
    "match_any",
    "match_least",
    "match_most",
    "match_exact",
    "st_equals",
    "st_touches",
    "st_overlaps",
    "st_crosses",
    "st_contains",
    "st_intersects",
    "st_within",
    "st_dwithin",
    "st_isvalid",
)
_CONTAINS = ("contains", "contains_all", "contains_any")
_TEXT = ("empty", "starts_with")
_NAMES = ("array_length", *_TEXT, *(f"{kind}_{name}" for kind in ("json", "array") for name in _CONTAINS))


def call(scope: Scope, node: tree.Call, bind: Bind) -> Length | Contains | Compare | Like:
    """Raises Unimplemented for a function that is known but not built, else InvalidExpression."""
    name = node.name.lower()
    known = node.name in (name, name.upper()) or name in _TEXT
    if known and name in UNBUILT:
        raise scope.unimplemented(node, f"the function {name}")
    if not known or name not in _NAMES:
        hint = scope.nearest(name, (*_NAMES, *UNBUILT))
        raise scope.error(node, f"there is no function {node.name!r}{hint}")
    wanted = 1 if name in ("array_length", "empty") else 2
    if len(node.arguments) != wanted or node.options:
        found = f"{len(node.arguments)} and {len(node.options)} options"
        raise scope.error(node, f"{name} takes {wanted} argument{'s' * (wanted > 1)}, found {found}")
    if name in _TEXT:
        return _text(scope, node, name, bind)
    array = _array(scope, node.arguments[0], name, bind)
    if name == "array_length":
        return Length(array)
    return _contains(scope, node, name, array, bind)


def _text(scope: Scope, node: tree.Call, name: str, bind: Bind) -> Compare | Like:
    """`empty(text)`, `starts_with(text, "prefix")`."""
    value = bind(node.arguments[0])
    if not isinstance(value, (Column, Element)) or value.type is not DataType.VARCHAR:
        raise scope.error(node.arguments[0], f"the first argument of {name} must be a VARCHAR field")
    if name == "empty":
        return Compare("==", value, Constant(Kind.STRING, ""))
    prefix = bind(node.arguments[1])
    if not isinstance(prefix, Constant) or not isinstance(prefix.value, str):
        raise scope.error(node.arguments[1], "the second argument of starts_with must be a string")
    return Like(value, re.sub(r"([\\%_])", r"\\\1", prefix.value) + "%")


def _array(scope: Scope, node: tree.Syntax, name: str, bind: Bind) -> Column | Json:
    array = bind(node)
    if isinstance(array, Json):
        return array
    if isinstance(array, Column) and array.type is DataType.ARRAY:
        return array
    raise scope.error(node, f"the first argument of {name} must be an ARRAY field or a JSON path")


def _contains(scope: Scope, node: tree.Call, name: str, array: Column | Json, bind: Bind) -> Contains:
    second = node.arguments[1]
    given = bind(second)
    if not isinstance(given, Constant):
        raise scope.error(second, f"the second argument of {name} must be a constant")
    items: tuple[Constant, ...] = (given,)
    if not name.endswith("_contains"):
        if given.kind is not Kind.LIST:
            raise scope.error(second, f"the second argument of {name} must be a list")
        assert isinstance(given.value, tuple)
        items = given.value
    if isinstance(array, Column):
        items = tuple([scalar(scope, second, array, array.element_type, item) for item in items])
    return Contains(array, gather(items), name.endswith("_all"))
