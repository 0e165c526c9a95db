"""The index node: builds one index of one segment at a time and uploads it."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from elanus.engine import index as indexes
from elanus.engine.segment_file import SegmentFile
from elanus.model.columns import as_matrix
from elanus.model.nouns import IndexFile
from elanus.roles.index import IndexTask
from elanus.storage import keys
from elanus.storage.objects import ObjectStore


class IndexLimits(msgspec.Struct, frozen=True, kw_only=True):
    threads: int
    """OpenMP threads of one build."""


class LocalIndexNode:
    """One index node in this process: `roles.IndexNode`."""

    def __init__(self, *, objects: ObjectStore, scratch: Path, limits: IndexLimits) -> None:
        self._objects = objects
        self._scratch = scratch
        self._limits = limits

    def build(self, task: IndexTask) -> IndexFile:
        segment, definition = task.segment, task.definition
        assert definition.metric is not None, "a vector index has a metric"
        field = task.schema.by_id[definition.field_id]
        with ExitStack() as stack:

            def open_file(name: str) -> Path:
                return stack.enter_context(self._objects.open_local(f"{segment.prefix}/{name}")).path

            vectors = as_matrix(SegmentFile.open(open_file, task.schema).field(field))
            built = indexes.build(
                definition.type, vectors, definition.metric, definition.params, self._limits.threads
            )
        path = keys.index_path(task.collection_id, task.channel.id, task.job_id, segment.name, definition.id)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="index-") as directory:
            local = Path(directory) / "index"
            built.save(local)
            size = local.stat().st_size
            self._objects.put(path, local)
        return IndexFile(
            index_id=definition.id,
            field_id=definition.field_id,
            type=definition.type,
            metric=definition.metric,
            path=path,
            bytes=size,
            params=definition.params,
        )
