"""Scalar indexes of sealed segments: which rows hold a value.

All types share one structure: the distinct values in order, and for each the rows that hold it, as a list
(INVERTED, STL_SORT, Trie) or as a bitmap (BITMAP). A predicate becomes a range of values, which is one slice
of row numbers. What the index cannot answer, or not faster than a scan of the column, it leaves to the scan.
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.filter_pattern import like, prefix_of, search
from elanus.engine.filter_truth import Bools, Truth, constant, truth
from elanus.engine.index import array_file
from elanus.engine.json_column import Shredded, shred
from elanus.engine.scalar_values import JsonFacts, SortedValues, json_occurrences, occurrences
from elanus.expr.plan import (
    Column,
    Compare,
    Constant,
    Contains,
    In,
    IsNull,
    Json,
    Kind,
    Like,
    Predicate,
    Range,
)
from elanus.expr.plan import Regex as RegexMatch
from elanus.expr.plan import Values as Listed
from elanus.model.errors import CorruptError
from elanus.model.index_parameters import BITMAP_LIMIT, HYBRID, JSON_CAST, JSON_PATH
from elanus.model.schema import Field
from elanus.model.types import DataType

LISTED_SHARE = 0.05
"""Of a segment's rows. A comparison of numbers that holds for more is scanned: setting bits one by one costs
more (measured with a million rows)."""
MEMBERS_SHARE = 0.5
"""The same for `in`, whose scan costs some twenty times as much."""
MATCHED_SHARE = 0.25
"""Patterns are matched against the distinct values where these are at most so many a row."""
BITMAP_VALUES = 1000
"""Distinct values up to which BITMAP keeps bitmaps; above, lists of rows take less room."""

Rows = npt.NDArray[np.uint32]


class ScalarIndex:
    """`type`: the index type that was built. `path`: the keys of a JSON field, None for other fields."""

    def __init__(
        self,
        type: str,
        rows: int,
        values: SortedValues,
        starts: npt.NDArray[np.int64],
        listed: Rows,
        bitmaps: npt.NDArray[np.uint8] | None,
        nulls: npt.NDArray[np.uint8] | None,
        facts: JsonFacts | None,
        nested: bool,
    ) -> None:
        self.type = type
        self.rows = rows
        self.values = values
        self._starts = starts
        """(d + 1,) where each value's rows start in `listed`; how many rows it has, with bitmaps too."""
        self._listed = listed
        self._bitmaps = bitmaps
        self._nulls = nulls
        self._json = facts
        self._nested = nested

    @property
    def path(self) -> tuple[str | int, ...] | None:
        return None if self._json is None else self._json.path

    # answers

    def truth(self, predicate: Predicate) -> Truth | None:
        """The predicate's truth for every row of the segment; None where a scan is due."""
        match predicate:
            case IsNull():
                return Truth(~self._known_rows(), None)
            case Contains(values=wanted, all=all) if self._nested:
                return self._known(self._contains(wanted, all))
            case _ if self._nested:
                return None
            case Compare(op, Column() | Json(), value) if value.kind is not Kind.LIST:
                return self._compare(op, value)
            case Range(Column() | Json(), low, low_inclusive, high, high_inclusive):
                return self._range(low, low_inclusive, high, high_inclusive)
            case In(Column() | Json(), wanted):
                return self._known(self._member(wanted))
            case Like(Column() | Json(), pattern):
                return self._known(self._like(pattern))
            case RegexMatch(Column() | Json(), pattern):
                return self._known(self._matched(pattern, wildcard=False))
        return None

    def _compare(self, op: str, value: Constant) -> Truth | None:
        if not self._comparable(value):
            return None
        if op == "!=":
            found = self._slots(*self.values.bounds("==", value.value))
            if found is None:
                return None
            return self._known(~found)
        return self._known(self._slots(*self.values.bounds(op, value.value)))

    def _range(
        self, low: Constant, low_inclusive: bool, high: Constant, high_inclusive: bool
    ) -> Truth | None:
        if not (self._comparable(low) and self._comparable(high)):
            return None
        start, _ = self.values.bounds(">=" if low_inclusive else ">", low.value)
        _, stop = self.values.bounds("<=" if high_inclusive else "<", high.value)
        return self._known(self._slots(start, max(start, stop)))

    def _member(self, wanted: Listed) -> Bools | None:
        given = self._wanted(wanted)
        return None if given is None else self._union(map(self._slot, given), MEMBERS_SHARE)

    def _contains(self, wanted: Listed, all: bool) -> Bools | None:
        given = self._wanted(wanted)
        if given is None:
            return None
        if not all:
            return self._union(map(self._slot, given), MEMBERS_SHARE)
        found = np.ones(self.rows, np.bool_)
        for value in given:
            one = self._union([self._slot(value)], MEMBERS_SHARE)
            if one is None:
                return None
            found &= one
        return found

    def _like(self, pattern: str) -> Bools | None:
        prefix = prefix_of(pattern)
        if prefix is None or not self.values.text:
            return self._matched(pattern, wildcard=True)
        return self._slots(*self.values.prefixed(prefix))

    def _matched(self, pattern: str, wildcard: bool) -> Bools | None:
        if not self.values.text or len(self.values) > MATCHED_SHARE * self.rows:
            return None
        matches = (like if wildcard else search)(self.values.strings, pattern)
        return self._union((int(slot), int(slot) + 1) for slot in np.flatnonzero(matches))

    # what fits

    def _comparable(self, value: Constant) -> bool:
        """Whether the index holds all values that could match, as precisely as the column does."""
        if self._json is None:
            return True
        return self._json.answers(value.kind)

    def _wanted(self, wanted: Listed) -> list[Any] | None:
        """The values to look for; None where the index cannot tell them apart."""
        if wanted.lists:
            return None
        kinds: list[tuple[Kind, tuple[Any, ...]]] = [
            (Kind.BOOL, wanted.bools),
            (Kind.INT, wanted.ints),
            (Kind.FLOAT, wanted.floats),
            (Kind.STRING, wanted.strings),
        ]
        if self._json is not None:
            for kind, values in kinds:
                precise = self._json.precise_elements if self._nested else self._json.answers
                if values and not precise(kind):
                    return None
        return [value for _, values in kinds for value in dict.fromkeys(values)]

    # from slots to rows

    def _slot(self, value: Any) -> tuple[int, int]:
        return self.values.bounds("==", value)

    def _slots(self, start: int, stop: int) -> Bools | None:
        return self._union([(start, stop)])

    def _union(self, ranges: Iterable[tuple[int, int]], share: float | None = None) -> Bools | None:
        """Rows that hold a value of one of the ranges."""
        wanted = [(start, stop) for start, stop in ranges if stop > start]
        if self._bitmaps is not None:
            return self._from_bitmaps(wanted)
        held = sum(int(self._starts[stop] - self._starts[start]) for start, stop in wanted)
        if not self.values.text and self._json is None and held > (share or LISTED_SHARE) * self.rows:
            return None
        found = np.zeros(self.rows, np.bool_)
        for start, stop in wanted:
            found[self._listed[self._starts[start] : self._starts[stop]]] = True
        return found

    def _from_bitmaps(self, ranges: list[tuple[int, int]]) -> Bools:
        assert self._bitmaps is not None
        bits = np.zeros(self._bitmaps.shape[1], np.uint8)
        for start, stop in ranges:
            bits |= np.bitwise_or.reduce(self._bitmaps[start:stop], axis=0)
        return _unpacked(bits, self.rows)

    def _known(self, found: Bools | None) -> Truth | None:
        if found is None:
            return None
        return truth(found, None if self._nulls is None else self._known_rows())

    def _known_rows(self) -> Bools:
        return self._known_mask

    @cached_property
    def _known_mask(self) -> Bools:
        if self._nulls is None:
            return constant(True, self.rows).true
        return ~_unpacked(self._nulls, self.rows)

    # file

    def save(self, path: Path) -> None:
        arrays = {"starts": self._starts, **self.values.arrays()}
        arrays["listed" if self._bitmaps is None else "bitmaps"] = (
            self._listed if self._bitmaps is None else self._bitmaps
        )
        if self._nulls is not None:
            arrays["nulls"] = self._nulls
        facts: dict[str, Any] = {"type": self.type, "rows": self.rows, "nested": self._nested}
        if self._json is not None:
            facts["json"] = self._json.encoded()
        array_file.save(path, arrays, facts)


def build(
    type: str, column: pa.Array, field: Field, params: dict[str, Any], shredded: Shredded | None = None
) -> ScalarIndex:
    """`params` as `check_scalar_build` returned them; `column`: (n,) values of the field, n >= 1.

    `shredded`: what is at the path of a JSON field, where that is known already.
    """
    path = tuple(params[JSON_PATH]) if field.type is DataType.JSON else None
    if path is None:
        found = occurrences(column, field)
    else:
        found = json_occurrences(shredded or shred(column, path), path, params[JSON_CAST])
    values, codes = found.distinct()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(values) + 1))
    listed = found.rows[order].astype(np.uint32)
    if type == HYBRID:
        type = _suited(field, values, params[BITMAP_LIMIT.name])
    bitmaps = None
    if type == "BITMAP" and len(values) <= BITMAP_VALUES:
        bitmaps = _bitmaps(starts, listed, len(column))
        listed = listed[:0]
    return ScalarIndex(
        type,
        len(column),
        values,
        starts,
        listed,
        bitmaps,
        _packed(column.is_null().to_numpy(zero_copy_only=False)) if column.null_count else None,
        found.facts,
        found.nested,
    )


def load(path: Path) -> ScalarIndex:
    """The arrays stay in the file's mapped pages. Raises CorruptError or NewerFormatError."""
    arrays, facts = array_file.load(path)
    try:
        return ScalarIndex(
            facts["type"],
            facts["rows"],
            SortedValues.of(arrays),
            arrays["starts"],
            arrays.get("listed", _NONE),
            arrays.get("bitmaps"),
            arrays.get("nulls"),
            JsonFacts.decoded(facts["json"]) if "json" in facts else None,
            facts["nested"],
        )
    except KeyError as error:
        raise CorruptError(f"index file {path} is no scalar index: it has no {error}") from error


_NONE = np.empty(0, np.uint32)


def _suited(field: Field, values: SortedValues, limit: int) -> str:
    """What AUTOINDEX makes of a segment's values."""
    if len(values) <= limit and field.type not in (DataType.FLOAT, DataType.DOUBLE) and not field.primary:
        return "BITMAP"
    return "STL_SORT" if field.type.is_number else "INVERTED"


def _bitmaps(starts: npt.NDArray[np.int64], listed: Rows, rows: int) -> npt.NDArray[np.uint8]:
    """(d, ceil(rows / 8)) packed bits."""
    bitmaps = np.zeros((len(starts) - 1, (rows + 7) // 8), np.uint8)
    for slot in range(len(starts) - 1):
        mine = np.zeros(rows, np.bool_)
        mine[listed[starts[slot] : starts[slot + 1]]] = True
        bitmaps[slot] = _packed(mine)
    return bitmaps


def _packed(flags: Bools) -> npt.NDArray[np.uint8]:
    return np.packbits(flags, bitorder="little")


def _unpacked(bits: npt.NDArray[np.uint8], rows: int) -> Bools:
    return np.unpackbits(bits, count=rows, bitorder="little").view(np.bool_)
