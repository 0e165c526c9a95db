"""Zvec: Alibaba's Proxima as a library."""

import time
from typing import Any

from benchmarks.model import COLUMNS, Collection, Filter, Load, Rows, Vectors, columns
from benchmarks.systems.library import Library
from benchmarks.threads import Search

# Any below: the library's own types.

MOST_DOCUMENTS = 1000
"""An insert takes no more."""


class Zvec(Library):
    """ids are strings; float32, without its quantisation."""

    name = "zvec"
    title = "Zvec"
    package = "zvec"
    requirements = ("zvec==0.8.0", "numpy==2.4.6")
    module = "zvec"
    handle: Any

    def make(self) -> None:
        zvec = self.library
        index = zvec.HnswIndexParam(
            getattr(zvec.MetricType, self.collection.metric),
            m=self.parameter("M"),
            ef_construction=self.parameter("efConstruction"),
        )
        kind = zvec.DataType.VECTOR_FP32
        vector = zvec.VectorSchema("vector", kind, self.collection.dim, index_param=index)
        fields = [zvec.FieldSchema(name, zvec.DataType.INT64) for name in COLUMNS]
        schema = zvec.CollectionSchema(self.collection.name, fields=fields, vectors=vector)
        self.handle = zvec.create_and_open(str(self.path()), schema)

    def use(self, collection: Collection) -> None:
        self.collection = collection
        self.handle = self.library.open(str(self.path()))

    def insert(self, rows: Rows) -> float:
        ids = rows.ids()
        values = columns(ids)
        of_rows = zip(*(values[name].tolist() for name in COLUMNS), strict=True)
        documents = [
            self.library.Doc(str(id), vectors={"vector": vector}, fields=dict(zip(COLUMNS, row, strict=True)))
            for id, vector, row in zip(ids.tolist(), rows.vectors().tolist(), of_rows, strict=True)
        ]
        begun = time.perf_counter()
        for start in range(0, len(documents), MOST_DOCUMENTS):
            for status in self.handle.insert(documents[start : start + MOST_DOCUMENTS]):
                if not status.ok():
                    raise RuntimeError(f"insert: {status}")
        return time.perf_counter() - begun

    def flush(self) -> float:
        begun = time.perf_counter()
        self.handle.flush()
        return time.perf_counter() - begun

    def index(self) -> float:
        begun = time.perf_counter()
        self.handle.optimize()
        self.handle.flush()
        return time.perf_counter() - begun

    def searcher(self, load: Load) -> Search:
        zvec, handle = self.library, self.handle
        param = zvec.HnswQueryParam(ef=load.ef)
        chosen = expression(load.filter) if load.filter else None

        def search(query: Vectors) -> list[int]:
            asked = zvec.Query("vector", vector=query.tolist(), param=param)
            found = handle.query(asked, topk=load.k, filter=chosen, output_fields=[])
            return [int(document.id) for document in found]

        return search

    def drop(self) -> None:
        self.handle.destroy()


def expression(filter: Filter) -> str:
    return f"{filter.column} {'=' if filter.operator == '==' else '<'} {filter.value}"
