"""Merging segments: the rows that outlive a compaction, in the order of a new segment.

Only the rows' numbers and timestamps are held in memory. Columns are gathered batch by batch into scratch
files, which are mapped as the table that `segment_file.write_segment` reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine.keys import Rows
from elanus.engine.sealed import SealedSegment
from elanus.engine.segment_file import has_own_file
from elanus.engine.visibility import Times
from elanus.model.columns import DELETE_TS, PARTITION, TS, arrow_type
from elanus.model.schema import Schema

BATCH_BYTES = 32 << 20
"""Memory of one batch of one column, about."""
IN_MEMORY_BYTES = 8 << 20
"""A column of fewer bytes is gathered in memory."""


@dataclass(frozen=True)
class Survivors:
    """Rows to keep in the order of the output: by partition, then by timestamp.

    `sources` (n,) which segment, `rows` (n,) which row there; `deletes` (n,) 0 where the row lives.
    """

    sources: npt.NDArray[np.int32]
    rows: Rows
    partitions: npt.NDArray[np.int64]
    ts: Times
    deletes: Times
    total: int
    """Rows of all inputs."""
    deleted: int
    """How many of them are deleted, whether they survive or not."""
    purged_to: int
    """The largest delete timestamp of a row that was left out because of it, 0 where there is none."""

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> "Survivors":
        cut = slice(start, stop)
        return replace(
            self,
            sources=self.sources[cut],
            rows=self.rows[cut],
            partitions=self.partitions[cut],
            ts=self.ts[cut],
            deletes=self.deletes[cut],
        )


def survivors(segments: Sequence[SealedSegment], purge_to: int, expired_below: int) -> Survivors:
    """Rows of segments whose deletes were applied, without those deleted at or before `purge_to` and those
    with a timestamp below `expired_below`."""
    found, total, deleted, purged_to = [], 0, 0, 0
    for number, segment in enumerate(segments):
        ts, deletes = segment.ts, segment.delete_times()
        purged = (deletes > 0) & (deletes <= np.uint64(purge_to))
        purged_to = max(purged_to, int(deletes[purged].max(initial=0)))
        rows = np.flatnonzero(~purged & (ts >= np.uint64(expired_below)))
        total += segment.rows
        deleted += int(np.count_nonzero(deletes))
        found.append((np.full(len(rows), number, np.int32), rows, segment.partitions, ts, deletes))
    sources = np.concatenate([f[0] for f in found])
    rows = np.concatenate([f[1] for f in found])
    partitions, ts, deletes = (np.concatenate([f[i][f[1]] for f in found]) for i in (2, 3, 4))
    order = np.lexsort((ts, partitions))
    return Survivors(
        sources[order],
        rows[order],
        partitions[order],
        ts[order],
        deletes[order],
        total,
        deleted,
        purged_to,
    )


def merged(
    segments: Sequence[SealedSegment],
    kept: Survivors,
    schema: Schema,
    scratch: Path,
    batch_bytes: int = BATCH_BYTES,
    in_memory_bytes: int = IN_MEMORY_BYTES,
) -> pa.Table:
    """The rows of `kept` as `write_segment` takes them, mapped from files in `scratch`.

    The files may go once the table is written. Fields that a segment lacks show their default.
    """
    names, columns = [], []
    for field in schema.fields:
        sources = [s.column(field) for s in segments]
        width = max(1, sum(c.nbytes for c in sources) // max(1, sum(len(c) for c in sources)))
        gathered = _gathered(sources, kept, max(1, batch_bytes // width))
        kind = arrow_type(field)
        if width * len(kept) <= in_memory_bytes:
            columns.append(pa.chunked_array(list(gathered), kind))
        elif has_own_file(field) and not any(c.null_count for c in sources):
            columns.append(_spooled_values(gathered, kind, len(kept), scratch / field.key))
        else:
            columns.append(_spooled(gathered, kind, scratch / field.key))
        names.append(field.key)
    columns += [pa.array(kept.partitions), pa.array(kept.ts)]
    names += [PARTITION, TS]
    if kept.deletes.any():
        columns.append(pa.array(kept.deletes, mask=kept.deletes == 0))
        names.append(DELETE_TS)
    return pa.table(columns, names=names)


def _gathered(sources: list[pa.Array], kept: Survivors, batch_rows: int) -> Iterator[pa.Array]:
    for start in range(0, len(kept), batch_rows):
        owners, rows = kept.sources[start : start + batch_rows], kept.rows[start : start + batch_rows]
        pieces, places = [], []
        for which in np.unique(owners):
            place = np.flatnonzero(owners == which)
            pieces.append(sources[which].take(pa.array(rows[place])))
            places.append(place)
        if len(pieces) == 1:
            yield pieces[0]
        else:
            yield pa.concat_arrays(pieces).take(pa.array(np.argsort(np.concatenate(places))))


def _spooled(batches: Iterator[pa.Array], kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    schema = pa.schema([pa.field("column", kind)])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays([batch], schema=schema))
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all().column(0)


def _spooled_values(batches: Iterator[pa.Array], kind: pa.DataType, rows: int, path: Path) -> pa.ChunkedArray:
    """Vectors without nulls as one array: their file is one matrix."""
    with path.open("wb") as file:
        for batch in batches:
            values = batch.flatten() if pa.types.is_fixed_size_list(kind) else batch
            width = (values if values is not batch else batch).type.bit_width // 8
            start = values.offset * width
            file.write(memoryview(values.buffers()[-1])[start : start + len(values) * width])
    with pa.memory_map(str(path)) as mapped:
        buffer = mapped.read_buffer()
    if not pa.types.is_fixed_size_list(kind):
        return pa.chunked_array([pa.Array.from_buffers(kind, rows, [None, buffer])])
    values = pa.Array.from_buffers(kind.value_type, rows * kind.list_size, [None, buffer])
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(values, type=kind)])
