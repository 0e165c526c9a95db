"""Predicates over typed vectors: NumPy for numbers and bools, Arrow for strings."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elanus.engine.filter_pattern import flags
from elanus.engine.filter_truth import Bools
from elanus.expr.plan import Arithmetic, Constant, Values

Numbers = npt.NDArray[Any]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARROW = {
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_SORTED_SEARCH_FROM = 8
"""From this many values on, `in` over numbers sorts them and searches."""


def is_text(array: pa.Array) -> bool:
    return bool(pa.types.is_large_string(array.type))


def known(array: pa.Array) -> Bools | None:
    """Where the array is not null; None: everywhere."""
    return None if not array.null_count else np.asarray(array.is_valid().to_numpy(zero_copy_only=False))


def numbers(array: pa.Array) -> Numbers:
    """(n,) of the array's own dtype, zero or False where it is null; no copy where it has no nulls."""
    if array.null_count:
        array = array.fill_null(False if pa.types.is_boolean(array.type) else 0)
    return np.asarray(array.to_numpy(zero_copy_only=False))


def compare(array: pa.Array, op: str, constant: Constant) -> Bools:
    if is_text(array):
        return flags(_ARROW[op](array, pa.scalar(constant.value, array.type)))
    return compare_numbers(numbers(array), op, constant.value)


def compare_numbers(values: Numbers, op: str, constant: Any) -> Bools:
    """Exact for integers; a FLOAT vector compares with the constant rounded to float32."""
    if values.dtype.kind == "i":
        limits = np.iinfo(values.dtype)
        if isinstance(constant, int) and not limits.min <= constant <= limits.max:
            # Every value is on the same side of a constant beyond the type.
            return np.full(values.shape, OPERATORS[op](0, constant))
    elif values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            constant = values.dtype.type(constant)
    return np.asarray(OPERATORS[op](values, constant), dtype=np.bool_)


def compare_arrays(left: pa.Array, op: str, right: pa.Array) -> Bools:
    if is_text(left):
        return flags(_ARROW[op](left, right))
    a, b = numbers(left), numbers(right)
    return np.asarray(OPERATORS[op](a, b), dtype=np.bool_)


def contained(array: pa.Array, values: Values) -> Bools:
    """(n,) bool: the value is one of `values`; False where it is null."""
    if is_text(array):
        return flags(pc.is_in(array, pa.array(values.strings, array.type)))
    vector = numbers(array)
    if vector.dtype.kind == "b":
        return _any_of([vector == value for value in set(values.bools)], len(vector))
    given: list[Any] = list(values.floats)
    if vector.dtype.kind == "i":
        limits = np.iinfo(vector.dtype)
        given = [value for value in values.ints if limits.min <= value <= limits.max]
    with np.errstate(over="ignore"):
        wanted = np.unique(np.array(given, vector.dtype))
    if len(wanted) < _SORTED_SEARCH_FROM:
        return _any_of([vector == value for value in wanted], len(vector))
    places = np.searchsorted(wanted, vector)
    places[places == len(wanted)] = 0
    return np.asarray(wanted[places] == vector)


def _any_of(matches: list[Bools], rows: int) -> Bools:
    return np.logical_or.reduce(matches) if matches else np.zeros(rows, np.bool_)


def arithmetic(values: Numbers, expression: Arithmetic) -> Numbers:
    """int64 with wrap-around where the expression is exact, else float64.

    Division truncates towards zero and the remainder has the dividend's sign, as in C.
    """
    constant = expression.constant
    if not expression.exact:
        return _calculate(values.astype(np.float64), expression.op, np.float64(constant))
    wide = values.astype(np.int64)
    if expression.op == "/" and constant == -1:
        return -wide  # the smallest int64 has no opposite: it stays, and NumPy's division would warn
    if expression.op == "%" and constant == -1:
        return np.zeros_like(wide)
    return _calculate(wide, expression.op, np.int64(constant))


def _calculate(values: Numbers, op: str, constant: Any) -> Numbers:
    with np.errstate(over="ignore", invalid="ignore"):
        match op:
            case "+":
                return np.asarray(values + constant)
            case "-":
                return np.asarray(values - constant)
            case "*":
                return np.asarray(values * constant)
            case "%":
                return np.asarray(np.fmod(values, constant))
    if values.dtype.kind == "f":
        return np.asarray(values / constant)
    return np.asarray((values - np.fmod(values, constant)) // constant)
