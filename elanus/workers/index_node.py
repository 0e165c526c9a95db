"""The index node: builds one index of one segment at a time and uploads it."""

import tempfile
from contextlib import ExitStack
from pathlib import Path

import msgspec

from elanus.engine import index as indexes
from elanus.engine import scalar_index as scalars
from elanus.engine.reader import valid_mask
from elanus.engine.segment_file import SegmentFile
from elanus.model.columns import as_floats, as_matrix
from elanus.model.index_parameters import JSON_PATH
from elanus.model.nouns import IndexDefinition, IndexFile
from elanus.model.schema import Field
from elanus.model.types import DataType
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
        field = task.schema.by_id[definition.field_id]
        with ExitStack() as stack:

            def open_file(name: str) -> Path:
                return stack.enter_context(self._objects.open_local(f"{segment.prefix}/{name}")).path

            file = SegmentFile.open(open_file, task.schema)
            built = self._built(file, field, definition)
        path = keys.index_path(task.collection_id, task.channel.id, task.job_id, segment.name, definition.id)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="index-") as directory:
            local = Path(directory) / "index"
            built.save(local)
            size = local.stat().st_size
            self._objects.put(path, local)
        return IndexFile(
            index_id=definition.id,
            field_id=definition.field_id,
            type=built.type,
            metric=definition.metric,
            path=path,
            bytes=size,
            params=definition.params,
        )

    def _built(
        self, file: SegmentFile, field: Field, definition: IndexDefinition
    ) -> indexes.StoredIndex | scalars.ScalarIndex:
        column = file.field(field)
        if definition.metric is None:
            path = definition.params.get(JSON_PATH)
            shredded = None if path is None else file.json(field, tuple(path))
            return scalars.build(definition.type, column, field, definition.params, shredded)
        vectors = as_matrix(column, field.type)
        if field.type is not DataType.BINARY_VECTOR:
            vectors = as_floats(vectors, field.type)
        valid = valid_mask(column)
        if valid is not None and valid.any():
            vectors = vectors[valid]
        return indexes.build(
            definition.type, vectors, definition.metric, definition.params, self._limits.threads
        )
