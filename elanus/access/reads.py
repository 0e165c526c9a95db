"""The read path: cuts, scatter to the nodes of the views, output fields (architecture, 4; rules 2, 3, 5)."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elanus.access import calls
from elanus.access import requests as q
from elanus.access.snapshots import Output, Snapshot, Snapshots
from elanus.access.validation.searches import check_vectors, vector_field
from elanus.model.codes import Code
from elanus.model.columns import arrow_type, as_floats, as_matrix
from elanus.model.errors import ElanusError, InvalidParameter, Unimplemented, ViewGone
from elanus.model.index_parameters import check_search
from elanus.model.nouns import Collection, ViewPointer
from elanus.model.records import Header, Kind, encode
from elanus.model.schema import Field, Schema
from elanus.model.timestamps import SHIFT
from elanus.model.types import ConsistencyLevel, DataType, Metric
from elanus.roles.query import (
    CountCall,
    GroupBy,
    QueryCall,
    QueryHits,
    QueryNode,
    ReadCall,
    SearchCall,
    SearchHits,
    Target,
)
from elanus.storage.log import LogBroker

COUNT = "count(*)"
_STRONG = (ConsistencyLevel.STRONG, ConsistencyLevel.SESSION, ConsistencyLevel.CUSTOMIZED)
_GROUPED_BY = frozenset(
    {
        DataType.BOOL,
        DataType.INT8,
        DataType.INT16,
        DataType.INT32,
        DataType.INT64,
        DataType.VARCHAR,
    }
)

_COUNTER = (1 << SHIFT) - 1

Counts = npt.NDArray[np.int64]
T = TypeVar("T")


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True):
    graceful_ms: int
    """Bounded: how long ago a node may have known itself at the log's end."""
    view_seconds: float
    """How long a read waits for a view that is being prepared or has just been replaced."""
    view_retry_seconds: float


@dataclass(frozen=True)
class Reader:
    """Searches and queries of a proxy."""

    snapshots: Snapshots
    broker: LogBroker
    nodes: Mapping[int, QueryNode]
    limits: ReadLimits

    # reads

    def search(self, request: q.Search) -> q.SearchResult:
        now = self.snapshots.of(request.database, request.collection)
        schema = now.schema
        field = vector_field(schema, request.field)
        index = now.index(field)
        if request.ids is not None:
            request = self._with_vectors(now, request, field)
        check_vectors(request, field, index.metric)
        output = now.output(request.output_fields, with_key=False)
        assert index.metric is not None, "a vector index has a metric"
        k = request.limit + request.offset
        page = request.page
        call = SearchCall(
            **self._shared(now, request, output.fields),
            field_id=field.id,
            k=k,
            metric=str(index.metric),
            params=check_search(index.type, request.params, k, index.metric),
            iterator=request.iterator,
            beyond=None if page is None else page.last_bound,
            group=self._group(schema, request),
        )
        hits = self._ask(now, request, call, lambda node, c: node.search(c, request.queries))
        return _page(hits, request, schema, output, index.metric)

    def query(self, request: q.Query) -> q.QueryResult:
        now = self.snapshots.of(request.database, request.collection)
        schema = now.schema
        if tuple(n.strip().lower() for n in request.output_fields) == (COUNT,):
            return self._count(now, request)
        if request.limit is None and not request.expression.strip():
            raise InvalidParameter(
                "empty expression should be used with limit: a query without a filter needs a limit"
            )
        output = now.output(request.output_fields, with_key=True)
        hits = self._rows(now, request, output.fields)
        rows = _named(hits.rows.slice(request.offset), schema)
        return q.QueryResult(
            rows=q.Rows(names=output.names, columns=rows, schema=schema, dynamic=output.dynamic),
            ts=max(hits.read_ts, default=0),
        )

    def keys(self, request: q.Query) -> tuple[Collection, QueryHits]:
        """Only the primary keys, and which of the collection's channels each came from."""
        now = self.snapshots.of(request.database, request.collection)
        return now.collection, self._rows(now, request, ())

    def _rows(self, now: Snapshot, request: q.Query, fields: tuple[int, ...]) -> QueryHits:
        limit = None if request.limit is None else request.limit + request.offset
        call = QueryCall(**self._shared(now, request, fields), limit=limit)
        return self._ask(now, request, call, lambda node, c: node.query(c))

    def _count(self, now: Snapshot, request: q.Query) -> q.QueryResult:
        if request.limit is not None:
            raise InvalidParameter(
                "count entities with pagination is not allowed: leave out limit and offset"
            )
        call = CountCall(**self._shared(now, request, ()))
        count = self._ask(now, request, call, lambda node, c: node.count(c))
        columns = pa.RecordBatch.from_arrays([pa.array([count.rows], pa.int64())], names=[COUNT])
        rows = q.Rows(names=(COUNT,), columns=columns, schema=now.schema)
        return q.QueryResult(rows=rows, ts=max(count.read_ts, default=0))

    def _group(self, schema: Schema, request: q.Search) -> GroupBy | None:
        """Raises InvalidParameter, Unimplemented."""
        asked = request.group
        if asked is None:
            return None
        if request.iterator:
            raise InvalidParameter("a search iterator cannot group by a field; leave out group_by_field")
        field = schema.field(asked.field)
        if field.type not in _GROUPED_BY:
            allowed = ", ".join(sorted(t.name for t in _GROUPED_BY))
            raise InvalidParameter(
                f"group_by_field {field.name!r} is {field.type.name}; it must be one of {allowed}"
            )
        return GroupBy(field_id=field.id, size=asked.size, strict=asked.strict)

    def _with_vectors(self, now: Snapshot, request: q.Search, field: Field) -> q.Search:
        """The vectors of the rows that the search names by their keys. Raises InvalidParameter."""
        assert request.ids is not None, "a search has vectors or keys"
        primary = now.schema.primary
        if pa.types.is_integer(request.ids.type) != pa.types.is_integer(arrow_type(primary)):
            raise InvalidParameter(
                f"ids are {request.ids.type}; the primary key {primary.name!r} is {primary.type.name}"
            )
        keys = request.ids.to_pylist()
        found = self._rows(
            now,
            q.Query(
                database=request.database,
                collection=request.collection,
                partitions=request.partitions,
                expression=f"{primary.name} in {{keys}}",
                templates={"keys": keys},
                consistency_level=request.consistency_level,
                at_ts=request.at_ts,
                ignore_growing=request.ignore_growing,
            ),
            (field.id,),
        )
        place = {key: row for row, key in enumerate(found.keys.to_pylist())}
        missing = [key for key in keys if key not in place]
        if missing:
            raise InvalidParameter(
                f"ids {missing[:10]} are not in collection {now.collection.name!r} "
                "(in the partitions that are searched)"
            )
        column = found.rows.column(0).take(pa.array([place[key] for key in keys]))
        if column.null_count:
            empty = [key for key, there in zip(keys, column.is_valid().to_pylist(), strict=True) if not there]
            raise InvalidParameter(f"the rows with ids {empty[:10]} have no vector in field {field.name!r}")
        vectors = as_matrix(column, field.type)
        if field.type is not DataType.BINARY_VECTOR:
            vectors = as_floats(vectors, field.type)
        return dataclasses.replace(request, queries=vectors, query_type=field.type, ids=None)

    # the call and its nodes

    def _shared(self, now: Snapshot, request: q.Read, fields: tuple[int, ...]) -> dict[str, Any]:
        call = calls.current()
        remaining = call.remaining() if call else None
        return {
            "collection_id": now.collection.id,
            "schema_version": now.schema.version,
            "targets": (),
            "expression": request.expression.strip(),
            "templates": request.templates,
            "partitions": now.partitions(request.partitions),
            "at_ts": request.at_ts,
            "ignore_growing": request.ignore_growing,
            "fields": fields,
            "expired_below": now.collection.expired_below(int(time.time() * 1000)),
            "deadline_ms": 0 if remaining is None else int((time.time() + remaining) * 1000),
        }

    def _ask(self, now: Snapshot, request: q.Read, call: Any, ask: Callable[[QueryNode, Any], T]) -> T:
        """Asks the views' node; a view that has just been replaced means the whole read starts again."""
        level = request.consistency_level
        level = now.collection.consistency_level if level is None else level
        deadline = time.monotonic() + self.limits.view_seconds
        while True:
            now = self._with_views(now, deadline)
            nodes = {n for v in now.views for n in v.nodes}
            if len(nodes) != 1:
                raise Unimplemented("reads over several query nodes are not implemented")
            node = self.nodes[nodes.pop()]
            try:
                if request.iterator and not call.at_ts:
                    call = msgspec.structs.replace(call, at_ts=self._begin(now, node, call, level))
                targets = tuple(self._target(view, level, call.at_ts) for view in now.views)
                return ask(node, msgspec.structs.replace(call, targets=targets))
            except ViewGone:
                if time.monotonic() >= deadline:
                    raise
                calls.check()
                time.sleep(self.limits.view_retry_seconds)
                now = self.snapshots.again(now)

    def _with_views(self, now: Snapshot, deadline: float) -> Snapshot:
        """A snapshot that has a view of every channel. Waits while they are prepared."""
        while not now.views:
            now = self.snapshots.again(now)
            if now.views:
                break
            assert now.loaded
            if time.monotonic() >= deadline:
                raise ElanusError(
                    f"collection {now.collection.name!r} is being loaded; ask again",
                    Code.COLLECTION_NOT_FULLY_LOADED,
                )
            calls.check()
            time.sleep(self.limits.view_retry_seconds)
        return now

    def _target(self, view: ViewPointer, level: ConsistencyLevel, at_ts: int) -> Target:
        if level in _STRONG or at_ts:
            # Asked after the request arrived (rule 5). A later page needs all that its first page saw, which
            # a node that has just started may not have applied.
            return Target(channel_id=view.channel_id, view=view.name, cut=self.broker.end_offset(view.log))
        staleness = self.limits.graceful_ms if level is ConsistencyLevel.BOUNDED else None
        return Target(channel_id=view.channel_id, view=view.name, staleness_ms=staleness)

    def _begin(self, now: Snapshot, node: QueryNode, call: ReadCall, level: ConsistencyLevel) -> int:
        """The timestamp of an iterator (rule 3): what its pages read at, the first one included.

        No log of the collection will have another record up to it: those that are behind get a fence.
        """
        targets = tuple(self._target(view, level, 0) for view in now.views)
        stamps = node.read_ts(msgspec.structs.replace(call, targets=targets))
        ts = max(stamps)
        if not ts & _COUNTER:
            # Told from the time of a write, which old clients send in its place.
            ts += 1
        behind = {view.log for view, at in zip(now.views, stamps, strict=True) if at < ts}
        for log in sorted(behind):
            self.broker.append(log, encode(Header(0, Kind.FENCE, floor=ts)))
        return ts


def _page(
    hits: SearchHits, request: q.Search, schema: Schema, output: Output, metric: Metric
) -> q.SearchResult:
    """Cuts the offset off each query's hits."""
    counts = hits.counts
    scores, keys, rows, groups = hits.scores, hits.keys, hits.rows, hits.groups
    if request.offset:
        kept, counts = _after(counts, groups, request.offset)
        chosen = pa.array(kept)
        scores, keys = scores[kept], keys.take(chosen)
        rows = rows.take(chosen) if rows.num_columns else rows
        groups = None if groups is None else groups.take(chosen)
    bound = None
    if request.page is not None:
        bound = float(scores[-1]) if len(scores) else request.page.last_bound
        if bound is None:
            bound = -math.inf if metric.larger_is_nearer else math.inf
    if request.round_decimal >= 0:
        scores = np.round(scores, request.round_decimal)
    return q.SearchResult(
        counts=tuple(counts.tolist()),
        scores=scores,
        keys=keys,
        rows=q.Rows(names=output.names, columns=_named(rows, schema), schema=schema, dynamic=output.dynamic),
        ts=max(hits.read_ts, default=0),
        groups=groups,
        group_field=request.group.field if request.group else "",
        last_bound=bound,
    )


def _after(counts: Counts, groups: pa.Array | None, offset: int) -> tuple[Counts, Counts]:
    """Which hits are beyond the first `offset` hits, or groups, of their query; and how many each has."""
    owners = np.repeat(np.arange(len(counts)), counts)
    begins = np.ones(len(owners), np.bool_)
    if groups is not None:
        values = pc.fill_null(groups.dictionary_encode().indices, -1).to_numpy()
        begins[1:] = (owners[1:] != owners[:-1]) | (values[1:] != values[:-1])
    numbers = np.cumsum(begins)
    first = np.concatenate([[0], numbers])[np.cumsum(counts) - counts]
    kept = np.flatnonzero(numbers - 1 - first[owners] >= offset)
    return kept, np.bincount(owners[kept], minlength=len(counts))


def _named(rows: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """Columns under the fields' names instead of their ids."""
    if not rows.num_columns:
        return rows
    return rows.rename_columns([schema.by_id[int(n)].name for n in rows.schema.names])
