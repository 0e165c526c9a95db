"""Qdrant Edge: Qdrant's engine as a library."""

import time
from typing import Any

from benchmarks.model import COLUMNS, Collection, Filter, Load, Rows, Vectors, columns
from benchmarks.systems.library import Library
from benchmarks.threads import Search

# Any below: the library's own types.

FULL_SCAN_KB = 10_000
"""Its default: below so many KB of vectors it scans."""


class QdrantEdge(Library):
    """ids are integers; payload indexes on the scalar columns, as its filters are made for."""

    name = "qdrant-edge"
    title = "Qdrant Edge"
    package = "qdrant-edge-py"
    requirements = ("qdrant-edge-py==0.9.0", "numpy==2.4.6")
    module = "qdrant_edge"
    json = True
    shard: Any

    def config(self) -> Any:
        edge = self.library
        distances = {"L2": "Euclid", "COSINE": "Cosine", "IP": "Dot"}
        hnsw = edge.HnswIndexConfig(self.parameter("M"), self.parameter("efConstruction"), FULL_SCAN_KB)
        distance = getattr(edge.Distance, distances[self.collection.metric])
        return edge.EdgeConfig(vectors=edge.EdgeVectorParams(self.collection.dim, distance), hnsw_config=hnsw)

    def make(self) -> None:
        self.path().mkdir()
        self.shard = self.library.EdgeShard.create(str(self.path()), self.config())
        indexed = [*COLUMNS, *(f"meta.{name}" for name in COLUMNS if self.collection.json)]
        integer = self.library.PayloadSchemaType.Integer
        for name in indexed:
            self.shard.update(self.library.UpdateOperation.create_field_index(name, integer))

    def use(self, collection: Collection) -> None:
        self.collection = collection
        self.shard = self.library.EdgeShard.load(str(self.path()))

    def insert(self, rows: Rows) -> float:
        edge = self.library
        ids = rows.ids()
        values = columns(ids)
        payloads = [
            dict(zip(values, row, strict=True))
            for row in zip(*(column.tolist() for column in values.values()), strict=True)
        ]
        if self.collection.json:
            payloads = [payload | {"meta": payload} for payload in payloads]
        points = [
            edge.Point(id, vector, payload)
            for id, vector, payload in zip(ids.tolist(), rows.vectors().tolist(), payloads, strict=True)
        ]
        begun = time.perf_counter()
        self.shard.update(edge.UpdateOperation.upsert_points(points))
        return time.perf_counter() - begun

    def flush(self) -> float:
        begun = time.perf_counter()
        self.shard.flush()
        return time.perf_counter() - begun

    def index(self) -> float:
        begun = time.perf_counter()
        self.shard.optimize()
        self.shard.flush()
        return time.perf_counter() - begun

    def searcher(self, load: Load) -> Search:
        edge, shard = self.library, self.shard
        params = edge.SearchParams(hnsw_ef=load.ef)
        chosen = self.filter(load.filter) if load.filter else None

        def search(query: Vectors) -> list[int]:
            nearest = edge.Query.Nearest(query.tolist())
            found = shard.search(edge.SearchRequest(nearest, load.k, filter=chosen, params=params))
            return [point.id for point in found]

        return search

    def filter(self, filter: Filter) -> Any:
        edge = self.library
        key = f"meta.{filter.column}" if filter.json else filter.column
        if filter.operator == "==":
            condition = edge.FieldCondition(key, match=edge.MatchValue(filter.value))
        else:
            condition = edge.FieldCondition(key, range=edge.RangeFloat(lt=float(filter.value)))
        return edge.Filter(must=[condition])

    def drop(self) -> None:
        self.shard.close()
