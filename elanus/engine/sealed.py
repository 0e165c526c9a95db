"""A sealed segment: immutable files, the deletes that came since, and the indexes that were built."""

from collections import OrderedDict
from functools import cached_property, partial
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine import index as indexes
from elanus.engine import scalar_index
from elanus.engine.deletes import Deletes
from elanus.engine.filter_cache import FilterCache
from elanus.engine.index.vector_index import VectorIndex
from elanus.engine.json_column import JsonPaths, Shredded, shred
from elanus.engine.keys import KeyIndex, Rows
from elanus.engine.light import LightIndexes
from elanus.engine.reader import Matrix, Part, Reader, valid_mask, vector_norms
from elanus.engine.scalar_index import ScalarIndex
from elanus.engine.segment_file import (
    Columns,
    ColumnStats,
    KeptColumns,
    OpenFile,
    SegmentFile,
    has_own_file,
)
from elanus.engine.visibility import DeletedRows, Mask, Times
from elanus.model.columns import ALL_PARTITIONS, DELETE_TS, TS
from elanus.model.errors import CorruptError, InvalidParameter
from elanus.model.nouns import IndexFile, RangeDelete, Segment
from elanus.model.schema import Field, Schema

MASKS_KEPT = 4
"""Masks a segment remembers: one for each recent choice of partitions and timestamp."""


class SealedSegment:
    """Rows of a segment's files. One thread applies deletes, any number reads."""

    def __init__(
        self,
        meta: Segment,
        schema: Schema,
        file: SegmentFile,
        columns: Columns | None = None,
        masks_kept: int = MASKS_KEPT,
        filters: FilterCache | None = None,
    ) -> None:
        self.meta = meta
        self.schema = schema
        self._block = _FileBlock(file, schema, columns or KeptColumns(), meta.prefix)
        self._deleted = DeletedRows()
        self._starts = np.array([r.start for r in file.stats.partitions], np.int64)
        self._ids = np.array([r.partition_id for r in file.stats.partitions], np.int64)
        self._vectors: dict[int, tuple[IndexFile, VectorIndex]] = {}
        self._scalars: dict[int, tuple[IndexFile, ScalarIndex]] = {}
        self._masks: OrderedDict[tuple[frozenset[int] | None, int, int], tuple[object, Mask]] = OrderedDict()
        self._masks_kept = masks_kept
        self._filters = filters
        self._lock = Lock()
        if file.stats.deleted:
            stamps = file.scalar(DELETE_TS).fill_null(0).to_numpy()
            self._deleted = DeletedRows(stamps.copy())

    @classmethod
    def open(
        cls,
        meta: Segment,
        schema: Schema,
        open_file: OpenFile,
        columns: Columns | None = None,
        filters: FilterCache | None = None,
    ) -> "SealedSegment":
        """Read the files that `open_file` finds by name. `columns` keeps what was read, `filters` what
        filters matched.

        Raises CorruptError or NewerFormatError.
        """
        file = SegmentFile.open(open_file, schema)
        if file.stats.rows != meta.rows:
            raise CorruptError(
                f"segment {meta.name} has {file.stats.rows} rows; its manifest says {meta.rows}"
            )
        return cls(meta, schema, file, columns, filters=filters)

    @property
    def rows(self) -> int:
        return self._block.rows

    @property
    def ts(self) -> Times:
        """(rows,) timestamps."""
        return self._block.ts

    @property
    def partitions(self) -> npt.NDArray[np.int64]:
        """(rows,) partition ids."""
        ranges = self._block.file.stats.partitions
        return np.repeat(self._ids, [r.end - r.start for r in ranges])

    def column(self, field: Field) -> pa.Array:
        """(rows,) values of a field, of deleted rows, too; its default where the files lack it."""
        return self._block.column(field)

    def alter(self, schema: Schema) -> None:
        """Read with a newer schema: fields that the files lack show their default."""
        self._block = _FileBlock(self._block.file, schema, self._block.columns, self.meta.prefix, self._block)
        self.schema = schema

    def apply(self, deletes: Deletes) -> None:
        """Hide rows; the same deletes may come again, in any order."""
        if not len(deletes) or deletes.max_bound < self._block.file.stats.min_ts:
            return
        rows, ts = deletes.hits(self._block.key_index, self._block.ts, self._partition_of)
        self._deleted.add(rows, ts, self.rows)

    def apply_range(self, delete: RangeDelete) -> None:
        if delete.as_of < self._block.file.stats.min_ts:
            return
        for part in self._block.file.stats.partitions:
            if delete.partition_id in (ALL_PARTITIONS, part.partition_id):
                hidden = self._block.ts[part.start : part.end] <= np.uint64(delete.as_of)
                rows = np.flatnonzero(hidden) + part.start
                self._deleted.add(rows, np.full(len(rows), delete.ts, np.uint64), self.rows)

    def delete_times(self) -> Times:
        """(rows,) smallest delete timestamp of each row, 0 where it lives; a copy."""
        return self._deleted.times(self.rows)

    def attach_index(self, file: IndexFile, path: Path) -> None:
        """Load an index and use it from the next reader on. Raises CorruptError or NewerFormatError."""
        index: VectorIndex | ScalarIndex
        if file.metric is None:
            index = scalar_index.load(path)
        else:
            valid = self._block.valid(self.schema.by_id[file.field_id])
            index = indexes.without_nulls(indexes.load(file.type, path, file.metric), valid)
        if index.rows != self.rows:
            raise CorruptError(
                f"index {path} has {index.rows} rows; segment {self.meta.name} has {self.rows}"
            )
        if isinstance(index, ScalarIndex):
            self._scalars = {**self._scalars, file.index_id: (file, index)}
        else:
            self._vectors = {**self._vectors, file.index_id: (file, index)}
            self._block.light.close(file.field_id)

    def detach_index(self, index_id: int) -> None:
        """Readers that have it keep it; unknown ids are ignored."""
        self._vectors = {i: pair for i, pair in self._vectors.items() if i != index_id}
        self._scalars = {i: pair for i, pair in self._scalars.items() if i != index_id}

    @property
    def attached(self) -> tuple[IndexFile, ...]:
        return tuple(file for file, _ in (*self._vectors.values(), *self._scalars.values()))

    def reader(
        self,
        at_ts: int,
        partitions: frozenset[int] | None = None,
        expired_below: int = 0,
        light: int | None = None,
    ) -> Reader:
        """Rows with `expired_below` <= ts <= `at_ts` in `partitions` (None: all), without those deleted at or
        before `at_ts`. `light`: a field of vectors that may be searched by its light index.

        Raises InvalidParameter where rows that were visible then may have been purged.
        """
        if at_ts < self.meta.purged_to:
            raise InvalidParameter(
                f"a read at timestamp {at_ts} is too old: rows deleted up to {self.meta.purged_to} have been "
                "purged; start the read again"
            )
        stats, block, deleted = self._block.file.stats, self._block, self._deleted
        if partitions is not None:
            here = partitions.intersection(self._ids.tolist())
            partitions = None if len(here) == len(self._ids) else here
        if not expired_below <= stats.max_ts or at_ts < stats.min_ts or partitions == frozenset():
            return Reader(self.schema, (), lambda: None)
        return Reader(
            self.schema,
            (Part(block, 0, block.rows, 0),),
            lambda: self._mask(at_ts, partitions, deleted.mask(at_ts, 0, block.rows), expired_below),
            self._vector_indexes(light),
            stats.partitions,
            {(file.field_id, index.path): index for file, index in self._scalars.values()},
            block.stats,
            None if self._filters is None else partial(self._filters.matching, self.meta.prefix),
        )

    def _vector_indexes(self, light: int | None) -> dict[int, VectorIndex]:
        found = {file.field_id: index for file, index in self._vectors.values()}
        if light is not None and light not in found:
            index = self._block.light.get(light)
            if index is not None:
                found[light] = index
        return found

    def close(self) -> None:
        """Let go of all memory; readers that are open go on as long as the files are there."""
        self._vectors, self._scalars = {}, {}
        for field in self.schema.fields:
            self._block.light.close(field.id)
        self._block.columns.forget(self.meta.prefix)
        if self._filters is not None:
            self._filters.forget(self.meta.prefix)
        self._masks.clear()

    def _mask(
        self, at_ts: int, partitions: frozenset[int] | None, alive: Mask | None, expired_below: int
    ) -> Mask | None:
        """`alive` without rows of other partitions, above `at_ts` and below `expired_below`; the latest few
        are remembered."""
        stats = self._block.file.stats
        later = at_ts < stats.max_ts
        if expired_below <= stats.min_ts:
            expired_below = 0
        if partitions is None and not later and not expired_below:
            return alive
        # DeletedRows cuts its masks from one array until a delete changes it: same array, same deletes.
        source = None if alive is None else alive.base
        key = (partitions, at_ts if later else 0, expired_below)
        with self._lock:
            kept = self._masks.get(key)
        if kept is not None and kept[0] is source:
            return kept[1]
        mask = np.zeros(stats.rows, np.bool_)
        for part in stats.partitions:
            if partitions is None or part.partition_id in partitions:
                mask[part.start : part.end] = True
        if later:
            mask &= self._block.ts <= np.uint64(at_ts)
        if expired_below:
            mask &= self._block.ts >= np.uint64(expired_below)
        if alive is not None:
            mask &= alive
        mask.flags.writeable = False
        with self._lock:
            self._masks[key] = (source, mask)
            self._masks.move_to_end(key)
            while len(self._masks) > self._masks_kept:
                self._masks.popitem(last=False)
        return mask

    def _partition_of(self, rows: Rows) -> npt.NDArray[np.int64]:
        return self._ids[np.searchsorted(self._starts, rows, side="right") - 1]


class _FileBlock:
    """The columns of a segment's files, each read when it is needed, and kept by `columns`."""

    settled = True

    def __init__(
        self,
        file: SegmentFile,
        schema: Schema,
        columns: Columns,
        prefix: str,
        older: "_FileBlock | None" = None,
    ) -> None:
        self.file = file
        self.schema = schema
        self.columns = columns
        self.rows = file.stats.rows
        self._prefix = prefix
        self.light: LightIndexes = older.light if older else LightIndexes()
        self._norms: dict[int, Matrix] = dict(older._norms) if older else {}
        self._valid: dict[int, Mask | None] = {}
        self._paths = JsonPaths()

    def column(self, field: Field) -> pa.Array:
        if has_own_file(field):
            return self.file.field(field)
        return self.columns.get(f"{self._prefix}/{field.key}", lambda: self.file.field(field))

    def json(self, field: Field, path: tuple[str | int, ...]) -> Shredded:
        def read() -> Shredded:
            found = self.file.json(field, path)
            return shred(self.column(field), path) if found is None else found

        return self._paths.get(field.id, path, read)

    def stats(self, field: Field) -> ColumnStats | None:
        return self.file.stats.columns.get(field.key)

    def norms(self, field: Field) -> Matrix:
        found = self._norms.get(field.id)
        if found is None:
            found = self._norms[field.id] = vector_norms(self.column(field), field)
        return found

    def valid(self, field: Field) -> Mask | None:
        if field.id not in self._valid:
            self._valid[field.id] = valid_mask(self.column(field))
        return self._valid[field.id]

    @property
    def ts(self) -> Times:
        stamps = self.columns.get(f"{self._prefix}/{TS}", lambda: self.file.scalar(TS))
        return stamps.to_numpy()  # type: ignore[no-any-return]  # pyarrow is untyped

    @cached_property
    def key_index(self) -> KeyIndex:
        return KeyIndex(self.column(self.schema.primary))
