"""pymilvus' own clients against the front, with the fake proxy behind it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from elanus.access.server import GrpcServer

pymilvus = pytest.importorskip("pymilvus")

# Any below: pymilvus ships no types for what it answers.
DIM = 4
ROWS = [{"id": i, "vector": [float(i), 1.0, 2.0, 3.0], "color": "red", "extra": {"n": i}} for i in range(9)]


@pytest.fixture
def client(server: GrpcServer) -> Iterator[Any]:
    opened = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{server.port}")
    yield opened
    opened.close()


@pytest.fixture
def quick(client: Any) -> Any:
    client.create_collection("quick", dimension=DIM, metric_type="L2", consistency_level="Strong")
    assert client.insert("quick", ROWS)["insert_count"] == len(ROWS)
    return client


def refused(code: int, words: str) -> Any:
    return pytest.raises(pymilvus.MilvusException, match=rf"(?s)code={code}, .*{words}")


def test_a_quick_collection_is_described_listed_and_dropped(quick: Any) -> None:
    described = quick.describe_collection("quick")
    assert [f["name"] for f in described["fields"]] == ["id", "vector"]
    assert [f["field_id"] for f in described["fields"]] == [100, 101]
    assert (described["enable_dynamic_field"], described["auto_id"]) == (True, False)
    assert quick.list_collections() == ["quick"]
    assert quick.describe_index("quick", "vector")["metric_type"] == "L2"
    assert "Loaded" in str(quick.get_load_state("quick")["state"])
    quick.drop_collection("quick")
    assert not quick.has_collection("quick")


def test_a_search_shows_distances_and_dynamic_fields(quick: Any) -> None:
    (hits,) = quick.search("quick", [[2, 1, 2, 3]], limit=3, output_fields=["color", "extra"])
    assert [h["id"] for h in hits] == [2, 1, 3]
    assert [h["distance"] for h in hits] == [0.0, 1.0, 1.0]
    assert hits[0]["entity"] == {"color": "red", "extra": {"n": 2}}
    (hits,) = quick.search("quick", [[2, 1, 2, 3]], limit=1, output_fields=["*"])
    assert hits[0]["entity"]["vector"] == ROWS[2]["vector"]
    (hits,) = quick.search("quick", [[2, 1, 2, 3]], limit=1)
    assert hits[0]["entity"] == {}


def test_queries_gets_counts_deletes_and_upserts(quick: Any) -> None:
    assert list(quick.query("quick", filter="id > 7", output_fields=["extra"])) == [
        {"id": 8, "extra": {"n": 8}}
    ]
    assert [r["id"] for r in quick.get("quick", ids=[3, 5])] == [3, 5]
    assert quick.query("quick", filter="", output_fields=["count(*)"])[0]["count(*)"] == len(ROWS)
    assert list(quick.query("quick", filter="id > 100", output_fields=["color"])) == []
    assert quick.delete("quick", ids=[0, 1])["delete_count"] == 2
    assert quick.upsert("quick", [ROWS[5] | {"color": "pink"}])["upsert_count"] == 1
    assert quick.get("quick", ids=[5], output_fields=["color"])[0]["color"] == "pink"
    assert quick.get_collection_stats("quick")["row_count"] == len(ROWS) - 2


def test_every_scalar_type_comes_back_in_searches_and_queries(client: Any) -> None:
    kind = pymilvus.DataType
    schema = client.create_schema(auto_id=True)
    schema.add_field("pk", kind.INT64, is_primary=True)
    schema.add_field("v", kind.FLOAT_VECTOR, dim=2)
    row: dict[str, Any] = {"v": [1.0, 2.0]}
    for name, type, value, more in (
        ("b", kind.BOOL, True, {}),
        ("i8", kind.INT8, -8, {}),
        ("i16", kind.INT16, 300, {}),
        ("i32", kind.INT32, 70000, {}),
        ("i64", kind.INT64, 1 << 40, {}),
        ("f", kind.FLOAT, 0.25, {}),
        ("d", kind.DOUBLE, 0.1, {}),
        ("s", kind.VARCHAR, "é", {"max_length": 2}),
        ("j", kind.JSON, {"a": [1, None]}, {}),
        ("l", kind.ARRAY, ["x", "y"], {"element_type": kind.VARCHAR, "max_capacity": 2, "max_length": 4}),
    ):
        schema.add_field(name, type, **more)
        row[name] = value
    client.create_collection("typed", schema=schema)
    (key,) = client.insert("typed", [row])["ids"]
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="IP")
    client.create_index("typed", index)
    client.load_collection("typed")
    assert dict(client.query("typed", filter="i8 < 0", output_fields=["*"])[0]) == row | {"pk": key}
    (hits,) = client.search("typed", [[1.0, 1.0]], limit=1, output_fields=list(row))
    assert dict(hits[0]["entity"]) == row
    assert hits[0]["distance"] == 3.0
    with refused(1100, "field 's', row 0.* has 4 bytes; max_length is 2"):
        client.insert("typed", [row | {"s": "éé"}])
    with refused(1100, "300 is out of range for int8"):
        client.insert("typed", [row | {"i8": 300}])


def test_nullable_and_default_fields_may_be_left_out(client: Any) -> None:
    kind = pymilvus.DataType
    schema = client.create_schema()
    schema.add_field("pk", kind.VARCHAR, is_primary=True, max_length=8)
    schema.add_field("v", kind.FLOAT_VECTOR, dim=2)
    schema.add_field("n", kind.INT64, nullable=True)
    schema.add_field("d", kind.INT32, default_value=7)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection("loose", schema=schema, index_params=index)
    vector = [0.0, 0.0]
    client.insert("loose", [{"pk": "a", "v": vector, "n": 1}, {"pk": "b", "v": vector, "d": 2}])
    rows = [dict(r) for r in client.query("loose", filter="d > 0", output_fields=["n", "d"])]
    assert rows == [{"pk": "a", "n": 1, "d": 7}, {"pk": "b", "n": None, "d": 2}]


def test_errors_reach_the_user_with_code_and_words(quick: Any) -> None:
    with refused(100, "nope"):
        quick.query("nope", filter="id > 1")
    with refused(1100, "dimension 3; it must be 4"):
        quick.insert("quick", [{"id": 1, "vector": [1, 2, 3]}])
    with refused(1100, "row 0: element 0 is nan"):
        quick.insert("quick", [{"id": 1, "vector": [float("nan"), 2, 3, 4]}])
    with refused(1100, "dimension 2; field 'vector' has dimension 4"):
        quick.search("quick", [[1.0, 2.0]], limit=1)
    with refused(1100, "built with L2"):
        quick.search("quick", [[1.0] * DIM], limit=1, search_params={"metric_type": "IP"})
    with refused(1100, "limit .topk. is 20000"):
        quick.search("quick", [[1.0] * DIM], limit=20000)
    with refused(1100, "exists already"):
        quick.create_collection("quick", dimension=DIM)
    with refused(10, "SPARSE_FLOAT_VECTOR, which is not implemented"):
        schema = quick.create_schema()
        schema.add_field("pk", pymilvus.DataType.INT64, is_primary=True)
        schema.add_field("v", pymilvus.DataType.SPARSE_FLOAT_VECTOR)
        quick.create_collection("binary", schema=schema)


def test_databases_keep_collections_apart(quick: Any, server: GrpcServer) -> None:
    quick.create_database("other")
    assert sorted(quick.list_databases()) == ["default", "other"]
    second = pymilvus.MilvusClient(uri=f"http://127.0.0.1:{server.port}", db_name="other")
    assert second.list_collections() == []
    second.close()
    quick.use_database("other")
    assert quick.describe_database("other")["name"] == "other"
    assert quick.list_collections() == []
    with refused(800, "missing"):
        pymilvus.MilvusClient(uri=f"http://127.0.0.1:{server.port}", db_name="missing").list_collections()


def test_partitions_are_created_filled_listed_and_dropped(quick: Any) -> None:
    quick.create_partition("quick", "pa")
    assert quick.list_partitions("quick") == ["_default", "pa"]
    quick.insert("quick", [ROWS[0] | {"id": 100}], partition_name="pa")
    assert [r["id"] for r in quick.query("quick", filter="id >= 0", partition_names=["pa"])] == [100]
    assert quick.get_partition_stats("quick", "pa")["row_count"] == 1
    quick.drop_partition("quick", "pa")
    assert not quick.has_partition("quick", "pa")


def test_a_query_iterator_walks_through_all_rows(quick: Any) -> None:
    iterator = quick.query_iterator("quick", batch_size=4, filter="", output_fields=["id"])
    seen: list[int] = []
    for _ in range(2):
        seen += [row["id"] for row in iterator.next()]
    iterator.close()
    assert seen[:4] == [0, 1, 2, 3]


def test_a_block_of_vectors_arrives_exactly(client: Any) -> None:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((500, 16)).astype(np.float32)
    client.create_collection("block", dimension=16, metric_type="L2")
    client.insert("block", [{"id": i, "vector": v} for i, v in enumerate(vectors)])
    client.flush("block")
    found = client.query("block", filter="id >= 0", output_fields=["vector"], limit=500)
    np.testing.assert_array_equal(np.array([r["vector"] for r in found], np.float32), vectors)
