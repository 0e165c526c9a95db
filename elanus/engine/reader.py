"""A reader: a snapshot of a segment's rows at one timestamp, which never changes under its user.

A segment is one or more blocks of immutable columns. A sealed segment is one block whose rows are numbered as
in its files and indexes; a growing one is a sequence of blocks, and a reader numbers the rows of its own cut.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.index.vector_index import VectorIndex
from elanus.engine.keys import KeyIndex, Probe, Rows
from elanus.engine.visibility import Mask, Times
from elanus.model.columns import arrow_type, as_matrix
from elanus.model.errors import Unimplemented
from elanus.model.nouns import PartitionRange
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

Matrix = npt.NDArray[np.float32]


class Block(Protocol):
    """Immutable columns of the same length."""

    @property
    def rows(self) -> int: ...
    @property
    def ts(self) -> Times: ...
    @property
    def key_index(self) -> KeyIndex: ...
    def column(self, field: Field) -> pa.Array: ...
    def norms(self, field: Field) -> Matrix:
        """(rows,) squared lengths of a vector column."""


class Part(NamedTuple):
    """Rows [start, stop) of a block; the reader's rows from `first` on."""

    block: Block
    start: int
    stop: int
    first: int


class VectorBlock(NamedTuple):
    """Rows [first, first + m) of a reader: (m, dim) float32 and their (m,) squared lengths on demand."""

    first: int
    matrix: Matrix
    norms: Callable[[], Matrix]


class Reader:
    """Rows of one segment as of one timestamp; `rows` is 0 where the segment has nothing for it."""

    def __init__(
        self,
        schema: Schema,
        parts: Sequence[Part],
        mask: Callable[[], Mask | None],
        indexes: Mapping[int, VectorIndex] | None = None,
        row_bounds: tuple[PartitionRange, ...] = (),
        cache: dict[str, Any] | None = None,
    ) -> None:
        self.schema = schema
        self.parts = tuple(parts)
        self.rows = self.parts[-1].first + self.parts[-1].stop - self.parts[-1].start if parts else 0
        self.row_bounds = row_bounds
        """Where each partition's rows are, in a sealed segment; empty in a growing one."""
        self.cache: dict[str, Any] = {} if cache is None else cache
        """What filters computed from the columns; shared by all readers of a sealed segment."""
        self._make_mask = mask
        self._indexes = indexes or {}

    @cached_property
    def _mask(self) -> Mask | None:
        return self._make_mask() if self.rows else None

    def mask(self) -> Mask | None:
        """(rows,) True where the row is visible; None where every row is. Read-only."""
        return self._mask

    def index(self, field_id: int) -> VectorIndex | None:
        """The index of a field over this reader's rows."""
        return self._indexes.get(field_id)

    def column(self, field_id: int) -> pa.ChunkedArray:
        """All rows of a field, the invisible ones too. Raises KeyError where the schema lacks it."""
        field = self.schema.by_id[field_id]
        chunks = [_slice(p.block.column(field), p.start, p.stop) for p in self.parts]
        return pa.chunked_array(chunks, type=arrow_type(field))

    def keys(self) -> pa.Array:
        """(rows,) primary keys."""
        chunks = self.column(self.schema.primary.id).chunks
        if not chunks:
            return pa.array([], arrow_type(self.schema.primary))
        return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)

    def keys_at(self, rows: Rows) -> pa.Array:
        """Primary keys of some rows, in the given order."""
        primary = self.schema.primary
        if len(self.parts) == 1 and primary.type is DataType.INT64:
            # Cheaper than Arrow's take for the few keys of a search.
            part = self.parts[0]
            numbers = part.block.column(primary).to_numpy(zero_copy_only=True)
            return pa.array(numbers[rows + part.start if part.start else rows])
        return self._gather(primary, rows)

    def rows_of(self, keys: pa.Array) -> Rows:
        """Rows, ascending, that hold one of `keys` (of the primary key's Arrow type)."""
        probe = Probe(keys)
        found = []
        for part in self.parts:
            _, rows = part.block.key_index.match(probe)
            rows = rows[(rows >= part.start) & (rows < part.stop)]
            found.append(rows + (part.first - part.start))
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def ts(self) -> Times:
        """(rows,) uint64 timestamps."""
        stamps = [p.block.ts[p.start : p.stop] for p in self.parts]
        if len(stamps) == 1:
            return stamps[0]
        return np.concatenate(stamps) if stamps else np.empty(0, np.uint64)

    def ts_at(self, rows: Rows) -> Times:
        """Timestamps of some rows, in the given order."""
        if len(self.parts) == 1:
            part = self.parts[0]
            return part.block.ts[rows + part.start if part.start else rows]
        return self.ts()[rows]

    def take(self, field_ids: Sequence[int], rows: Rows) -> pa.RecordBatch:
        """Some rows of some fields, in the given orders; columns are named by field id."""
        fields = [self.schema.by_id[i] for i in field_ids]
        return pa.RecordBatch.from_arrays(
            [self._gather(f, rows) for f in fields],
            schema=pa.schema([pa.field(f.key, arrow_type(f), nullable=f.nullable) for f in fields]),
        )

    def vectors(self, field_id: int) -> Iterator[VectorBlock]:
        """A FLOAT_VECTOR column block by block, without copies."""
        field = self._vector_field(field_id)
        for part in self.parts:
            matrix = as_matrix(part.block.column(field))[part.start : part.stop]
            yield VectorBlock(part.first, matrix, _norms(part, field))

    def vectors_at(self, field_id: int, rows: Rows) -> Matrix:
        """(m, dim) float32 vectors of some rows, in the given order; a copy."""
        return as_matrix(self._gather(self._vector_field(field_id), rows))

    def _vector_field(self, field_id: int) -> Field:
        field = self.schema.by_id[field_id]
        if field.type is not DataType.FLOAT_VECTOR:
            raise Unimplemented(f"field {field.name!r}: search on {field.type.name} is not built")
        return field

    def _gather(self, field: Field, rows: Rows) -> pa.Array:
        if len(self.parts) == 1:
            part = self.parts[0]
            return part.block.column(field).take(pa.array(rows + part.start if part.start else rows))
        if not len(rows):
            return pa.array([], arrow_type(field))
        owner = np.searchsorted(self._firsts, rows, side="right") - 1
        pieces, places = [], []
        for which in np.unique(owner):
            part = self.parts[which]
            place = np.flatnonzero(owner == which)
            indices = pa.array(rows[place] + (part.start - part.first))
            pieces.append(part.block.column(field).take(indices))
            places.append(place)
        if len(pieces) == 1:
            return pieces[0]
        return pa.concat_arrays(pieces).take(pa.array(np.argsort(np.concatenate(places))))

    @cached_property
    def _firsts(self) -> Rows:
        return np.array([p.first for p in self.parts], np.int64)


def default_column(field: Field, rows: int) -> pa.Array:
    """What a field holds in rows that were written before it was added: its default, else null."""
    kind = arrow_type(field)
    if field.default is not None:
        value = field.default.encode() if pa.types.is_large_binary(kind) else field.default  # type: ignore[union-attr]
        return pa.repeat(pa.scalar(value, kind), rows)
    if field.dynamic:
        return pa.repeat(pa.scalar(b"{}", kind), rows)
    return pa.nulls(rows, kind)


def squared_lengths(matrix: Matrix) -> Matrix:
    """(n,) float32 squared lengths of the rows of (n, dim)."""
    return np.einsum("ij,ij->i", matrix, matrix)  # type: ignore[no-any-return]  # einsum is typed Any


def _slice(column: pa.Array, start: int, stop: int) -> pa.Array:
    return column if start == 0 and stop == len(column) else column.slice(start, stop - start)


def _norms(part: Part, field: Field) -> Callable[[], Matrix]:
    return lambda: part.block.norms(field)[part.start : part.stop]
