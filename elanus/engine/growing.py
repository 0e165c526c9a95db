"""A growing segment: the rows of a channel's tail in log order, in memory.

Batches are merged into blocks as they come: a block swallows its successor while it is at most twice as
long. So one-row batches and large ones alike end up in few large blocks, and a row is copied a few times.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.deletes import Deletes
from elanus.engine.index.vector_index import VectorIndex
from elanus.engine.json_column import JsonPaths, Shredded, shred
from elanus.engine.keys import KeyIndex
from elanus.engine.light import LightIndexes
from elanus.engine.reader import Matrix, Part, Reader, default_column, valid_mask, vector_norms
from elanus.engine.visibility import DeletedRows, Mask, Times
from elanus.model.columns import ALL_PARTITIONS, PARTITION, STORED, zero_nulls
from elanus.model.errors import Unavailable
from elanus.model.nouns import RangeDelete
from elanus.model.schema import Field, Schema

BLOCK_ROWS = 65_536
BLOCK_BYTES = 32 << 20
"""Blocks are not merged beyond these; a larger batch stays a block of its own."""
ALWAYS_MERGED = 64
"""A block of fewer rows is merged with whatever follows: copying them costs less than keeping a block."""
_SYSTEM_BYTES = 16

Partitions = npt.NDArray[np.int64]


class GrowingSegment:
    """One thread appends, applies and releases; any number reads."""

    def __init__(self, schema: Schema, block_rows: int = BLOCK_ROWS, block_bytes: int = BLOCK_BYTES) -> None:
        self.schema = schema
        self._block_rows = block_rows
        self._block_bytes = block_bytes
        self._state = _State((), DeletedRows(), 0)

    @property
    def rows(self) -> int:
        return sum(b.rows for b in self._state.blocks)

    @property
    def bytes(self) -> int:
        return sum(b.bytes for b in self._state.blocks)

    def alter(self, schema: Schema) -> None:
        """Take the next batches with a newer schema; older rows show the defaults of new fields."""
        self.schema = schema

    def append(self, batch: pa.RecordBatch, ts: int) -> None:
        """Rows of one record: fields by id (one that is missing gets its default) and `p`.

        `ts` is at least that of the rows before.
        """
        if not batch.num_rows:
            return
        blocks = list(self._state.blocks)
        if blocks and ts < blocks[-1].max_ts:
            raise ValueError(f"a record at {ts} came after one at {blocks[-1].max_ts}")
        blocks.append(_block_of(batch, self.schema, ts))
        while len(blocks) > 1 and self._mergeable(blocks[-2], blocks[-1]):
            blocks[-2:] = [_merged(blocks[-2], blocks[-1], self.schema)]
        last = blocks[-1]
        last.full = 2 * last.rows > self._block_rows or 2 * last.bytes > self._block_bytes
        self._state = self._state._replace(blocks=tuple(blocks))

    def apply(self, deletes: Deletes) -> None:
        """Hide rows that were appended already."""
        if not len(deletes):
            return
        state, first, found = self._state, 0, []
        for block in state.blocks:
            if block.min_ts <= deletes.max_bound:
                rows, ts = deletes.hits(block.key_index, block.ts, block.partitions.__getitem__)
                found.append((rows + first, ts))
            first += block.rows
        if found:
            rows, ts = (np.concatenate(a) for a in zip(*found, strict=True))
            state.deleted.add(rows, ts, first)

    def apply_range(self, delete: RangeDelete) -> None:
        """Hide rows that were appended already."""
        state, first = self._state, 0
        total = sum(b.rows for b in state.blocks)
        for block in state.blocks:
            hidden = block.ts <= np.uint64(delete.as_of)
            if delete.partition_id != ALL_PARTITIONS:
                hidden &= block.partitions == delete.partition_id
            rows = np.flatnonzero(hidden)
            state.deleted.add(rows + first, np.full(len(rows), delete.ts, np.uint64), total)
            first += block.rows

    def release_up_to(self, floor_ts: int) -> None:
        """Drop the rows with ts <= `floor_ts`; open readers keep theirs. No later reader may go below."""
        state = self._state
        if floor_ts <= state.released_to:
            return
        released, kept = 0, []
        for block in state.blocks:
            gone = block.rows_up_to(floor_ts)
            released += gone
            if gone < block.rows:
                kept.append(block.from_row(gone))
        deleted = state.deleted.without_first(released) if released else state.deleted
        self._state = _State(tuple(kept), deleted, floor_ts)

    def reader(
        self,
        at_ts: int,
        above_ts: int = 0,
        partitions: frozenset[int] | None = None,
        expired_below: int = 0,
    ) -> Reader:
        """Rows with `above_ts` < ts <= `at_ts` and ts >= `expired_below` in `partitions` (None: all), as of
        `at_ts`.

        Raises Unavailable where rows above `above_ts` were released.
        """
        state = self._state
        found = self._places(state, at_ts, above_ts, partitions, expired_below)
        return _reader(self.schema, state, found, at_ts, partitions)

    def readers(
        self,
        field_id: int,
        at_ts: int,
        above_ts: int = 0,
        partitions: frozenset[int] | None = None,
        expired_below: int = 0,
    ) -> list[Reader]:
        """The same rows for a search on a field of vectors: a reader for each block with a light index of it,
        one for all others. At least one; where there are more, each has rows."""
        state = self._state
        readers, others = [], []
        for place in self._places(state, at_ts, above_ts, partitions, expired_below):
            index = place.block.index(field_id, place.start, place.stop)
            if index is None:
                others.append(place)
            else:
                readers.append(_reader(self.schema, state, [place], at_ts, partitions, {field_id: index}))
        if others or not readers:
            readers.append(_reader(self.schema, state, others, at_ts, partitions))
        return readers

    def _places(
        self,
        state: "_State",
        at_ts: int,
        above_ts: int,
        partitions: frozenset[int] | None,
        expired_below: int,
    ) -> list["_Place"]:
        if above_ts < state.released_to:
            raise Unavailable(f"growing rows above {above_ts} were released up to {state.released_to}")
        above_ts = max(above_ts, expired_below - 1)
        places, first = [], 0
        for block in state.blocks:
            if block.max_ts > above_ts and block.min_ts <= at_ts and block.has_any(partitions):
                start, stop = block.rows_up_to(above_ts), block.rows_up_to(at_ts)
                if start < stop:
                    places.append(_Place(block, start, stop, first))
            first += block.rows
        return places

    def _mergeable(self, first: "_MemoryBlock", second: "_MemoryBlock") -> bool:
        return (
            not first.full
            and first.rows + second.rows <= self._block_rows
            and first.bytes + second.bytes <= self._block_bytes
            and (first.rows <= 2 * second.rows or first.rows < ALWAYS_MERGED)
        )


class _State(NamedTuple):
    """What readers see, replaced as a whole. `deleted` numbers the rows of `blocks` one after the other."""

    blocks: tuple["_MemoryBlock", ...]
    deleted: DeletedRows
    released_to: int


class _Place(NamedTuple):
    """Rows [start, stop) of a block whose own rows begin with the segment's row `first`."""

    block: "_MemoryBlock"
    start: int
    stop: int
    first: int


class _MemoryBlock:
    """Columns of rows in log order. Immutable, but for what is computed from them on demand."""

    full = False
    """Nothing is merged with it any more."""
    released = 0
    """Rows that stood before its first when it became full."""

    def __init__(
        self,
        columns: Mapping[int, pa.Array],
        ts: Times,
        partitions: Partitions,
        primary: int,
        paths: JsonPaths | None = None,
    ) -> None:
        self.columns = columns
        self.ts = ts
        self.partitions = partitions
        self.primary = primary
        self.rows = len(ts)
        self.min_ts, self.max_ts = int(ts[0]), int(ts[-1])
        self.bytes = sum(c.nbytes for c in columns.values()) + _SYSTEM_BYTES * self.rows
        self.paths = JsonPaths() if paths is None else paths
        self.light = LightIndexes()
        """Of the block as it was when it became full."""
        self._norms: dict[int, Matrix] = {}
        self._valid: dict[int, Mask | None] = {}

    @property
    def settled(self) -> bool:
        """Whether an index of it as it is would be of use."""
        return self.full and not self.released

    def index(self, field_id: int, start: int, stop: int) -> VectorIndex | None:
        """The light index of a field over rows [start, stop)."""
        return self.light.window(field_id, self.released + start, stop - start)

    def column(self, field: Field) -> pa.Array:
        found = self.columns.get(field.id)
        return default_column(field, self.rows) if found is None else found

    def norms(self, field: Field) -> Matrix:
        found = self._norms.get(field.id)
        if found is None:
            found = self._norms[field.id] = vector_norms(self.column(field), field)
        return found

    def valid(self, field: Field) -> Mask | None:
        if field.id not in self._valid:
            self._valid[field.id] = valid_mask(self.column(field))
        return self._valid[field.id]

    def json(self, field: Field, path: tuple[str | int, ...]) -> Shredded:
        return self.paths.get(field.id, path, lambda: shred(self.column(field), path))

    @cached_property
    def key_index(self) -> KeyIndex:
        return KeyIndex(self.columns[self.primary])

    @cached_property
    def partition_ids(self) -> frozenset[int]:
        return frozenset(np.unique(self.partitions).tolist())

    def has_any(self, partitions: frozenset[int] | None) -> bool:
        return partitions is None or not partitions.isdisjoint(self.partition_ids)

    def rows_up_to(self, ts: int) -> int:
        """How many rows have a timestamp of at most `ts`."""
        if ts >= self.max_ts:
            return self.rows
        return 0 if ts < self.min_ts else int(np.searchsorted(self.ts, np.uint64(ts), side="right"))

    def from_row(self, start: int) -> "_MemoryBlock":
        if not start:
            return self
        columns = {i: c.slice(start) for i, c in self.columns.items()}
        paths = self.paths.from_row(start)
        rest = _MemoryBlock(columns, self.ts[start:], self.partitions[start:], self.primary, paths)
        if self.full:
            rest.full, rest.light, rest.released = True, self.light, self.released + start
        return rest


def _block_of(batch: pa.RecordBatch, schema: Schema, ts: int) -> _MemoryBlock:
    names = set(batch.schema.names)
    columns = {f.id: _finite(batch.column(f.key), f) for f in schema.fields if f.key in names}
    stamps = np.full(batch.num_rows, ts, np.uint64)
    return _MemoryBlock(columns, stamps, batch.column(PARTITION).to_numpy(), schema.primary.id)


def _finite(column: pa.Array, field: Field) -> pa.Array:
    """A column whose nulls, if it is one of vectors, can be calculated with and then left out."""
    return zero_nulls(column, field) if field.type in STORED and field.nullable else column


def _merged(first: _MemoryBlock, second: _MemoryBlock, schema: Schema) -> _MemoryBlock:
    columns = {
        f.id: pa.concat_arrays([first.column(f), second.column(f)])
        for f in schema.fields
        if f.id in first.columns or f.id in second.columns
    }
    ts = np.concatenate([first.ts, second.ts])
    partitions = np.concatenate([first.partitions, second.partitions])
    # What a filter has read of both is not parsed again.
    paths = first.paths.followed_by(second.paths)
    return _MemoryBlock(columns, ts, partitions, first.primary, paths)


def _reader(
    schema: Schema,
    state: _State,
    places: list[_Place],
    at_ts: int,
    partitions: frozenset[int] | None,
    indexes: Mapping[int, VectorIndex] | None = None,
) -> Reader:
    parts, rows = [], 0
    for block, start, stop, _ in places:
        parts.append(Part(block, start, stop, rows))
        rows += stop - start
    return Reader(schema, parts, lambda: _mask(places, state.deleted, at_ts, partitions), indexes)


def _mask(
    places: list[_Place], deleted: DeletedRows, at_ts: int, partitions: frozenset[int] | None
) -> Mask | None:
    """Visible rows of `places`; None where all are."""
    masks = []
    for block, start, stop, first in places:
        mask = deleted.mask(at_ts, first + start, first + stop)
        if partitions is not None and not block.partition_ids <= partitions:
            mine = np.isin(block.partitions[start:stop], np.array(list(partitions), np.int64))
            mask = mine if mask is None else mine & mask
        masks.append(mask)
    if all(m is None for m in masks):
        return None
    if len(masks) == 1:
        return masks[0]
    return np.concatenate(
        [np.ones(p.stop - p.start, np.bool_) if m is None else m for p, m in zip(places, masks, strict=True)]
    )
