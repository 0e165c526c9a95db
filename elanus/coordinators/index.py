"""The index coordinator: index definitions, and the builds that sealed segments still need."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from elanus.coordinators.jobs import begin_job, forget_jobs
from elanus.coordinators.term import Term
from elanus.model.codes import Code
from elanus.model.errors import (
    CollectionNotFound,
    ConflictError,
    ElanusError,
    IndexNotFound,
    InvalidParameter,
)
from elanus.model.index_parameters import JSON_PATH, has_file
from elanus.model.nouns import Channel, Collection, IndexDefinition, IndexFile, Manifest, Segment
from elanus.model.types import Metric
from elanus.roles.index import IndexNode, IndexProgress, IndexTask
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.manifests import Manifests, edit_id, replace_inputs
from elanus.storage.meta import Compare, MetaStore, Watch
from elanus.storage.sequence import Sequence

log = logging.getLogger(__name__)

NAME = "index"
"""Of its jobs."""

Merge = Callable[[Collection, Channel, list[Segment]], frozenset[str]]
"""Offers segments without an index for a merge; the names of those that are being rewritten."""


def _never(collection: Collection, channel: Channel, segments: list[Segment]) -> frozenset[str]:
    return frozenset()


class IndexPolicy(msgspec.Struct, frozen=True, kw_only=True):
    min_rows: int
    """Segments with fewer rows are searched without an index (and count as indexed)."""
    builds: int
    """Builds at a time."""
    attempts: int
    retry_seconds: float


class LocalIndexCoordinator:
    """`roles.IndexCoordinator` in this process."""

    def __init__(
        self,
        term: Term,
        *,
        meta: MetaStore,
        catalog: Catalog,
        manifests: Manifests,
        ids: Sequence,
        node: IndexNode,
        policy: IndexPolicy,
        merge: Merge = _never,
    ) -> None:
        self._term = term
        self._meta = meta
        self._catalog = catalog
        self._manifests = manifests
        self._ids = ids
        self._node = node
        self._policy = policy
        self._merge = merge
        self._merging: dict[int, frozenset[str]] = {}
        """Channel -> segments that need no index of their own: they are being merged."""
        self._started: set[tuple[str, int]] = set()
        """Those of `_building` whose turn has come."""
        self._changed = threading.Condition()
        self._defining = threading.Lock()
        self._building: set[tuple[str, int]] = set()
        self._failures: dict[tuple[str, int], str] = {}
        self._stopping = False
        self._pool = ThreadPoolExecutor(policy.builds, thread_name_prefix="index")
        self._thread = threading.Thread(target=self._follow_manifests, name="index-jobs", daemon=True)

    def start(self) -> None:
        """Forgets the jobs of a coordinator that is gone, and looks at every collection once."""
        forget_jobs(self._meta, self._term, NAME)
        self._watch = self._watch_manifests()
        self._thread.start()
        for collection in self._catalog.collections():
            self._plan(collection)

    def stop(self) -> None:
        self._stopping = True
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._watch.close()
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # definitions

    def create_index(
        self,
        collection_id: int,
        field_id: int,
        name: str,
        index_type: str,
        metric: str,
        params: dict[str, Any],
        requested: dict[str, str],
    ) -> IndexDefinition:
        definition = IndexDefinition(
            id=self._ids.take(),
            collection_id=collection_id,
            field_id=field_id,
            name=name,
            type=index_type,
            metric=Metric(metric) if metric else None,
            params=params,
            requested=requested,
        )
        with self._defining:
            collection = self._collection(collection_id)
            found = self._define(collection, definition)
        self._plan(collection)
        return found

    def _define(self, collection: Collection, definition: IndexDefinition) -> IndexDefinition:
        requested = definition.requested
        for old in self._catalog.indexes(collection.id):
            if msgspec.structs.replace(old, id=definition.id, requested=requested) == definition:
                return old
            if old.field_id == definition.field_id and _path(old) == _path(definition):
                field = collection.schema.by_id[old.field_id].name
                raise ElanusError(
                    "at most one distinct index is allowed per field: field "
                    f"{field!r} has the index {old.name!r} ({old.type}); "
                    "drop it first",
                    Code.PARAMETER_INVALID,
                )
            if old.name == definition.name:
                raise InvalidParameter(f"the index name {old.name!r} is taken by another field's index")
        self._term.txn([], {keys.index(collection.id, definition.id): codec.encode(definition)})
        return definition

    def alter_index(
        self, collection_id: int, index_id: int, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        key = keys.index(collection_id, index_id)
        with self._defining:
            revision = self._catalog.revision_of(key)
            old = next((i for i in self._catalog.indexes(collection_id) if i.id == index_id), None)
            if old is None:
                raise IndexNotFound(f"index {index_id} of collection {collection_id} does not exist")
            kept = {k: v for k, v in old.requested.items() if k not in delete_keys}
            altered = msgspec.structs.replace(old, requested={**kept, **properties})
            if self._term.txn([Compare(key, revision)], {key: codec.encode(altered)}) is None:
                raise IndexNotFound(f"index {old.name!r} was dropped meanwhile")

    def drop_index(self, collection_id: int, index_id: int) -> None:
        if not any(i.id == index_id for i in self._catalog.indexes(collection_id)):
            raise IndexNotFound(f"index {index_id} of collection {collection_id} does not exist")
        self._term.txn([], {}, [keys.index(collection_id, index_id)])
        self._plan(self._collection(collection_id))

    def drop_collection(self, collection_id: int) -> None:
        with self._defining:  # what is being made at this moment goes as well
            doomed = [keys.index(collection_id, i.id) for i in self._catalog.indexes(collection_id)]
            if doomed:
                self._term.txn([], {}, doomed)

    # builds

    def progress(self, collection_id: int, wait_seconds: float) -> list[IndexProgress]:
        deadline = time.monotonic() + wait_seconds
        while True:
            found = self._progress(self._collection(collection_id))
            left = deadline - time.monotonic()
            if left <= 0 or not any(p.pending_rows and not p.failure for p in found):
                return found
            with self._changed:
                self._changed.wait(min(left, self._policy.retry_seconds))

    def _progress(self, collection: Collection) -> list[IndexProgress]:
        definitions = self._catalog.indexes(collection.id)
        manifests = [self._manifests.read(c) for c in collection.channels]
        return [self._progress_of(d, manifests) for d in definitions]

    def _progress_of(self, definition: IndexDefinition, manifests: list[Manifest]) -> IndexProgress:
        segments = [s for m in manifests for s in m.segments]
        total = sum(s.rows for s in segments)
        missing = [s for s in segments if self._needs(definition, s)]
        pending = sum(s.rows for s in missing)
        failures = [self._failures.get((s.name, definition.id), "") for s in missing]
        return IndexProgress(
            index_id=definition.id,
            total_rows=total,
            indexed_rows=total - pending,
            pending_rows=pending,
            failure=next((f for f in failures if f), ""),
        )

    def _needs(self, definition: IndexDefinition, segment: Segment) -> bool:
        return needs_index(definition, segment, self._policy.min_rows)

    def _follow_manifests(self) -> None:
        missed = False
        while not self._stopping:
            try:
                if missed:
                    self._watch = self._watch_manifests()
                    self._plan_all(self._catalog.collections())
                    missed = False
                    continue  # lest it was stopped between the old watch and the new one
                for events in self._watch:
                    changed = {int(e.key.removeprefix(keys.MANIFESTS)) for e in events if e.value is not None}
                    everything = self._catalog.collections()
                    self._plan_all([k for k in everything if any(c.id in changed for c in k.channels)])
                return
            except ElanusError as error:
                log.warning("changes of manifests were missed, all are looked at: %s", error)
                missed = True
                with self._changed:
                    self._changed.wait(self._policy.retry_seconds)

    def _watch_manifests(self) -> Watch:
        return self._meta.watch(keys.MANIFESTS, self._meta.range(keys.MANIFESTS)[1] + 1)

    def look(self, collection_id: int) -> None:
        """Something may be missing an index that was not to get one before."""
        collection = self._catalog.collection(collection_id)
        if collection is None or self._stopping:
            return
        try:
            self._plan_all([collection])
        except ElanusError as error:
            log.warning("collection %d is looked at when it next changes: %s", collection_id, error)

    def _plan_all(self, collections: list[Collection]) -> None:
        for collection in collections:
            self._plan(collection)
        with self._changed:
            self._changed.notify_all()

    def _plan(self, collection: Collection) -> None:
        """Submits every build that is missing and not under way."""
        if collection.dropping:
            return
        definitions = self._catalog.indexes(collection.id)
        for channel in collection.channels:
            manifest = self._manifests.read(channel)
            if self._settled(collection.id, manifest) is not manifest:
                self._settle(collection.id, channel)
            self._offer(collection, channel, definitions, manifest)
            for segment in manifest.segments:
                for definition in definitions:
                    if self._needs(definition, segment) and not self._is_merging(channel, segment):
                        self._submit(collection, channel, segment, definition)

    def _offer(
        self,
        collection: Collection,
        channel: Channel,
        definitions: list[IndexDefinition],
        manifest: Manifest,
    ) -> None:
        """Segments that have no index and whose turn has not come are merged before they get one."""
        with self._changed:
            started = {name for name, _ in self._started}
        bare = [
            s
            for s in manifest.segments
            if not s.replaces
            and not s.indexes
            and s.name not in started
            and any(self._needs(d, s) for d in definitions)
        ]
        merging = self._merge(collection, channel, bare) if bare else frozenset()
        with self._changed:
            if merging:
                self._merging[channel.id] = merging
            else:
                self._merging.pop(channel.id, None)

    def _is_merging(self, channel: Channel, segment: Segment) -> bool:
        return segment.name in self._merging.get(channel.id, ())

    def _settle(self, collection_id: int, channel: Channel) -> None:
        """An index was dropped, which compacted segments may have waited for."""
        key, revision = begin_job(self._term, NAME, self._ids.take(), collection_id)
        try:
            self._manifests.edit(
                channel, edit_id(key, NAME), {key: revision}, lambda m: self._settled(collection_id, m)
            )
        finally:
            self._term.txn([], {}, [key])

    def _submit(
        self, collection: Collection, channel: Channel, segment: Segment, definition: IndexDefinition
    ) -> None:
        key = (segment.name, definition.id)
        with self._changed:
            if key in self._building or key in self._failures or self._stopping:
                return
            self._building.add(key)
        task = IndexTask(
            job_id=self._ids.take(),
            collection_id=collection.id,
            schema=collection.schema,
            channel=channel,
            segment=segment,
            definition=definition,
        )
        self._pool.submit(self._build, task)

    def _build(self, task: IndexTask) -> None:
        key = (task.segment.name, task.definition.id)
        try:
            for attempt in range(1, self._policy.attempts + 1):
                if self._stopping or not self._wanted(task) or self._is_merging(task.channel, task.segment):
                    return
                with self._changed:
                    self._started.add(key)
                try:
                    self._run(task)
                    return
                except ConflictError as error:
                    log.info("index job %d is not needed any more: %s", task.job_id, error)
                    return
                except Exception as error:  # a job must not take its thread along: the failure is shown
                    log.exception("index job %d failed, attempt %d", task.job_id, attempt)
                    if attempt == self._policy.attempts:
                        self._failures[key] = f"{type(error).__name__}: {error}"
                    else:
                        time.sleep(self._policy.retry_seconds)
        finally:
            with self._changed:
                self._building.discard(key)
                self._started.discard(key)
                self._changed.notify_all()

    def _wanted(self, task: IndexTask) -> bool:
        there = self._catalog.indexes(task.collection_id)
        return any(d.id == task.definition.id for d in there)

    def _run(self, task: IndexTask) -> None:
        # Each attempt is a job of its own: garbage collection takes what another one left.
        task = msgspec.structs.replace(task, job_id=self._ids.take())
        key, revision = begin_job(self._term, NAME, task.job_id, task.collection_id)
        try:
            file = self._node.build(task)

            def change(manifest: Manifest) -> Manifest:
                return self._settled(task.collection_id, _with_index(manifest, task, file))

            self._manifests.edit(task.channel, edit_id(key, NAME), {key: revision}, change)
        finally:
            self._term.txn([], {}, [key])

    def _settled(self, collection_id: int, manifest: Manifest) -> Manifest:
        """Compacted segments that have all their indexes replace their inputs (rule 6); files of indexes that
        were dropped are no longer named. The same object where there is nothing to do."""
        definitions = self._catalog.indexes(collection_id)
        live = frozenset(d.id for d in definitions)
        if any(i.index_id not in live for s in manifest.segments for i in s.indexes):
            segments = tuple(_with_live(s, live) for s in manifest.segments)
            manifest = msgspec.structs.replace(manifest, segments=segments)
        return replace_inputs(manifest, lambda s: not any(self._needs(d, s) for d in definitions))

    def _collection(self, collection_id: int) -> Collection:
        collection = self._catalog.collection(collection_id)
        if collection is None or collection.dropping:
            raise CollectionNotFound(f"collection {collection_id} does not exist")
        return collection


def _path(definition: IndexDefinition) -> object:
    """A JSON field may have an index on each of its paths."""
    return definition.params.get(JSON_PATH)


def needs_index(definition: IndexDefinition, segment: Segment, min_rows: int) -> bool:
    """Whether the segment lacks a file of this index. Small segments, and FLAT, do without."""
    return (
        has_file(definition.type)
        and segment.rows >= min_rows
        and not any(i.index_id == definition.id for i in segment.indexes)
    )


def _with_index(manifest: Manifest, task: IndexTask, file: IndexFile) -> Manifest:
    """Precondition of an index edit: the segment is present (rule 8). A second build replaces the first."""
    if not any(s.name == task.segment.name for s in manifest.segments):
        raise ConflictError(f"segment {task.segment.name} is not in the manifest any more")
    return msgspec.structs.replace(
        manifest,
        segments=tuple(
            msgspec.structs.replace(s, indexes=_replaced(s.indexes, file))
            if s.name == task.segment.name
            else s
            for s in manifest.segments
        ),
    )


def _with_live(segment: Segment, live: frozenset[int]) -> Segment:
    return msgspec.structs.replace(segment, indexes=tuple(i for i in segment.indexes if i.index_id in live))


def _replaced(files: tuple[IndexFile, ...], file: IndexFile) -> tuple[IndexFile, ...]:
    return (*(f for f in files if f.index_id != file.index_id), file)
