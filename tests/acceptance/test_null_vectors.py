"""A field of vectors that some rows leave out, through the real client, from growing to compacted."""

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusException

ROWS, DIM = 2400, 8
WAIT_SECONDS = 30
rng = np.random.default_rng(11)
VECTORS = rng.standard_normal((ROWS, DIM)).astype(np.float32)


def has_vector(key: int) -> bool:
    return key % 3 != 0


def row(key: int) -> dict[str, Any]:
    return {"id": key, "v": VECTORS[key].tolist() if has_vector(key) else None, "w": [key, 1.0]}


def nearest(rows: int, k: int = 10) -> list[int]:
    keys = np.array([key for key in range(rows) if has_vector(key)])
    return [int(k) for k in keys[np.argsort(((VECTORS[keys] - VECTORS[7]) ** 2).sum(axis=1))[:k]]]


@pytest.fixture
def made(client: Any) -> Any:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM, nullable=True)
    schema.add_field("w", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 16, "efConstruction": 100})
    index.add_index("w", index_type="FLAT", metric_type="L2")
    client.create_collection("n", schema=schema, index_params=index, consistency_level="Strong")
    return client


def check(client: Any, rows: int) -> None:
    hits = client.search("n", [VECTORS[7]], anns_field="v", limit=10, output_fields=["v"])[0]
    assert [hit["id"] for hit in hits] == nearest(rows)
    assert np.allclose(hits[0]["entity"]["v"], VECTORS[7])
    assert client.search("n", [VECTORS[7]], anns_field="v", limit=10, filter="id % 3 == 0")[0] == []
    assert len(client.search("n", [[0, 1]], anns_field="w", limit=10)[0]) == 10, "w is in all rows"
    got = {r["id"]: r["v"] for r in client.query("n", filter="id in [6, 7]", output_fields=["v"])}
    assert got[6] is None
    assert np.allclose(got[7], VECTORS[7])


def wait(done: Any) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def test_rows_without_a_vector_are_kept_and_never_found(made: Any) -> None:
    made.insert("n", [row(key) for key in range(1500)])
    check(made, 1500)
    made.flush("n")
    made.insert("n", [row(key) for key in range(1500, ROWS)])
    check(made, ROWS)
    made.flush("n")
    job = made.compact("n")
    wait(lambda: made.get_compaction_state(job) == "Completed")
    wait(lambda: made.describe_index("n", "v")["pending_index_rows"] == 0)
    check(made, ROWS)
    made.release_collection("n")
    made.load_collection("n")
    check(made, ROWS)


def test_an_upsert_gives_and_takes_a_vector(made: Any) -> None:
    made.insert("n", [row(key) for key in range(10)])
    made.upsert("n", [{"id": 7, "v": None, "w": [0.0, 0.0]}, {"id": 6, "v": [9.0] * DIM, "w": [0.0, 0.0]}])
    assert made.search("n", [[9.0] * DIM], anns_field="v", limit=1)[0][0]["id"] == 6
    assert made.query("n", filter="id == 7", output_fields=["v"])[0]["v"] is None
    # A client before 3.0 leaves a field out that no row has.
    made.upsert("n", [{"id": 8, "w": [0.0, 0.0]}])
    assert made.query("n", filter="id == 8", output_fields=["v"])[0]["v"] is None


def test_a_row_without_a_vector_cannot_be_searched_for(made: Any) -> None:
    made.insert("n", [row(key) for key in range(10)])
    with pytest.raises(MilvusException, match=r"ids \[6\] have no vector in field 'v'"):
        made.search("n", ids=[6], anns_field="v", limit=1)
