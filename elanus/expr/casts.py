"""Which constant fits which value."""

from elanus.expr import tree
from elanus.expr.constants import NUMBERS
from elanus.expr.plan import Arithmetic, Column, Constant, Element, Json, Kind, Length, Value, Values
from elanus.expr.scope import Scope
from elanus.model.types import DataType


def fit(scope: Scope, node: tree.Syntax, op: str, value: Value, constant: Constant) -> Constant:
    """The constant as it is compared with `value` by `op`. Raises InvalidExpression."""
    ordered = op not in ("==", "!=")
    if ordered and constant.kind in (Kind.BOOL, Kind.LIST):
        raise scope.error(node, f"{op!r} cannot compare a {constant.kind}; expected a number or a string")
    match value:
        case Json():
            return constant
        case Length():
            return _integer(scope, node, constant, "array_length")
        case Arithmetic(exact=exact, operand=operand):
            if constant.kind not in NUMBERS:
                raise scope.error(
                    node, f"arithmetic gives a number; it cannot be compared with a {constant.kind}"
                )
            if exact and not isinstance(operand, Json):
                return _integer(scope, node, constant, "integer arithmetic")
            return constant if exact else _as_float(constant)
        case Column(type=DataType.ARRAY, element_type=element):
            if constant.kind is not Kind.LIST or ordered:
                wanted = "== or != with a list, or one element such as name[0]"
                raise scope.error(node, f"{scope.called(value)} cannot be compared so; expected {wanted}")
            items = constant.value
            assert isinstance(items, tuple)
            return Constant(Kind.LIST, tuple([scalar(scope, node, value, element, item) for item in items]))
        case Column(type=type) | Element(type=type):
            if ordered and type is DataType.BOOL:
                raise scope.error(node, f"{op!r} cannot order {scope.called(value)}; expected == or !=")
            return scalar(scope, node, value, type, constant)


def scalar(
    scope: Scope, node: tree.Syntax, value: Column | Element, type: DataType, constant: Constant
) -> Constant:
    """The constant as a value of `type`: an integer becomes a float, nothing else changes."""
    kind = constant.kind
    if type.is_integer and kind is Kind.INT:
        return constant
    if type in (DataType.FLOAT, DataType.DOUBLE) and kind in NUMBERS:
        return _as_float(constant)
    if type is DataType.VARCHAR and kind is Kind.STRING:
        return constant
    if type is DataType.BOOL and kind is Kind.BOOL:
        return constant
    if type.is_vector:
        raise scope.error(node, f"{scope.called(value)} cannot be filtered on")
    raise scope.error(
        node, f"{_shown(constant)} does not fit {scope.called(value)}; expected {_wanted(type)}"
    )


def listed(scope: Scope, node: tree.Syntax, value: Value, constant: Constant) -> Values:
    """The right side of `in`; numbers beside floats become floats where the left side is JSON."""
    items = constant.value
    assert isinstance(items, tuple)
    if not isinstance(value, Json):
        return gather([fit(scope, node, "==", value, item) for item in items])
    if any(item.kind is Kind.FLOAT for item in items):
        items = tuple([_as_float(item) if item.kind is Kind.INT else item for item in items])
    return gather(items)


def gather(items: "tuple[Constant, ...] | list[Constant]") -> Values:
    by_kind: dict[Kind, list[object]] = {kind: [] for kind in Kind}
    for item in items:
        by_kind[item.kind].append(item if item.kind is Kind.LIST else item.value)
    return Values(*(tuple(by_kind[kind]) for kind in Kind))  # type: ignore[arg-type]  # Kind is in Values' order


def _as_float(constant: Constant) -> Constant:
    return Constant(Kind.FLOAT, float(constant.value))  # type: ignore[arg-type]  # a number


def _integer(scope: Scope, node: tree.Syntax, constant: Constant, what: str) -> Constant:
    if constant.kind is not Kind.INT:
        raise scope.error(node, f"{_shown(constant)} does not fit {what}; expected an integer")
    return constant


def _wanted(type: DataType) -> str:
    if type.is_integer:
        return "an integer"
    if type in (DataType.FLOAT, DataType.DOUBLE):
        return "a number"
    if type is DataType.BOOL:
        return "true or false"
    return "a quoted string"


def _shown(constant: Constant) -> str:
    if constant.kind is Kind.LIST:
        return "a list"
    return f"{constant.kind} {constant.value!r}"
