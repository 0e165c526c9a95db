"""The compactor: reads segments as a query node would, leaves out what nobody can see, writes them anew."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from elanus.engine.deletes import read_delete_file
from elanus.engine.merge import Survivors, merged, survivors
from elanus.engine.sealed import SealedSegment
from elanus.engine.segment_file import write_segment
from elanus.model.nouns import Segment
from elanus.roles.data import CompactionResult, CompactionTask
from elanus.storage import keys
from elanus.storage.objects import ObjectStore
from elanus.storage.objects.cache import FileCache
from elanus.workers.column_cache import ColumnCache, ColumnLimits

_SMALL_SHARE = 64
"""A column of less than this part of a batch is not worth a file."""
_NO_LIMIT = 1 << 62


class CompactionLimits(msgspec.Struct, frozen=True, kw_only=True):
    batch_bytes: int
    """Memory of one batch of rows of one column, about."""


class LocalCompactionNode:
    """`roles.CompactionNode` in this process."""

    def __init__(self, *, objects: ObjectStore, scratch: Path, limits: CompactionLimits) -> None:
        self._objects = objects
        self._scratch = scratch
        self._limits = limits

    def compact(self, task: CompactionTask) -> CompactionResult:
        with ExitStack() as stack:
            columns = self._columns(stack)
            segments = [self._open(segment, task, columns, stack) for segment in task.inputs]
            kept = survivors(segments, task.purge_to, task.expired_below)
            deleted = kept.deleted / kept.total
            if kept.total - len(kept) < task.least_dead * kept.total:
                return CompactionResult(deleted=deleted, worthwhile=False)
            outputs = tuple(
                self._write(task, name, segments, part)
                for name, part in zip(task.names, _parts(task, kept), strict=False)
            )
        return CompactionResult(segments=outputs, purged_to=kept.purged_to, deleted=deleted)

    def _columns(self, stack: ExitStack) -> ColumnCache:
        """Inputs' columns are gathered in random order: on disk all of them, in memory next to nothing."""
        directory = stack.enter_context(tempfile.TemporaryDirectory(dir=self._scratch, prefix="columns-"))
        size = self._limits.batch_bytes
        limits = ColumnLimits(small_bytes=size // _SMALL_SHARE, memory_bytes=size)
        return ColumnCache(FileCache(Path(directory) / "files", _NO_LIMIT), limits)

    def _open(
        self, meta: Segment, task: CompactionTask, columns: ColumnCache, stack: ExitStack
    ) -> SealedSegment:
        segment = SealedSegment.open(meta, task.schema, self._opener(meta, stack), columns)
        stack.callback(segment.close)
        for file in task.delete_files:
            if file.max_ts > meta.min_ts:
                with self._objects.open_local(file.path) as local:
                    segment.apply(read_delete_file(local.path))
        for hidden in task.range_deletes:
            segment.apply_range(hidden)
        return segment

    def _opener(self, meta: Segment, stack: ExitStack) -> Callable[[str], Path]:
        return lambda name: stack.enter_context(self._objects.open_local(f"{meta.prefix}/{name}")).path

    def _write(
        self, task: CompactionTask, name: int, segments: list[SealedSegment], kept: Survivors
    ) -> Segment:
        producer = keys.made_by(task.job_id)
        prefix = keys.segment_prefix(task.collection_id, task.channel.id, producer, f"{name}")
        with (
            tempfile.TemporaryDirectory(dir=self._scratch, prefix="merge-") as scratch,
            tempfile.TemporaryDirectory(dir=self._scratch, prefix="compact-") as directory,
        ):
            table = merged(segments, kept, task.schema, Path(scratch), self._limits.batch_bytes)
            summary = write_segment(table, task.schema, Path(directory))
            for file in summary.files:
                self._objects.put(f"{prefix}/{file}", Path(directory) / file)
        return Segment(
            name=f"{name}",
            prefix=prefix,
            rows=summary.rows,
            bytes=summary.bytes,
            min_ts=summary.min_ts,
            max_ts=summary.max_ts,
            partitions=summary.partitions,
            schema_version=task.schema.version,
            deletes_applied_to=task.applied_to,
            deleted=int(np.count_nonzero(kept.deletes)),
            purged_to=max(kept.purged_to, *(s.purged_to for s in task.inputs)),
        )


def _parts(task: CompactionTask, kept: Survivors) -> list[Survivors]:
    """Outputs of about the same size, none of them much above the target; as few as that takes."""
    if not len(kept):
        return []
    size = sum(s.bytes for s in task.inputs) * len(kept) // kept.total
    count = min(len(task.names), max(1, -(-size // task.target_bytes)), len(kept))
    cuts = np.linspace(0, len(kept), count + 1, dtype=np.int64).tolist()
    return [kept.part(start, stop) for start, stop in pairwise(cuts)]
