"""LanceDB: tables in the Lance format, as a library."""

import time
from pathlib import Path
from typing import Any

from benchmarks.model import COLUMNS, Collection, Filter, Load, Rows, Vectors, columns
from benchmarks.systems.library import Library
from benchmarks.threads import Search

# Any below: the library's own types.

METRICS = {"L2": "l2", "COSINE": "cosine", "IP": "dot"}
INDEX = "IVF_HNSW_FLAT"


class LanceDB(Library):
    """One partition, so that its HNSW is one graph; without quantisation."""

    name = "lancedb"
    title = "LanceDB"
    package = "lancedb"
    requirements = ("lancedb==0.40.0", "numpy==2.4.6", "pyarrow==25.0.0")
    module = "lancedb"
    database: Any
    table: Any

    def open(self, folder: Path, server: Path) -> float:
        begun = time.perf_counter()
        super().open(folder, server)
        self.database = self.library.connect(str(folder / "lance"))
        return time.perf_counter() - begun

    def make(self) -> None:
        import pyarrow as pa

        vector = pa.list_(pa.float32(), self.collection.dim)
        fields = [("id", pa.int64()), ("vector", vector), *((name, pa.int64()) for name in COLUMNS)]
        self.table = self.database.create_table(self.collection.name, schema=pa.schema(fields))

    def use(self, collection: Collection) -> None:
        self.collection = collection
        self.table = self.database.open_table(collection.name)

    def insert(self, rows: Rows) -> float:
        import pyarrow as pa

        ids = rows.ids()
        flat = pa.array(rows.vectors().reshape(-1))
        data = {"id": pa.array(ids), "vector": pa.FixedSizeListArray.from_arrays(flat, self.collection.dim)}
        batch = pa.table(data | {name: pa.array(values) for name, values in columns(ids).items()})
        begun = time.perf_counter()
        self.table.add(batch)
        return time.perf_counter() - begun

    def flush(self) -> float:
        """Each insert writes its own files; this merges them."""
        begun = time.perf_counter()
        self.table.optimize()
        return time.perf_counter() - begun

    def index(self) -> float:
        begun = time.perf_counter()
        self.table.create_index(
            metric=METRICS[self.collection.metric],
            vector_column_name="vector",
            index_type=INDEX,
            num_partitions=1,
            m=self.parameter("M"),
            ef_construction=self.parameter("efConstruction"),
        )
        return time.perf_counter() - begun

    def searcher(self, load: Load) -> Search:
        table = self.table
        metric = METRICS[self.collection.metric]
        chosen = expression(load.filter) if load.filter else ""

        def search(query: Vectors) -> list[int]:
            asked = table.search(query, vector_column_name="vector").distance_type(metric)
            asked = asked.nprobes(1).ef(load.ef).limit(load.k).select(["id"])
            if chosen:
                asked = asked.where(chosen, prefilter=True)
            found: list[int] = asked.to_arrow().column("id").to_pylist()
            return found

        return search

    def drop(self) -> None:
        self.database.drop_table(self.collection.name)


def expression(filter: Filter) -> str:
    return f"{filter.column} {'=' if filter.operator == '==' else '<'} {filter.value}"
