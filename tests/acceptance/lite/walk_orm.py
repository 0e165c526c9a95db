"""The walk of Milvus' own hello program, on Lite, with the ORM. Usage: walk_orm.py DIRECTORY

Every answer is checked against NumPy; prints what the hello program prints and OK.
"""

import sys
import warnings

import numpy as np
from pymilvus import Collection, CollectionSchema, DataType, FieldSchema, connections, utility

from elanus import lite

warnings.simplefilter("ignore")  # pymilvus 3.0 warns at each call of the ORM
NAME, ROWS, DIM = "hello_milvus", 3000, 8
SEARCH = {"metric_type": "L2", "params": {"nprobe": 128}}


def title(text: str) -> None:
    print(f"=== {text:<30} ===")


def nearest(vectors: np.ndarray, query: np.ndarray, keep: np.ndarray, k: int = 3) -> np.ndarray:
    distance = ((vectors[keep] - query) ** 2).sum(axis=1)
    return keep[np.argsort(distance, kind="stable")[:k]]


title("start connecting to Milvus")
connections.connect("default", uri=lite.uri(sys.argv[1]))
print(f"Does collection {NAME} exist in Milvus: {utility.has_collection(NAME)}")

title(f"Create collection `{NAME}`")
fields = [
    FieldSchema("pk", DataType.VARCHAR, is_primary=True, auto_id=False, max_length=100),
    FieldSchema("random", DataType.DOUBLE),
    FieldSchema("embeddings", DataType.FLOAT_VECTOR, dim=DIM),
]
hello = Collection(NAME, CollectionSchema(fields, "a walk"), consistency_level="Strong")

title("Start inserting entities")
rng = np.random.default_rng(seed=19530)
keys = [str(i) for i in range(ROWS)]
randoms = rng.random(ROWS)
vectors = rng.random((ROWS, DIM), dtype=np.float32)
assert hello.insert([keys, randoms.tolist(), vectors]).insert_count == ROWS
hello.flush()
print(f"Number of entities in Milvus: {hello.num_entities}")
assert hello.num_entities == ROWS

title("Start Creating index IVF_FLAT")
hello.create_index("embeddings", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 128}})
title("Start loading")
hello.load()

queries = vectors[-2:]
everything, above = np.arange(ROWS), np.flatnonzero(randoms > 0.5)
for expression, keep in (None, everything), ("random > 0.5", above):
    hits = hello.search(queries, "embeddings", SEARCH, limit=3, expr=expression, output_fields=["random"])
    for query, row in zip(queries, hits, strict=True):
        want = nearest(vectors, query, keep)
        assert [hit.id for hit in row] == [keys[i] for i in want], (expression, row, want)
        distances = ((vectors[want] - query) ** 2).sum(axis=1)
        assert np.allclose([hit.distance for hit in row], distances, atol=1e-4)
        assert np.allclose([hit.entity.get("random") for hit in row], randoms[want])

rows = hello.query(expr="random > 0.5", output_fields=["random", "embeddings"], limit=ROWS)
assert sorted(int(row["pk"]) for row in rows) == above.tolist()
assert len(hello.query(expr="random > 0.5", limit=4, output_fields=["random"])) == 4

hello.delete(f'pk in ["{keys[0]}", "{keys[1]}"]')
left = hello.query(expr=f'pk in ["{keys[0]}", "{keys[1]}", "{keys[2]}"]', output_fields=["random"])
assert [row["pk"] for row in left] == [keys[2]], left

utility.drop_collection(NAME)
assert not utility.has_collection(NAME)
connections.disconnect("default")
print("OK")
