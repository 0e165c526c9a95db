"""The query node: loads views, follows their channels, answers reads."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.engine import search as engine
from elanus.engine.deletes import Deletes, read_delete_file
from elanus.engine.filter_cache import FilterCache
from elanus.engine.grouping import grouped
from elanus.engine.paging import page
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import Hits
from elanus.expr import Plan, parse
from elanus.model.columns import arrow_type
from elanus.model.errors import CollectionNotFound, DeadlineExceeded, InvalidParameter, ViewGone
from elanus.model.hashing import partition_of
from elanus.model.nouns import Collection, IndexFile, Segment, View
from elanus.model.types import Metric
from elanus.roles.query import (
    Count,
    CountCall,
    QueryCall,
    QueryHits,
    ReadCall,
    SearchCall,
    SearchHits,
    Target,
)
from elanus.storage.catalog import Catalog
from elanus.storage.objects import ObjectStore
from elanus.workers.batching import Batches, BatchLimits
from elanus.workers.channel_serving import ChannelServing, ServedView
from elanus.workers.column_cache import ColumnCache
from elanus.workers.light_indexing import LightIndexing, LightLimits
from elanus.workers.tail import Tails

log = logging.getLogger(__name__)


class QueryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of a query node."""

    load_threads: int
    plan_cache: int
    filter_bytes: int
    """What filters matched in sealed segments, kept for the next read with the same filter."""
    delete_batch_keys: int
    growing_block_rows: int
    growing_block_bytes: int
    batches: BatchLimits
    light: LightLimits
    wait_seconds: float
    """The longest a read waits for the log, where its caller has no deadline."""


@dataclass(frozen=True)
class _Pinned:
    """The parts of all targets of a read, and which target each reader belongs to."""

    readers: list[Reader]
    targets: list[int]
    read_ts: tuple[int, ...]
    collection: Collection
    plan: Plan | None


class LocalQueryNode:
    """One query node in this process: `roles.QueryNode`."""

    def __init__(
        self,
        node_id: int,
        *,
        objects: ObjectStore,
        catalog: Catalog,
        tails: Tails,
        columns: ColumnCache,
        limits: QueryLimits,
    ) -> None:
        self.node_id = node_id
        self._objects = objects
        self._catalog = catalog
        self._tails = tails
        self._columns = columns
        self._limits = limits
        self._channels: dict[int, ChannelServing] = {}
        self._batches = Batches(limits.batches)
        self._light = LightIndexing(limits.light)
        self._lock = threading.Lock()
        self._preparing = threading.Lock()
        self._filters = FilterCache(limits.filter_bytes)
        self._plans: OrderedDict[tuple[int, int, str], Plan] = OrderedDict()
        self._pool = ThreadPoolExecutor(limits.load_threads, thread_name_prefix="load")

    def stop(self) -> None:
        self._light.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for serving in self._channels.values():
            serving.close()

    # views

    def prepare(self, views: list[View]) -> None:
        with self._preparing:
            here = [self._begin(view) for view in views]
            added = 0
            try:
                loaded = list(self._pool.map(self._load, views, here))
                self._follow(views)
                for view, segments in zip(views, loaded, strict=True):
                    self._channels[view.channel_id].add(view, segments)
                    added += 1
            except BaseException:
                for view in views[:added]:
                    self._channels[view.channel_id].drop(view.name)
                raise
            finally:
                for view in views[added:]:
                    if view.channel_id in self._channels:
                        self._channels[view.channel_id].cancel(view.name)
                self._leave_idle()

    def drop(self, views: list[str]) -> None:
        names = set(views)
        with self._preparing:
            for serving in list(self._channels.values()):
                for name in names & serving.views.keys():
                    serving.drop(name)
            self._leave_idle()

    def _leave_idle(self) -> None:
        """Follows no channel that has no view left. Called with `_preparing` held."""
        for channel_id, serving in list(self._channels.items()):
            if serving.idle:
                self._tails[serving.view.log].unfollow(channel_id, serving)
                with self._lock:
                    self._channels.pop(channel_id, None)

    def _begin(self, view: View) -> dict[str, SealedSegment]:
        serving = self._channels.get(view.channel_id)
        return serving.begin(view) if serving else {}

    def _follow(self, views: Sequence[View]) -> None:
        fresh: dict[int, View] = {}
        for view in sorted(views, key=lambda v: v.start):
            if view.channel_id not in self._channels:
                fresh.setdefault(view.channel_id, view)
        made = {channel_id: self._serving(view) for channel_id, view in fresh.items()}
        try:
            for name in {v.log for v in fresh.values()}:
                self._tails[name].follow([(i, v.start, made[i]) for i, v in fresh.items() if v.log == name])
        except BaseException:
            for channel_id, view in fresh.items():
                self._tails[view.log].unfollow(channel_id, made[channel_id])
            raise
        with self._lock:
            self._channels.update(made)

    def _serving(self, view: View) -> ChannelServing:
        return ChannelServing(
            view,
            self._collection(view.collection_id).schema,
            lambda version: self._catalog.schema(view.collection_id, version, self._limits.wait_seconds),
            self._limits.delete_batch_keys,
            self._limits.growing_block_rows,
            self._limits.growing_block_bytes,
        )

    def _load(self, view: View, here: dict[str, SealedSegment]) -> dict[str, SealedSegment]:
        """The view's segments on this node that are not here yet; those that are get their new indexes."""
        schema = self._collection(view.collection_id).schema
        loaded: dict[str, SealedSegment] = {}
        deletes: Deletes | None = None
        for placed in view.placement:
            if placed.node != self.node_id:
                continue
            segment = here.get(placed.segment.name)
            if segment is None:
                segment = SealedSegment.open(
                    placed.segment, schema, self._opener(placed.segment), self._columns, self._filters
                )
                deletes = deletes or self._deletes(view)
                self._hide_deleted(segment, view, deletes)
                loaded[placed.segment.name] = segment
            for index in placed.segment.indexes:
                self._attach(segment, index)
        return loaded

    def _deletes(self, view: View) -> Deletes | None:
        tables = []
        for file in view.delete_files:
            with self._objects.open_local(file.path) as local:
                tables.append(read_delete_file(local.path))
        return Deletes.concat(tables) if tables else None

    def _hide_deleted(self, segment: SealedSegment, view: View, deletes: Deletes | None) -> None:
        """Rule 9, first half: all deletes of the manifest that are above the segment's minimum."""
        if deletes is not None and deletes.max_ts > segment.meta.min_ts:
            segment.apply(deletes)
        for hidden in view.range_deletes:
            segment.apply_range(hidden)

    def _attach(self, segment: SealedSegment, index: IndexFile) -> None:
        if any(there.index_id == index.index_id for there in segment.attached):
            return
        file = self._objects.open_local(index.path)
        segment.attach_index(index, file.path)

    def _opener(self, segment: Segment) -> Callable[[str], Path]:
        return lambda name: self._objects.open_local(f"{segment.prefix}/{name}").path

    def growing(self, view: str, channel_id: int) -> tuple[int, int]:
        serving = self._channels.get(channel_id)
        if serving is None:
            raise ViewGone(f"channel {channel_id} is not on this node any more")
        with serving.pin(view) as served:
            tail = self._tails[served.view.log]
            reader = serving.growing.reader(tail.position.ts, served.view.manifest.floor_ts)
            return reader.rows, serving.growing.bytes

    # reads

    def read_ts(self, call: ReadCall) -> tuple[int, ...]:
        with self._pin(call) as pinned:
            return pinned.read_ts

    def search(self, call: SearchCall, queries: npt.NDArray[np.float32]) -> SearchHits:
        return self._batches.search(call, queries, lambda all_of_them: self._search(call, all_of_them))

    def _search(self, call: SearchCall, queries: npt.NDArray[np.float32]) -> SearchHits:
        light = self._light.allows(call)
        with self._pin(call, call.field_id if light else None) as pinned:
            hits, groups = self._hits(call, queries, pinned)
            if light:
                field = pinned.collection.schema.by_id[call.field_id]
                self._light.searched(pinned.readers, field, Metric(call.metric), len(queries))
            rows = engine.fetch(pinned.readers, hits.ordinals, hits.rows, call.fields)
        return SearchHits(
            counts=hits.counts,
            scores=hits.scores,
            keys=hits.keys,
            rows=rows,
            read_ts=pinned.read_ts,
            groups=groups,
        )

    def _hits(
        self, call: SearchCall, queries: npt.NDArray[np.float32], pinned: _Pinned
    ) -> tuple[Hits, pa.Array | None]:
        """Hits, and the values they were grouped by."""
        readers, schema = pinned.readers, pinned.collection.schema
        field, metric = schema.by_id[call.field_id], Metric(call.metric)
        plan = pinned.plan
        if call.iterator:
            return page(readers, field, queries, call.k, metric, call.params, plan, call.beyond), None
        group = call.group
        if group is None:
            return engine.search(readers, field, queries, call.k, metric, call.params, plan), None
        grouped_by = schema.by_id[group.field_id]
        hits = grouped(
            readers, field, queries, call.k, metric, call.params, plan, grouped_by, group.size, group.strict
        )
        return hits, engine.fetch(readers, hits.ordinals, hits.rows, [group.field_id]).column(0)

    def query(self, call: QueryCall) -> QueryHits:
        with self._pin(call) as pinned:
            found = engine.query(pinned.readers, pinned.plan, call.limit)
            rows = engine.fetch(pinned.readers, found.ordinals, found.rows, call.fields)
        channels = np.array(pinned.targets, np.int32)[found.ordinals]
        return QueryHits(keys=found.keys, channels=channels, rows=rows, read_ts=pinned.read_ts)

    def count(self, call: CountCall) -> Count:
        with self._pin(call) as pinned:
            rows = engine.count(pinned.readers, pinned.plan)
        return Count(rows=rows, read_ts=pinned.read_ts)

    @contextmanager
    def _pin(self, call: ReadCall, light: int | None = None) -> Iterator[_Pinned]:
        """`light`: a field of vectors that may be searched by its light indexes."""
        collection = self._collection(call.collection_id)
        if collection.schema.version < call.schema_version:
            self._catalog.schema(collection.id, call.schema_version, self._limits.wait_seconds)
            collection = self._collection(call.collection_id)
        plan = self._plan(call, collection)
        partitions = _partitions(call, collection, plan)
        pins: list[tuple[ChannelServing, ServedView]] = []
        try:
            readers: list[Reader] = []
            targets: list[int] = []
            read_ts: list[int] = []
            for number, target in enumerate(call.targets):
                serving = self._channels.get(target.channel_id)
                if serving is None:
                    raise ViewGone(f"channel {target.channel_id} is not on this node any more")
                served = serving.hold(target.view)
                pins.append((serving, served))
                serving.alter(collection.schema)
                applied = self._wait(served.view, target, call.deadline_ms)
                at = call.at_ts or applied
                if at > applied:
                    raise InvalidParameter(
                        f"a read at timestamp {at} is ahead of log {served.view.log}, which is at {applied}: "
                        "it is not the timestamp of an iterator's first page; start the iterator again"
                    )
                growing = not call.ignore_growing
                found = serving.readers(served, at, partitions, growing, call.expired_below, light)
                readers += found
                targets += [number] * len(found)
                read_ts.append(at)
            yield _Pinned(readers, targets, tuple(read_ts), collection, plan)
        finally:
            # The last reader of a channel's last view closes the door, unless somebody is at it who will.
            idle = [serving for serving, served in pins if serving.release(served)]
            if idle:
                self._close_idle()

    def _close_idle(self) -> None:
        if self._preparing.acquire(blocking=False):
            try:
                self._leave_idle()
            finally:
                self._preparing.release()

    def _wait(self, view: View, target: Target, deadline_ms: int) -> int:
        """The timestamp to read at: that of the last record this node has applied, once that suffices.

        Never below the view's floor (rule 2). Raises NotReady where the log is not followed any more.
        """
        tail = self._tails[view.log]
        floor = view.manifest.floor_offset
        timeout = self._limits.wait_seconds
        if deadline_ms:
            timeout = min(timeout, deadline_ms / 1000 - time.time())
            if timeout <= 0:
                raise DeadlineExceeded("the caller's deadline has passed before the read began")
        if target.cut is not None:
            return tail.wait(max(target.cut, floor), timeout).ts
        if target.staleness_ms is not None:
            tail.fresh(target.staleness_ms / 1000, timeout)
        return tail.wait(floor, timeout).ts

    def _plan(self, call: ReadCall, collection: Collection) -> Plan | None:
        if not call.expression:
            return None
        if call.templates:
            return parse(call.expression, collection.schema, call.templates)
        key = (collection.id, collection.schema.version, call.expression)
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
                return plan
        plan = parse(call.expression, collection.schema)
        with self._lock:
            self._plans[key] = plan
            while len(self._plans) > self._limits.plan_cache:
                self._plans.popitem(last=False)
        return plan

    def _collection(self, collection_id: int) -> Collection:
        collection = self._catalog.collection(collection_id)
        if collection is None:
            raise CollectionNotFound(f"collection {collection_id} does not exist any more")
        return collection


def _partitions(call: ReadCall, collection: Collection, plan: Plan | None) -> frozenset[int] | None:
    """The partitions to read; None: all. A filter that names values of the partition key names partitions."""
    asked = None if call.partitions is None else frozenset(call.partitions)
    key = collection.schema.partition_key
    values = None if key is None or plan is None else plan.values_of(key.id)
    if key is None or values is None:
        return asked
    ordinals = partition_of(pa.array(list(values), arrow_type(key)), len(collection.partitions))
    here = frozenset(collection.partitions[i].id for i in np.unique(ordinals))
    return here if asked is None else here & asked
