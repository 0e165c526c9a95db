"""Chroma as a library, on a directory."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.model import COLUMNS, Collection, Filter, Load, Rows, Vectors, columns
from benchmarks.systems.library import Library
from benchmarks.threads import Search

# Any below: the library's own types.

METRICS = {"L2": "l2", "COSINE": "cosine", "IP": "ip"}


class Chroma(Library):
    """ids are strings. It indexes while rows come in, and has no call that waits for more."""

    name = "chromadb"
    title = "Chroma"
    package = "chromadb"
    requirements = ("chromadb==1.5.9", "numpy==2.4.6")
    module = "chromadb"
    client: Any
    handle: Any
    ef = 0

    def open(self, folder: Path, server: Path) -> float:
        begun = time.perf_counter()
        super().open(folder, server)
        settings = self.library.Settings(anonymized_telemetry=False)
        self.client = self.library.PersistentClient(str(folder / "chroma"), settings=settings)
        self.client.heartbeat()
        return time.perf_counter() - begun

    def reopen(self) -> None:
        """An index takes its ef when it is read from disk."""
        import_module("chromadb.api.shared_system_client").SharedSystemClient.clear_system_cache()
        self.open(self.folder, self.folder)
        self.use(self.collection)

    def make(self) -> None:
        hnsw = {
            "space": METRICS[self.collection.metric],
            "max_neighbors": self.parameter("M"),
            "ef_construction": self.parameter("efConstruction"),
        }
        self.handle = self.client.create_collection(
            self.collection.name, configuration={"hnsw": hnsw}, embedding_function=None
        )

    def use(self, collection: Collection) -> None:
        self.collection = collection
        self.handle = self.client.get_collection(collection.name, embedding_function=None)

    def insert(self, rows: Rows) -> float:
        ids = rows.ids()
        values = columns(ids)
        names = [str(id) for id in ids.tolist()]
        of_rows = zip(*(values[name].tolist() for name in COLUMNS), strict=True)
        metadata = [dict(zip(COLUMNS, row, strict=True)) for row in of_rows]
        vectors = rows.vectors()
        begun = time.perf_counter()
        self.handle.add(ids=names, embeddings=vectors, metadatas=metadata)
        return time.perf_counter() - begun

    def flush(self) -> float:
        return 0.0

    def index(self) -> float:
        return 0.0

    def searcher(self, load: Load) -> Search:
        if load.ef != self.ef:
            self.handle.modify(configuration={"hnsw": {"ef_search": load.ef}})
            self.reopen()
            self.ef = load.ef
        handle = self.handle
        where = condition(load.filter) if load.filter else None

        def search(query: Vectors) -> list[int]:
            found = handle.query(query_embeddings=query[None], n_results=load.k, where=where, include=[])
            return [int(id) for id in found["ids"][0]]

        return search

    def drop(self) -> None:
        self.client.delete_collection(self.collection.name)


def condition(filter: Filter) -> dict[str, Any]:
    return {filter.column: {"$eq" if filter.operator == "==" else "$lt": filter.value}}
