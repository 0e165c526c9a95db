"""Predicates over ARRAY columns (Arrow large_list)."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.filter_column import compare, contained
from elanus.engine.filter_truth import Bools
from elanus.expr.casts import gather
from elanus.expr.plan import Constant, Values

Offsets = npt.NDArray[np.int64]


def bounds(lists: pa.Array) -> tuple[Offsets, Offsets]:
    """Where each list starts in `lists.values`, and its length; a null list is empty."""
    offsets = np.asarray(lists.offsets.to_numpy(zero_copy_only=False), dtype=np.int64)
    starts, lengths = offsets[:-1], np.diff(offsets)
    if lists.null_count:
        lengths = np.where(lists.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
    return starts, lengths


def element(lists: pa.Array, index: int) -> pa.Array:
    """`lists[index]` a row, null where the list is shorter."""
    starts, lengths = bounds(lists)
    return lists.values.take(pa.array(starts + min(index, np.iinfo(np.int32).max), mask=lengths <= index))


def equal(lists: pa.Array, wanted: Constant) -> Bools:
    """The list has these elements in this order."""
    items = wanted.value
    assert isinstance(items, tuple)
    found: Bools = bounds(lists)[1] == len(items)
    for index, item in enumerate(items):
        if not found.any():
            break
        found = found & compare(element(lists, index), "==", item)
    return found


def contains(lists: pa.Array, values: Values, all: bool) -> Bools:
    """The list has any (or all) of the values; all of none is true."""
    if not all:
        return _any(lists, values)
    found = np.ones(len(lists), np.bool_)
    for value in each(values):
        found &= _any(lists, value)
    return found


def each(values: Values) -> list[Values]:
    """One-element lists, each of one distinct value."""
    names = ("bools", "ints", "floats", "strings")
    single = [Values(**{name: (value,)}) for name in names for value in dict.fromkeys(getattr(values, name))]
    return [*single, *(gather([item]) for item in values.lists)]


def _any(lists: pa.Array, values: Values) -> Bools:
    starts, lengths = bounds(lists)
    before = np.concatenate(([0], np.cumsum(contained(lists.values, values))))
    return np.asarray(before[starts + lengths] > before[starts])
