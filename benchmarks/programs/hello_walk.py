"""The first walk of a Milvus user, with the ORM client (pymilvus 2.x up to 3.0), every answer checked.

usage: hello_walk.py HOST PORT

Connects, creates a collection, inserts 3,000 rows, flushes, builds an IVF_FLAT index, loads, searches,
queries, searches with a filter, deletes, drops. Prints the seconds of each step; exits 1 at a wrong answer.
"""

import sys
import time
import warnings
from typing import Any

warnings.simplefilter("ignore")

import numpy as np  # noqa: E402
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility  # noqa: E402

ROWS, DIM, NAME = 3000, 8, "hello_walk"
METRIC = {"metric_type": "L2", "params": {"nprobe": 128}}


class Steps:
    """Prints a line for each step when the next begins."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def done(self, name: str) -> None:
        now = time.perf_counter()
        sys.stdout.write(f"{name} {now - self._begun:.4f}\n")
        self._begun = now


def check(right: bool, what: str) -> None:
    if not right:
        sys.exit(f"wrong: {what}")


def nearest(vectors: Any, query: Any, among: Any, count: int) -> list[str]:
    distances = ((vectors[among] - query) ** 2).sum(axis=1)
    return [str(row) for row in among[np.argsort(distances, kind="stable")[:count]]]


def main() -> None:
    steps = Steps()
    connections.connect("default", host=sys.argv[1], port=sys.argv[2])
    check(not utility.has_collection(NAME), f"{NAME} is there already")
    steps.done("connect")

    fields = [
        FieldSchema("pk", DataType.VARCHAR, is_primary=True, auto_id=False, max_length=100),
        FieldSchema("random", DataType.DOUBLE),
        FieldSchema("embeddings", DataType.FLOAT_VECTOR, dim=DIM),
    ]
    collection = Collection(NAME, CollectionSchema(fields), consistency_level="Strong")
    steps.done("create")

    generator = np.random.default_rng(19530)
    keys = [str(row) for row in range(ROWS)]
    randoms = generator.random(ROWS)
    vectors = generator.random((ROWS, DIM), dtype=np.float32)
    inserted = collection.insert([keys, randoms.tolist(), vectors])
    check(inserted.insert_count == ROWS, f"inserted {inserted.insert_count} rows")
    steps.done("insert")
    collection.flush()
    check(collection.num_entities == ROWS, f"{collection.num_entities} rows after flush")
    steps.done("flush")

    index = {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}}
    collection.create_index("embeddings", index)
    steps.done("index")
    collection.load()
    steps.done("load")

    queries = vectors[-2:]
    found = collection.search(queries, "embeddings", METRIC, limit=3, output_fields=["random"])
    for query, hits in zip(queries, found, strict=True):
        want = nearest(vectors, query, np.arange(ROWS), 3)
        check([hit.id for hit in hits] == want, f"searched {want}, found {[hit.id for hit in hits]}")
    steps.done("search")

    rows = collection.query(expr="random > 0.5", output_fields=["random", "embeddings"], limit=ROWS)
    check(len(rows) == int((randoms > 0.5).sum()), f"the query found {len(rows)} rows")
    check(
        len(collection.query(expr="random > 0.5", limit=4, output_fields=["random"])) == 4, "query, limit 4"
    )
    steps.done("query")

    found = collection.search(
        queries, "embeddings", METRIC, limit=3, expr="random > 0.5", output_fields=["random"]
    )
    for query, hits in zip(queries, found, strict=True):
        want = nearest(vectors, query, np.flatnonzero(randoms > 0.5), 3)
        check(
            [hit.id for hit in hits] == want, f"searched {want}, found {[hit.id for hit in hits]}, filtered"
        )
    steps.done("filtered")

    collection.delete(f'pk in ["{keys[0]}", "{keys[1]}"]')
    left = collection.query(expr=f'pk in ["{keys[0]}", "{keys[1]}", "{keys[2]}"]', output_fields=["random"])
    check([row["pk"] for row in left] == [keys[2]], f"after the delete: {left}")
    steps.done("delete")
    utility.drop_collection(NAME)
    check(not utility.has_collection(NAME), "it is there after the drop")
    steps.done("drop")


if __name__ == "__main__":
    main()
