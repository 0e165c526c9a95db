"""A reader: a snapshot of a segment's rows at one timestamp, which never changes under its user.

A segment is one or more blocks of immutable columns. A sealed segment is one block whose rows are numbered as
in its files and indexes; a growing one is a sequence of blocks, and a reader numbers the rows of its own cut.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.index.vector_index import VectorIndex
from elanus.engine.json_column import Shredded, concatenated
from elanus.engine.keys import KeyIndex, Probe, Rows
from elanus.engine.visibility import Mask, Times
from elanus.model.columns import STORED, arrow_type, as_floats, as_matrix, vector_bytes
from elanus.model.errors import Unimplemented
from elanus.model.nouns import PartitionRange
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

if TYPE_CHECKING:
    from elanus.engine.light import LightIndexes
    from elanus.engine.scalar_index import ScalarIndex
    from elanus.engine.segment_file import ColumnStats
    from elanus.expr.plan import Plan

Matrix = npt.NDArray[np.float32]
Matches = Callable[["Plan", Callable[[], Mask]], Mask]
FEW_ROWS = 256
"""Vectors of at most so many rows are gathered by NumPy, which has the smaller fixed cost."""
CONVERTED_AT_ONCE = 16_384
"""Vectors of a narrower type that are converted to float32 at a time."""


class Block(Protocol):
    """Immutable columns of the same length."""

    @property
    def rows(self) -> int: ...
    @property
    def ts(self) -> Times: ...
    @property
    def key_index(self) -> KeyIndex: ...
    @property
    def light(self) -> "LightIndexes": ...
    @property
    def settled(self) -> bool:
        """Whether it stays as it is long enough for a light index."""

    def column(self, field: Field) -> pa.Array: ...
    def norms(self, field: Field) -> Matrix:
        """(rows,) squared lengths of a vector column."""

    def valid(self, field: Field) -> Mask | None:
        """(rows,) where a vector column has a value, read-only and kept; None: everywhere."""

    def json(self, field: Field, path: tuple[str | int, ...]) -> Shredded:
        """What is at `path` of a JSON column, a value a row; kept."""


class Part(NamedTuple):
    """Rows [start, stop) of a block; the reader's rows from `first` on."""

    block: Block
    start: int
    stop: int
    first: int


class VectorBlock(NamedTuple):
    """Rows [first, first + m) of a reader: (m, width) as stored, and their (m,) squared lengths on demand."""

    first: int
    matrix: npt.NDArray[Any]
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
        scalars: Mapping[tuple[int, tuple[str | int, ...] | None], "ScalarIndex"] | None = None,
        stats: Callable[[Field], "ColumnStats | None"] | None = None,
        matches: "Matches | None" = None,
    ) -> None:
        self.schema = schema
        self.parts = tuple(parts)
        self.rows = self.parts[-1].first + self.parts[-1].stop - self.parts[-1].start if parts else 0
        self.row_bounds = row_bounds
        """Where each partition's rows are, in a sealed segment; empty in a growing one."""
        self._make_mask = mask
        self._mask: Mask | None = None
        self._masked = False
        self._indexes = indexes or {}
        self._scalars = scalars or {}
        self._stats = stats
        self._matches = matches

    def mask(self) -> Mask | None:
        """(rows,) True where the row is visible; None where every row is. Read-only."""
        if not self._masked:
            self._mask = self._make_mask() if self.rows else None
            self._masked = True
        return self._mask

    def matching(self, plan: "Plan", evaluate: Callable[[], Mask]) -> Mask:
        """(rows,) what `evaluate` says of a filter, visible or not; kept where the rows never change."""
        return evaluate() if self._matches is None else self._matches(plan, evaluate)

    def valid(self, field: Field) -> Mask | None:
        """(rows,) True where a vector field has a value; None: everywhere. Read-only."""
        if not field.nullable:
            return None
        masks = [p.block.valid(field) for p in self.parts]
        if all(m is None for m in masks):
            return None
        if len(self.parts) == 1 and self.rows == self.parts[0].block.rows:
            return masks[0]
        return np.concatenate(
            [
                np.ones(p.stop - p.start, np.bool_) if m is None else m[p.start : p.stop]
                for p, m in zip(self.parts, masks, strict=True)
            ]
        )

    def index(self, field_id: int) -> VectorIndex | None:
        """The index of a field over this reader's rows."""
        return self._indexes.get(field_id)

    def scalar_index(self, field_id: int, path: tuple[str | int, ...] | None) -> "ScalarIndex | None":
        """The index of a scalar field, or of a path of a JSON field, over this reader's rows."""
        return self._scalars.get((field_id, path))

    def bounds(self, field_id: int) -> "ColumnStats | None":
        """Statistics of a field's values in all rows, where they are kept."""
        return None if self._stats is None else self._stats(self.schema.by_id[field_id])

    def json(self, field_id: int, path: tuple[str | int, ...]) -> Shredded:
        """What is at `path` of a JSON field, a value a row."""
        field = self.schema.by_id[field_id]
        return concatenated([p.block.json(field, path).slice(p.start, p.stop) for p in self.parts])

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
        if primary.type is not DataType.INT64 or not self.parts or len(rows) > FEW_ROWS:
            return self._gather(primary, rows)
        # Cheaper than Arrow's take for the few keys of a search.
        if len(self.parts) == 1:
            part = self.parts[0]
            numbers = part.block.column(primary).to_numpy(zero_copy_only=True)
            return pa.array(numbers[rows + part.start if part.start else rows])
        found = np.empty(len(rows), np.int64)
        owner = np.searchsorted(self._firsts, rows, side="right") - 1
        for which in set(owner.tolist()):
            part, place = self.parts[which], owner == which
            numbers = part.block.column(primary).to_numpy(zero_copy_only=True)
            found[place] = numbers[rows[place] + (part.start - part.first)]
        return pa.array(found)

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
        return pa.RecordBatch.from_arrays([self._gather(f, rows) for f in fields], [f.key for f in fields])

    def vectors(self, field_id: int) -> Iterator[VectorBlock]:
        """A dense vector column block by block, as it is stored, without copies."""
        field = self._vector_field(field_id)
        for part in self.parts:
            matrix = as_matrix(part.block.column(field), field.type)[part.start : part.stop]
            yield VectorBlock(part.first, matrix, _norms(part, field))

    def vectors_at(self, field_id: int, rows: Rows) -> npt.NDArray[Any]:
        """(m, width) vectors of some rows as they are stored, in the given order; a copy."""
        field = self._vector_field(field_id)
        if len(rows) > FEW_ROWS:
            # Arrow's take lets other threads run while it waits for pages; NumPy's does not.
            return as_matrix(self._gather(field, rows), field.type)
        if len(self.parts) == 1:
            part = self.parts[0]
            matrix = as_matrix(part.block.column(field), field.type)
            return matrix[rows + part.start if part.start else rows]
        return self._few_vectors(field, rows)

    def _few_vectors(self, field: Field, rows: Rows) -> npt.NDArray[Any]:
        found = np.empty((len(rows), vector_bytes(field) // STORED[field.type].itemsize), STORED[field.type])
        owner = np.searchsorted(self._firsts, rows, side="right") - 1
        for which in set(owner.tolist()):
            part = self.parts[which]
            place = owner == which
            matrix = as_matrix(part.block.column(field), field.type)
            found[place] = matrix[rows[place] + (part.start - part.first)]
        return found

    def _vector_field(self, field_id: int) -> Field:
        field = self.schema.by_id[field_id]
        if field.type not in STORED:
            raise Unimplemented(f"field {field.name!r}: search on {field.type.name} is not built")
        return field

    def _gather(self, field: Field, rows: Rows) -> pa.Array:
        if len(self.parts) == 1:
            part = self.parts[0]
            inside = rows + part.start if part.start else rows
            column = part.block.column(field)
            if field.type is DataType.INT64 and not column.null_count:
                # A few values are had quicker from NumPy than from Arrow's take.
                return pa.array(column.to_numpy()[inside])
            return column.take(pa.array(inside))
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


def vector_norms(column: pa.Array, field: Field) -> Matrix:
    """(n,) float32 squared lengths of a vector column that is not binary."""
    matrix = as_matrix(column, field.type)
    pieces = [
        squared_lengths(as_floats(matrix[start : start + CONVERTED_AT_ONCE], field.type))
        for start in range(0, len(matrix), CONVERTED_AT_ONCE)
    ]
    return pieces[0] if len(pieces) == 1 else np.concatenate([np.empty(0, np.float32), *pieces])


def valid_mask(column: pa.Array) -> Mask | None:
    """(n,) where a column has a value, read-only; None: everywhere."""
    if not column.null_count:
        return None
    mask: Mask = column.is_valid().to_numpy(zero_copy_only=False)
    mask.flags.writeable = False
    return mask


def squared_lengths(matrix: Matrix) -> Matrix:
    """(n,) float32 squared lengths of the rows of (n, dim)."""
    return np.einsum("ij,ij->i", matrix, matrix)  # type: ignore[no-any-return]  # einsum is typed Any


def _slice(column: pa.Array, start: int, stop: int) -> pa.Array:
    return column if start == 0 and stop == len(column) else column.slice(start, stop - start)


def _norms(part: Part, field: Field) -> Callable[[], Matrix]:
    return lambda: part.block.norms(field)[part.start : part.stop]
