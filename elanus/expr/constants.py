"""Arithmetic and comparison of constants: 64-bit integers and finite doubles."""

import math
import operator
from collections.abc import Callable
from typing import Any

from elanus.expr.literals import INT64_MAX, INT64_MIN
from elanus.expr.plan import Constant, Kind

NUMBERS = (Kind.INT, Kind.FLOAT)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def of(value: object) -> Constant:
    """A Python value as a constant. Raises ValueError for what has no place in the language."""
    match value:
        case bool():
            return Constant(Kind.BOOL, value)
        case int():
            if not INT64_MIN <= value <= INT64_MAX:
                raise ValueError(f"{value} does not fit into 64 bits: expected {INT64_MIN} to {INT64_MAX}")
            return Constant(Kind.INT, value)
        case float():
            if not math.isfinite(value):
                raise ValueError(f"{value} is not a finite number")
            return Constant(Kind.FLOAT, value)
        case str():
            return Constant(Kind.STRING, value)
        case list() | tuple():
            return Constant(Kind.LIST, tuple([of(item) for item in value]))
    raise ValueError(
        f"a {type(value).__name__} cannot stand in a filter: expected bool, int, float, str or a list"
    )


def comparable(left: Constant, right: Constant) -> bool:
    return left.kind is right.kind or (left.kind in NUMBERS and right.kind in NUMBERS)


def negate(constant: Constant) -> Constant:
    return of(-constant.value)  # type: ignore[operator]  # the caller saw that it is a number


def arithmetic(op: str, left: Any, right: Any) -> Constant:
    """`left op right` over int and float; integer division truncates towards zero. Raises ValueError."""
    exact = isinstance(left, int) and isinstance(right, int)
    try:
        match op:
            case "+":
                return of(left + right)
            case "-":
                return of(left - right)
            case "*":
                return of(left * right)
            case "/" | "%" if right == 0:
                raise ValueError("division by zero")
            case "/":
                return of(truncated_division(left, right) if exact else left / right)
            case "%":
                if not exact:
                    raise ValueError("% takes integers only")
                return of(left - right * truncated_division(left, right))
            case "**":
                return of(_power(left, right, exact))
    except (OverflowError, ZeroDivisionError) as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"{op} is not supported; expected one of + - * / % **")


def truncated_division(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _power(left: int | float, right: int | float, exact: bool) -> int | float:
    if exact and right >= 0 and (abs(left) <= 1 or right < 64):
        return int(left**right)
    if left < 0 and not float(right).is_integer():
        raise ValueError("a negative number has no fractional power")
    return math.pow(left, right)
