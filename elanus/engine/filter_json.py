"""Predicates over JSON values.

What real Milvus 2.3.5 does, measured, and kept here: a missing key or a value of another type is no match and
not NULL, so `x == 1` is false, `x != 1`, `not (x == 1)` and `x not in [1]` are true there; a bool is no
number; 1 equals 1.0. Only a column value that is null as a whole makes NULL.
"""

from typing import Any

import numpy as np

from elanus.engine.filter_array import each
from elanus.engine.filter_column import arithmetic, compare_numbers, contained, is_text
from elanus.engine.filter_column import compare as compare_text
from elanus.engine.filter_truth import Bools
from elanus.engine.json_column import ARRAY, BOOL, FLOAT, INT, Shredded
from elanus.expr.plan import Arithmetic, Constant, Kind, Values


def compare(values: Shredded, op: str, constant: Constant) -> Bools:
    if op == "!=":
        if constant.kind is Kind.LIST:
            # Milvus: only an array can be unequal to a list.
            return np.asarray((values.tags == ARRAY) & ~_equal_list(values, constant))
        return ~compare(values, "==", constant)
    match constant.kind:
        case Kind.BOOL:
            return np.asarray((values.tags == BOOL) & (values.bools == constant.value))
        case Kind.STRING:
            assert is_text(values.strings)
            return compare_text(values.strings, op, constant)
        case Kind.LIST:
            return _equal_list(values, constant)
    floats = (values.tags == FLOAT) & compare_numbers(values.floats, op, constant.value)
    ints = values.ints if constant.kind is Kind.INT else values.floats
    return np.asarray(floats | ((values.tags == INT) & compare_numbers(ints, op, constant.value)))


def compare_arithmetic(values: Shredded, expression: Arithmetic, op: str, constant: Constant) -> Bools:
    """Integers calculate in int64 where both sides are; `%` cuts a float to its integer first."""
    if op == "!=":
        return ~compare_arithmetic(values, expression, "==", constant)
    is_float = values.tags == FLOAT
    ints = compare_numbers(arithmetic(values.ints, expression), op, constant.value)
    found = (values.tags == INT) & ints
    if not is_float.any():
        return np.asarray(found)
    operand = np.where(is_float, values.floats, 0.0)
    if expression.op == "%":
        is_float &= np.abs(operand) < float(1 << 63)
        operand = np.trunc(operand)
    inexact = Arithmetic(expression.op, expression.operand, float(expression.constant), False)
    floats = compare_numbers(arithmetic(operand, inexact), op, constant.value)
    return np.asarray(found | (is_float & floats))


def member(values: Shredded, wanted: Values) -> Bools:
    """The value equals one of `wanted`."""
    found = contained(values.strings, wanted)
    if wanted.ints or wanted.floats:
        for numbers, tag in ((values.floats, FLOAT), (values.ints, INT)):
            found |= (values.tags == tag) & _number_in(numbers, wanted)
    for flag in wanted.bools:
        found |= (values.tags == BOOL) & (values.bools == flag)
    for item in wanted.lists:
        found |= _equal_list(values, item)
    return found


def _number_in(numbers: Any, wanted: Values) -> Bools:
    given = np.array(wanted.ints, np.int64) if wanted.ints else np.array(wanted.floats, np.float64)
    if wanted.ints and numbers.dtype.kind == "f":
        given = given.astype(np.float64)
    elif wanted.floats and numbers.dtype.kind == "i":
        numbers = numbers.astype(np.float64)
    return np.isin(numbers, given)


def contains(values: Shredded, wanted: Values, all: bool) -> Bools:
    """Arrays only. As in Milvus an integer is found as an integer, a float as either."""
    found = np.zeros(len(values.tags), np.bool_)
    arrays = values.arrays
    if arrays is None:
        return found
    hits = np.full(len(arrays.rows), all)
    for item in each(wanted):
        before = np.concatenate(([0], np.cumsum(_is(arrays.elements, item))))
        one = before[arrays.begins + arrays.lengths] > before[arrays.begins]
        hits = hits & one if all else hits | one
    found[arrays.rows] = hits
    return found


def _is(values: Shredded, wanted: Values) -> Bools:
    """The value is the one that is wanted, an integer only an integer."""
    if wanted.ints:
        return np.asarray((values.tags == INT) & (values.ints == wanted.ints[0]))
    if wanted.floats:
        return _same(values, Constant(Kind.FLOAT, wanted.floats[0]))
    if wanted.strings:
        return _same(values, Constant(Kind.STRING, wanted.strings[0]))
    if wanted.bools:
        return _same(values, Constant(Kind.BOOL, wanted.bools[0]))
    return _equal_list(values, wanted.lists[0])


def _equal_list(values: Shredded, wanted: Constant) -> Bools:
    found = np.zeros(len(values.tags), np.bool_)
    arrays = values.arrays
    items = wanted.value
    assert isinstance(items, tuple)
    if arrays is None:
        return found
    rows, begins = arrays.rows[arrays.lengths == len(items)], arrays.begins[arrays.lengths == len(items)]
    for place, item in enumerate(items):
        if not len(rows):
            break
        equal = _same(arrays.elements, item)[begins + place]
        rows, begins = rows[equal], begins[equal]
    found[rows] = True
    return found


def _same(values: Shredded, wanted: Constant) -> Bools:
    """Equal, and both numbers, both strings, both bools or both lists."""
    value = wanted.value
    match wanted.kind:
        case Kind.LIST:
            return _equal_list(values, wanted)
        case Kind.BOOL:
            return np.asarray((values.tags == BOOL) & (values.bools == value))
        case Kind.STRING:
            return compare_text(values.strings, "==", wanted)
    assert isinstance(value, (int, float))
    found = np.zeros(len(values.tags), np.bool_)
    if isinstance(value, int) or (value.is_integer() and -_TWO_63 <= value < _TWO_63):
        found |= (values.tags == INT) & (values.ints == int(value))
    if isinstance(value, float) or int(float(value)) == value:
        found |= (values.tags == FLOAT) & (values.floats == float(value))
    return found


_TWO_63 = float(1 << 63)
