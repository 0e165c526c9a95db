"""Deletes: which keys are hidden, from when and below what; and the files that keep them.

A delete hides the rows of its key, in its partition or in all, with `row.ts <= bound`; their delete timestamp
becomes the delete's `ts` unless they have a smaller one (architecture, rule 1).
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from elanus.engine.keys import KeyIndex, Probe, Rows
from elanus.model.columns import ALL_PARTITIONS, PARTITION, TS, UNREADABLE, arrow_type
from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.records import KEY
from elanus.model.schema import Schema

FORMAT = 1
BOUND = "bound"
"""Column: the largest timestamp of a row that the delete hides, uint64."""
_FORMAT_KEY = b"elanus.deletes.format"

Times = npt.NDArray[np.uint64]


def delete_schema(schema: Schema) -> pa.Schema:
    return _columns(arrow_type(schema.primary))


class Deletes:
    """A table of deletes, one row a key; columns of `delete_schema`. Immutable."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table.combine_chunks()

    @classmethod
    def from_record(cls, keys: pa.Array, partition_id: int, ts: int, as_of: int = 0) -> "Deletes":
        """Deletes of one log record: plain (or of an upsert) where `as_of` is 0, else by expression."""
        bound = as_of if as_of > 0 else ts - 1
        count = len(keys)
        constants = (
            pa.array(np.full(count, partition_id, np.int64)),
            pa.array(np.full(count, ts, np.uint64)),
            pa.array(np.full(count, bound, np.uint64)),
        )
        return cls(pa.table([keys, *constants], schema=_columns(keys.type)))

    @classmethod
    def concat(cls, parts: Sequence["Deletes"]) -> "Deletes":
        """`parts` as one, in their order. There must be at least one."""
        return parts[0] if len(parts) == 1 else cls(pa.concat_tables([p.table for p in parts]))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def probe(self) -> Probe:
        return Probe(_only_chunk(self.table.column(KEY)))

    @cached_property
    def partitions(self) -> npt.NDArray[np.int64]:
        return self.table.column(PARTITION).to_numpy()  # type: ignore[no-any-return]  # pyarrow is untyped

    @cached_property
    def ts(self) -> Times:
        return self.table.column(TS).to_numpy()  # type: ignore[no-any-return]  # pyarrow is untyped

    @cached_property
    def bounds(self) -> Times:
        return self.table.column(BOUND).to_numpy()  # type: ignore[no-any-return]  # pyarrow is untyped

    @cached_property
    def max_bound(self) -> int:
        return int(self.bounds.max(initial=np.uint64(0)))

    @property
    def min_ts(self) -> int:
        return int(self.ts.min())

    @property
    def max_ts(self) -> int:
        return int(self.ts.max())

    def above(self, ts: int) -> "Deletes":
        """The deletes with a timestamp larger than `ts`."""
        return Deletes(self.table.filter(pa.array(self.ts > np.uint64(ts))))

    def hits(
        self, index: KeyIndex, row_ts: Times, row_partitions: Callable[[Rows], npt.NDArray[np.int64]]
    ) -> tuple[Rows, Times]:
        """Rows these deletes hide and with which timestamp; a row may come more than once."""
        which, rows = index.match(self.probe)
        if not len(rows):
            return rows, np.empty(0, np.uint64)
        scope = self.partitions[which]
        hidden = row_ts[rows] <= self.bounds[which]
        if bool(np.any(scope != ALL_PARTITIONS)):
            hidden &= (scope == ALL_PARTITIONS) | (scope == row_partitions(rows))
        return rows[hidden], self.ts[which[hidden]]


def write_delete_file(table: pa.Table, path: Path) -> None:
    """Write `Deletes.table` as Parquet."""
    named = table.replace_schema_metadata({_FORMAT_KEY: str(FORMAT).encode()})
    pq.write_table(named, path, compression="zstd", write_page_checksum=True)


def read_delete_file(path: Path) -> Deletes:
    """Raises CorruptError or NewerFormatError with the file's name."""
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except UNREADABLE as error:
        raise CorruptError(f"delete file {path} cannot be read: {error}") from error
    version = int((table.schema.metadata or {}).get(_FORMAT_KEY, b"0"))
    if version > FORMAT:
        raise NewerFormatError(
            f"delete file {path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
        )
    if version < 1:
        raise CorruptError(f"{path} is not a delete file: it has no format version")
    return Deletes(table.replace_schema_metadata(None))


def _columns(key_type: pa.DataType) -> pa.Schema:
    return pa.schema(
        [
            pa.field(KEY, key_type, nullable=False),
            pa.field(PARTITION, pa.int64(), nullable=False),
            pa.field(TS, pa.uint64(), nullable=False),
            pa.field(BOUND, pa.uint64(), nullable=False),
        ]
    )


def _only_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [_none(column)])


def _none(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([], column.type)
