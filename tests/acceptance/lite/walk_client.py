"""The life of a collection with MilvusClient on Lite, opened twice. Usage: walk_client.py DIRECTORY"""

import sys

import numpy as np
from pymilvus import DataType

from elanus import lite

ROWS, DIM = 1000, 16
rng = np.random.default_rng(7)
vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def row(i: int, colour: str) -> dict[str, object]:
    return {"id": i, "vector": vectors[i].tolist(), "colour": colour, "extra": i % 7}


def nearest(i: int, keep: np.ndarray) -> list[int]:
    score = unit[keep] @ unit[i]
    return [int(n) for n in keep[np.argsort(-score, kind="stable")[:5]]]


with lite.connect(sys.argv[1]) as client:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("colour", DataType.VARCHAR, max_length=20)
    index = client.prepare_index_params()
    index.add_index(
        "vector", index_type="HNSW", metric_type="COSINE", params={"M": 16, "efConstruction": 200}
    )
    client.create_collection("walk", schema=schema, index_params=index, consistency_level="Strong")
    assert client.has_collection("walk")

    answer = client.insert("walk", [row(i, "red" if i % 2 else "blue") for i in range(ROWS)])
    assert answer["insert_count"] == ROWS
    everything, red = np.arange(ROWS), np.arange(1, ROWS, 2)
    for expression, keep in ("", everything), ('colour == "red"', red):
        [hits] = client.search(
            "walk", [vectors[3].tolist()], filter=expression, limit=5, output_fields=["colour", "extra"]
        )
        assert [hit["id"] for hit in hits] == nearest(3, keep), hits
        assert [hit["entity"]["extra"] for hit in hits] == [hit["id"] % 7 for hit in hits]
    assert client.query("walk", "extra == 3 and id < 20", ["id"]) == [{"id": 3}, {"id": 10}, {"id": 17}]

    client.upsert("walk", [row(3, "green")])
    client.delete("walk", ids=[5, 7])
    assert [found["id"] for found in client.get("walk", [3, 5, 7])] == [3]
    client.flush("walk")

with lite.connect(sys.argv[1]) as client:
    client.load_collection("walk")
    assert client.query("walk", 'colour == "green"', ["colour"]) == [{"id": 3, "colour": "green"}]
    [hits] = client.search("walk", [vectors[3].tolist()], limit=5)
    assert [hit["id"] for hit in hits] == nearest(3, np.setdiff1d(everything, [5, 7])), hits
    assert client.query("walk", "", ["count(*)"]) == [{"count(*)": ROWS - 2}]
    client.drop_collection("walk")
    assert client.list_collections() == []
print("OK")
