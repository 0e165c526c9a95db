"""The query coordinator: which replica serves which view on which nodes."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from elanus.coordinators.term import Term
from elanus.coordinators.views import Planned, Views, pointer_to
from elanus.model.errors import CollectionNotFound, ElanusError, ViewGone
from elanus.model.nouns import (
    Collection,
    LoadIntent,
    View,
    ViewPointer,
    ViewSegment,
)
from elanus.roles.query import QueryNode, ServedSegment
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.manifests import Manifests
from elanus.storage.meta import Absent, Compare, MetaStore, Watch
from elanus.storage.objects import ObjectStore

log = logging.getLogger(__name__)


class ViewPolicy(msgspec.Struct, frozen=True, kw_only=True):
    grace_seconds: float
    """How long nodes keep a view that has been replaced."""
    retry_seconds: float
    refresh_offsets: int
    """A view whose start lies this far below the log's mark is made anew, so that the log can be trimmed."""
    batch: int
    """Views prepared at once."""


class LocalQueryCoordinator:
    """`roles.QueryCoordinator` in this process. One thread prepares and switches views."""

    def __init__(
        self,
        term: Term,
        *,
        meta: MetaStore,
        objects: ObjectStore,
        catalog: Catalog,
        manifests: Manifests,
        nodes: Mapping[int, QueryNode],
        policy: ViewPolicy,
    ) -> None:
        self._term = term
        self._meta = meta
        self._views = Views(
            meta=meta,
            objects=objects,
            catalog=catalog,
            manifests=manifests,
            node=min(nodes),
            refresh_offsets=policy.refresh_offsets,
        )
        self._catalog = catalog
        self._manifests = manifests
        self._nodes = nodes
        self._policy = policy
        self._changed = threading.Condition()
        self._intents = threading.Lock()
        """Held while load intents and views change in the meta store, and `_served` with them."""
        self._dirty: set[int] = set()
        self._served: dict[tuple[int, int], ViewPointer] = {}
        """(channel, replica): the view that this process has seen its nodes prepare."""
        self._failures: dict[int, str] = {}
        self._retired: list[tuple[float, ViewPointer]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="views", daemon=True)
        self._follower = threading.Thread(target=self._follow_manifests, name="view-changes", daemon=True)

    def start(self) -> None:
        self._watch = self._watch_manifests()
        self._dirty = {intent.collection_id for intent in self._catalog.loads()}
        self._thread.start()
        self._follower.start()

    def stop(self) -> None:
        self._stopping = True
        with self._changed:
            self._changed.notify_all()
        if self._thread.is_alive():
            self._watch.close()
            self._thread.join()
            self._follower.join()

    # what proxies ask

    def load(
        self, collection_id: int, partitions: list[int], replicas: int, fields: list[int], wait_seconds: float
    ) -> None:
        with self._intents:
            collection = self._collection(collection_id)
            self._intend(collection_id, partitions, replicas, fields)
        with self._changed:
            self._failures.pop(collection_id, None)
        self._touch([collection_id])
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            while self._progress(collection) < 100 and collection_id not in self._failures:
                left = deadline - time.monotonic()
                if left <= 0 or self._stopping:
                    return
                self._changed.wait(left)

    def _intend(self, collection_id: int, partitions: list[int], replicas: int, fields: list[int]) -> None:
        """The collection may be dropped at this moment: its release comes after, and takes this away."""
        old = self._catalog.load(collection_id)
        wanted = set(partitions) | set(old.partitions if old else ())
        intent = LoadIntent(
            collection_id=collection_id,
            partitions=tuple(sorted(wanted)),
            whole_collection=not partitions or (old is not None and old.whole_collection),
            replicas=replicas,
            fields=tuple(fields),
            requested_ms=int(time.time() * 1000),
        )
        if old is None or msgspec.structs.replace(old, requested_ms=intent.requested_ms) != intent:
            self._term.txn([], {keys.load(collection_id): codec.encode(intent)})

    def release(self, collection_id: int, partitions: list[int]) -> None:
        with self._intents:
            intent = self._catalog.load(collection_id)
            if intent is None:
                return
            left = self._left(intent, partitions)
            if left:
                kept = msgspec.structs.replace(intent, partitions=left, whole_collection=False)
                self._term.txn([], {keys.load(collection_id): codec.encode(kept)})
                return
            views = self._catalog.views(collection_id)
            doomed = [keys.view(collection_id, v.channel_id, v.replica) for v in views]
            self._term.txn([], {}, [keys.load(collection_id), *doomed])
            with self._changed:
                for view in views:
                    self._served.pop((view.channel_id, view.replica), None)
                self._failures.pop(collection_id, None)
        self._drop(views)

    def _left(self, intent: LoadIntent, partitions: list[int]) -> tuple[int, ...]:
        """The partitions still loaded after a release of some; () where that is none."""
        if not partitions:
            return ()
        loaded = intent.partitions
        if intent.whole_collection:
            loaded = tuple(p.id for p in self._collection(intent.collection_id).partitions)
        return tuple(p for p in loaded if p not in partitions)

    def progress(self, collection_id: int) -> int:
        collection = self._collection(collection_id)
        with self._changed:
            return self._progress(collection)

    def _progress(self, collection: Collection) -> int:
        served = sum((c.id, 0) in self._served for c in collection.channels)
        return 100 * served // len(collection.channels)

    def segments(self, collection_id: int) -> list[ServedSegment]:
        found = []
        for pointer in self._catalog.views(collection_id):
            view = self._views.stored(pointer)
            if view is not None:
                found += [_served(placed) for placed in view.placement]
                found += self._growing(view)
        return found

    def _growing(self, view: View) -> list[ServedSegment]:
        try:
            rows, size = self._nodes[view.growing_node].growing(view.name, view.channel_id)
        except ViewGone:
            return []
        return [
            ServedSegment(
                id=view.channel_id,
                rows=rows,
                bytes=size,
                nodes=(view.growing_node,),
                growing=True,
            )
        ]

    def failure(self, collection_id: int) -> str:
        return self._failures.get(collection_id, "")

    # views

    def _touch(self, collection_ids: Sequence[int]) -> None:
        with self._changed:
            self._dirty.update(collection_ids)
            self._changed.notify_all()

    def _follow_manifests(self) -> None:
        missed = False
        while not self._stopping:
            try:
                if missed:
                    self._watch = self._watch_manifests()
                    self._touch([intent.collection_id for intent in self._catalog.loads()])
                    missed = False
                    continue  # lest it was stopped between the old watch and the new one
                for events in self._watch:
                    self._touch(self._loaded({int(e.key.removeprefix(keys.MANIFESTS)) for e in events}))
                return
            except ElanusError as error:
                log.warning("changes of manifests were missed, all views are looked at: %s", error)
                missed = True
                with self._changed:
                    self._changed.wait(self._policy.retry_seconds)

    def _watch_manifests(self) -> Watch:
        return self._meta.watch(keys.MANIFESTS, self._meta.range(keys.MANIFESTS)[1] + 1)

    def _loaded(self, channel_ids: set[int]) -> list[int]:
        found = [self._catalog.collection(i.collection_id) for i in self._catalog.loads()]
        return [c.id for c in found if c and any(ch.id in channel_ids for ch in c.channels)]

    def _run(self) -> None:
        while not self._stopping:
            with self._changed:
                if not self._dirty:
                    self._changed.wait(self._policy.retry_seconds)
                batch = sorted(self._dirty)[: self._policy.batch]
                self._dirty.difference_update(batch)
            try:
                self._refresh(batch)
                self._drop_retired()
                self._renew_old_starts()
            except ElanusError as error:
                self._failed(batch, error)
            except Exception as error:  # the thread must live on: the failure is shown to whoever waits
                log.exception("views of %s could not be prepared", batch)
                self._failed(batch, error)

    def _failed(self, batch: list[int], error: Exception) -> None:
        if self._stopping:
            return
        log.error(
            "views of collections %s are not ready, again in %s s: %s",
            batch,
            self._policy.retry_seconds,
            error,
        )
        with self._changed:
            self._failures.update(dict.fromkeys(batch, f"{type(error).__name__}: {error}"))
            self._changed.notify_all()
            self._changed.wait(self._policy.retry_seconds)
            if len(batch) == 1:
                self._dirty.update(batch)
        if len(batch) > 1:  # one bad collection must not hold up the others
            for collection_id in batch:
                try:
                    self._refresh([collection_id])
                except Exception as single:  # noqa: BLE001  # as above
                    self._failures[collection_id] = f"{type(single).__name__}: {single}"
                    self._touch([collection_id])

    def _refresh(self, collection_ids: Sequence[int]) -> None:
        planned = [p for c in collection_ids for p in self._views.plan(c, self._served)]
        switched = 0
        try:
            for node_id, node in self._nodes.items():
                views = [p.view for p in planned if node_id in p.view.nodes]
                if views:
                    node.prepare(views)
            for plan in planned:
                self._switch(plan)
                switched += 1
        except BaseException:
            # Its next attempt has other names: these would stay on their nodes for ever.
            self._drop([pointer_to(p.view) for p in planned[switched:]])
            raise
        with self._changed:
            for collection_id in collection_ids:
                self._failures.pop(collection_id, None)
            self._changed.notify_all()

    def _switch(self, planned: Planned) -> None:
        """Moves the pointer if nobody else has; the replaced view is dropped after the grace time."""
        view = planned.view
        key = keys.view(view.collection_id, view.channel_id, view.replica)
        load = keys.load(view.collection_id)
        pointer = pointer_to(view)
        compares: list[Compare | Absent] = [
            Compare(key, planned.old_revision) if planned.old else Absent(key),
            Compare(load, self._catalog.revision_of(load)),
        ]
        puts = {} if planned.kept else {key: codec.encode(pointer)}
        with self._intents:
            switched = self._term.txn(compares, puts) is not None
            if switched:
                self._serve(pointer)
        if not switched:
            self._drop([pointer])
            self._touch([view.collection_id])

    def _serve(self, pointer: ViewPointer) -> None:
        with self._changed:
            before = self._served.get((pointer.channel_id, pointer.replica))
            self._served[pointer.channel_id, pointer.replica] = pointer
            if before is not None:
                self._retired.append((time.monotonic() + self._policy.grace_seconds, before))
            self._changed.notify_all()

    def _drop_retired(self) -> None:
        now = time.monotonic()
        due = [v for at, v in self._retired if at <= now]
        self._retired = [(at, v) for at, v in self._retired if at > now]
        self._drop(due)

    def _renew_old_starts(self) -> None:
        for view in list(self._served.values()):
            if self._manifests.mark(view.log).offset - view.start_offset >= self._policy.refresh_offsets:
                for intent in self._catalog.loads():
                    if any(v.name == view.name for v in self._catalog.views(intent.collection_id)):
                        self._dirty.add(intent.collection_id)

    def _drop(self, views: Sequence[ViewPointer]) -> None:
        for node_id, node in self._nodes.items():
            names = [v.name for v in views if node_id in v.nodes]
            if names:
                node.drop(names)

    def _collection(self, collection_id: int) -> Collection:
        collection = self._catalog.collection(collection_id)
        if collection is None or collection.dropping:
            raise CollectionNotFound(f"collection {collection_id} does not exist")
        return collection


def _served(placed: ViewSegment) -> ServedSegment:
    segment = placed.segment
    return ServedSegment(
        id=int(segment.name),
        rows=segment.rows,
        bytes=segment.bytes + sum(i.bytes for i in segment.indexes),
        nodes=(placed.node,),
        partitions=tuple(p.partition_id for p in segment.partitions),
        indexes=tuple(i.index_id for i in segment.indexes),
    )
