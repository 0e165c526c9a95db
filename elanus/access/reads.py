"""The read path: cuts, scatter to the nodes of the views, output fields (architecture, 4; rules 2, 5)."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from elanus.access import calls
from elanus.access import requests as q
from elanus.access.validation.searches import check_vectors, vector_field
from elanus.engine.index.parameters import check_search
from elanus.model.codes import Code
from elanus.model.errors import (
    CollectionNotLoaded,
    ElanusError,
    IndexNotFound,
    InvalidParameter,
    PartitionNotFound,
    PartitionNotLoaded,
    Unimplemented,
    ViewGone,
)
from elanus.model.nouns import Collection, IndexDefinition, LoadIntent, ViewPointer
from elanus.model.schema import DYNAMIC_FIELD, Field, Schema
from elanus.model.types import ConsistencyLevel
from elanus.roles.query import CountCall, QueryCall, QueryHits, QueryNode, SearchCall, Target
from elanus.storage.catalog import Catalog
from elanus.storage.log import LogBroker

COUNT = "count(*)"
_ALL = "*"
_STRONG = (ConsistencyLevel.STRONG, ConsistencyLevel.SESSION, ConsistencyLevel.CUSTOMIZED)

T = TypeVar("T")


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True):
    graceful_ms: int
    """Bounded: how long ago a node may have known itself at the log's end."""
    view_seconds: float
    """How long a read waits for a view that is being prepared or has just been replaced."""
    view_retry_seconds: float


@dataclass(frozen=True)
class _Output:
    """Output fields, resolved: which columns to ask for and how the answer names them."""

    names: tuple[str, ...]
    fields: tuple[int, ...]
    dynamic: tuple[str, ...]


@dataclass(frozen=True)
class Reader:
    """Searches and queries of a proxy."""

    catalog: Catalog
    broker: LogBroker
    nodes: Mapping[int, QueryNode]
    limits: ReadLimits

    # reads

    def search(self, request: q.Search) -> q.SearchResult:
        collection = self.catalog.collection_named(request.database, request.collection)
        schema = collection.schema
        field = vector_field(schema, request.field)
        index = self._index(collection, field)
        check_vectors(request, field, index.metric)
        output = _output(schema, request.output_fields, with_key=False)
        assert index.metric is not None, "a vector index has a metric"
        k = request.limit + request.offset
        call = SearchCall(
            **self._shared(collection, request, output.fields),
            field_id=field.id,
            k=k,
            metric=str(index.metric),
            params=check_search(index.type, request.params, k, index.metric),
        )
        hits = self._ask(collection, request, call, lambda node, c: node.search(c, request.queries))
        return _page(hits, request, schema, output)

    def query(self, request: q.Query) -> q.QueryResult:
        collection = self.catalog.collection_named(request.database, request.collection)
        schema = collection.schema
        if tuple(n.strip().lower() for n in request.output_fields) == (COUNT,):
            return self._count(collection, request)
        if request.limit is None and not request.expression.strip():
            raise InvalidParameter(
                "empty expression should be used with limit: a query without a filter needs a limit"
            )
        output = _output(schema, request.output_fields, with_key=True)
        hits = self._rows(collection, request, output.fields)
        rows = _named(hits.rows.slice(request.offset), schema)
        return q.QueryResult(
            rows=q.Rows(names=output.names, columns=rows, schema=schema, dynamic=output.dynamic),
            ts=max(hits.read_ts, default=0),
        )

    def keys(self, collection: Collection, request: q.Query) -> QueryHits:
        """Only the primary keys, and which channel each came from."""
        return self._rows(collection, request, ())

    def _rows(self, collection: Collection, request: q.Query, fields: tuple[int, ...]) -> QueryHits:
        limit = None if request.limit is None else request.limit + request.offset
        call = QueryCall(**self._shared(collection, request, fields), limit=limit)
        return self._ask(collection, request, call, lambda node, c: node.query(c))

    def _count(self, collection: Collection, request: q.Query) -> q.QueryResult:
        if request.limit is not None:
            raise InvalidParameter(
                "count entities with pagination is not allowed: leave out limit and offset"
            )
        call = CountCall(**self._shared(collection, request, ()))
        count = self._ask(collection, request, call, lambda node, c: node.count(c))
        columns = pa.RecordBatch.from_arrays([pa.array([count.rows], pa.int64())], names=[COUNT])
        rows = q.Rows(names=(COUNT,), columns=columns, schema=collection.schema)
        return q.QueryResult(rows=rows, ts=max(count.read_ts, default=0))

    # the call and its nodes

    def _shared(self, collection: Collection, request: q.Read, fields: tuple[int, ...]) -> dict[str, Any]:
        intent = self._loaded(collection)
        call = calls.current()
        remaining = call.remaining() if call else None
        return {
            "collection_id": collection.id,
            "schema_version": collection.schema.version,
            "targets": (),
            "expression": request.expression.strip(),
            "templates": request.templates,
            "partitions": _partitions(collection, intent, request.partitions),
            "at_ts": request.at_ts,
            "fields": fields,
            "expired_below": collection.expired_below(int(time.time() * 1000)),
            "deadline_ms": 0 if remaining is None else int((time.time() + remaining) * 1000),
        }

    def _ask(
        self, collection: Collection, request: q.Read, call: Any, ask: Callable[[QueryNode, Any], T]
    ) -> T:
        """Asks the views' node; a view that has just been replaced means the whole read starts again."""
        level = request.consistency_level
        level = collection.consistency_level if level is None else level
        deadline = time.monotonic() + self.limits.view_seconds
        while True:
            views = self._views(collection, deadline)
            nodes = {n for v in views for n in v.nodes}
            if len(nodes) != 1:
                raise Unimplemented("reads over several query nodes are not implemented")
            targets = tuple(self._target(view, level, request.at_ts) for view in views)
            try:
                return ask(self.nodes[nodes.pop()], msgspec.structs.replace(call, targets=targets))
            except ViewGone:
                if time.monotonic() >= deadline:
                    raise
                calls.check()
                time.sleep(self.limits.view_retry_seconds)

    def _views(self, collection: Collection, deadline: float) -> list[ViewPointer]:
        """A view of every channel. Waits while they are prepared."""
        while True:
            by_channel = {v.channel_id: v for v in self.catalog.views(collection.id)}
            if all(c.id in by_channel for c in collection.channels):
                return [by_channel[c.id] for c in collection.channels]
            self._loaded(collection)
            if time.monotonic() >= deadline:
                raise ElanusError(
                    f"collection {collection.name!r} is being loaded; ask again",
                    Code.COLLECTION_NOT_FULLY_LOADED,
                )
            calls.check()
            time.sleep(self.limits.view_retry_seconds)

    def _target(self, view: ViewPointer, level: ConsistencyLevel, at_ts: int) -> Target:
        if level in _STRONG or at_ts:
            # Asked after the request arrived (rule 5). A later page needs all that its first page saw, which
            # a node that has just started may not have applied.
            return Target(channel_id=view.channel_id, view=view.name, cut=self.broker.end_offset(view.log))
        staleness = self.limits.graceful_ms if level is ConsistencyLevel.BOUNDED else None
        return Target(channel_id=view.channel_id, view=view.name, staleness_ms=staleness)

    def _loaded(self, collection: Collection) -> LoadIntent:
        intent = self.catalog.load(collection.id)
        if intent is None:
            raise CollectionNotLoaded(f"collection not loaded[collection={collection.name}]; load it first")
        return intent

    def _index(self, collection: Collection, field: Field) -> IndexDefinition:
        for index in self.catalog.indexes(collection.id):
            if index.field_id == field.id:
                return index
        raise IndexNotFound(f"field {field.name!r} has no index; create one before you search it")


def _partitions(collection: Collection, intent: LoadIntent, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """The partitions to read; None: all. Raises PartitionNotFound, PartitionNotLoaded."""
    if not names:
        return None if intent.whole_collection else intent.partitions
    wanted = []
    for name in names:
        partition = collection.partition(name)
        if partition is None:
            raise PartitionNotFound(f"partition {name!r} does not exist in collection {collection.name!r}")
        if not intent.whole_collection and partition.id not in intent.partitions:
            raise PartitionNotLoaded(f"partition not loaded[partition={name}]; load it first")
        wanted.append(partition.id)
    return tuple(wanted)


def _output(schema: Schema, names: tuple[str, ...], *, with_key: bool) -> _Output:
    """Resolves output field names. What is no field is a key of the dynamic field, where there is one."""
    wanted: dict[str, None] = {}
    dynamic: dict[str, None] = {}
    for name in names:
        if name == _ALL:
            wanted.update(dict.fromkeys(f.name for f in schema.fields))
        elif name in schema.by_name:
            wanted[name] = None
        elif schema.dynamic_field is not None:
            dynamic[_dynamic_key(name)] = None
        else:
            schema.field(name)
    if with_key:
        wanted[schema.primary.name] = None
    columns = dict(wanted)
    if dynamic and DYNAMIC_FIELD not in columns:
        columns[DYNAMIC_FIELD] = None
    shown = [n for n in wanted if n != DYNAMIC_FIELD or DYNAMIC_FIELD in names or _ALL in names]
    return _Output(
        names=(*shown, *dynamic),
        fields=tuple(schema.by_name[n].id for n in columns),
        dynamic=tuple(dynamic),
    )


def _dynamic_key(name: str) -> str:
    """`$meta["key"]` and `key` name the same."""
    for quote in "\"'":
        if name.startswith(f"{DYNAMIC_FIELD}[{quote}") and name.endswith(f"{quote}]"):
            return name[len(DYNAMIC_FIELD) + 2 : -2]
    return name


def _page(hits: Any, request: q.Search, schema: Schema, output: _Output) -> q.SearchResult:
    """Cuts the offset off each query's hits."""
    counts = hits.counts
    scores, keys, rows = hits.scores, hits.keys, hits.rows
    if request.offset:
        starts = np.cumsum(counts) - counts
        ranks = np.arange(len(scores)) - np.repeat(starts, counts)
        kept = np.flatnonzero(ranks >= request.offset)
        scores, keys = scores[kept], keys.take(pa.array(kept))
        rows = rows.take(pa.array(kept))
        counts = np.maximum(counts - request.offset, 0)
    if request.round_decimal >= 0:
        scores = np.round(scores, request.round_decimal)
    return q.SearchResult(
        counts=tuple(int(c) for c in counts),
        scores=scores,
        keys=keys,
        rows=q.Rows(names=output.names, columns=_named(rows, schema), schema=schema, dynamic=output.dynamic),
        ts=max(hits.read_ts, default=0),
    )


def _named(rows: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """Columns under the fields' names instead of their ids."""
    return rows.rename_columns([schema.by_id[int(n)].name for n in rows.schema.names])
