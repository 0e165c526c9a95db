"""What the bounds of a segment's columns say about a filter before any row is read."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from elanus.engine.filter_column import OPERATORS
from elanus.engine.filter_pattern import prefix_of
from elanus.engine.segment_file import ColumnStats
from elanus.expr.plan import (
    Always,
    And,
    Column,
    Compare,
    Constant,
    In,
    IsNull,
    Kind,
    Like,
    Not,
    Or,
    Predicate,
    Range,
)
from elanus.model.types import DataType

Bounds = Callable[[int], ColumnStats | None]
"""Statistics of a field's values in all rows of the segment; None where there are none."""


class Possible(NamedTuple):
    """Which truths a row of the segment may have."""

    true: bool
    false: bool
    null: bool


_ANY = Possible(True, True, True)
_NULL = Possible(False, False, True)


def possible(predicate: Predicate, bounds: Bounds, rows: int) -> Possible:
    match predicate:
        case Always(value):
            return Possible(value, not value, False)
        case Not(child):
            inner = possible(child, bounds, rows)
            return Possible(inner.false, inner.true, inner.null)
        case And(children):
            parts = [possible(child, bounds, rows) for child in children]
            return Possible(
                all(p.true for p in parts), any(p.false for p in parts), any(p.null for p in parts)
            )
        case Or(children):
            parts = [possible(child, bounds, rows) for child in children]
            return Possible(
                any(p.true for p in parts), all(p.false for p in parts), any(p.null for p in parts)
            )
        case IsNull(field_id):
            stats = bounds(field_id)
            return _ANY if stats is None else Possible(stats.nulls > 0, stats.nulls < rows, False)
        case Compare(op, Column() as column, value):
            return _of_column(column, bounds, rows, lambda low, high: _compared(op, low, high, column, value))
        case Range(Column() as column, low, low_inclusive, high, high_inclusive):
            ends = ((">=" if low_inclusive else ">", low), ("<=" if high_inclusive else "<", high))
            return _of_column(column, bounds, rows, lambda a, b: _both(ends, a, b, column))
        case In(Column() as column, values):
            wanted = [*values.bools, *values.ints, *values.floats, *values.strings]
            given = [_fit(value, column) for value in wanted]
            return _of_column(
                column,
                bounds,
                rows,
                lambda a, b: (any(a <= v <= b for v in given), not (a == b and a in given)),
            )
        case Like(Column() as column, pattern):
            prefix = prefix_of(pattern)
            if prefix is not None:
                return _of_column(column, bounds, rows, lambda a, b: (_prefix(prefix, a, b), True))
    return _ANY


def _of_column(
    column: Column, bounds: Bounds, rows: int, judge: Callable[[Any, Any], tuple[bool, bool]]
) -> Possible:
    """`judge` says of the smallest and largest value whether one may match, and whether one may not."""
    stats = bounds(column.field_id)
    if stats is None or column.type is DataType.ARRAY:
        return _ANY
    if stats.nulls == rows:
        return _NULL
    if stats.min is None or stats.max is None:
        return Possible(True, True, stats.nulls > 0)
    true, false = judge(stats.min, stats.max)
    return Possible(true, false, stats.nulls > 0)


def _compared(op: str, low: Any, high: Any, column: Column, constant: Constant) -> tuple[bool, bool]:
    if constant.kind is Kind.LIST:
        return True, True
    value: Any = _fit(constant.value, column)
    if op in ("==", "!="):
        equal, unequal = low <= value <= high, not low == value == high
        return (equal, unequal) if op == "==" else (unequal, equal)
    # An ordered comparison holds for all values between two that it holds for.
    first, last = OPERATORS[op](low, value), OPERATORS[op](high, value)
    return first or last, not (first and last)


def _both(ends: tuple[tuple[str, Constant], ...], low: Any, high: Any, column: Column) -> tuple[bool, bool]:
    parts = [_compared(op, low, high, column, constant) for op, constant in ends]
    return all(true for true, _ in parts), any(false for _, false in parts)


def _fit(value: Any, column: Column) -> Any:
    """As it is compared: a FLOAT field's values are single precision."""
    if column.type is not DataType.FLOAT:
        return value
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _prefix(prefix: str, low: str, high: str) -> bool:
    return low[: len(prefix)] <= prefix <= high[: len(prefix)]
