"""Collections with a partition key: rows find their partition, filters find the rows."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusException

from elanus.workers import query_node

TENANTS = 10


def make(client: Any, kind: DataType = DataType.VARCHAR, **options: Any) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    sizes = {"max_length": 16} if kind is DataType.VARCHAR else {}
    schema.add_field("tenant", kind, is_partition_key=True, **sizes)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2")
    client.create_collection("a", schema=schema, index_params=index, consistency_level="Strong", **options)


def row(i: int, tenant: str | int) -> dict[str, Any]:
    return {"id": i, "tenant": tenant, "vector": [float(i), 0.0]}


def fill(client: Any) -> None:
    client.insert("a", [row(i, f"t{i % TENANTS}") for i in range(100)])


def ids(client: Any, expression: str) -> list[int]:
    return [r["id"] for r in client.query("a", expression, ["id"])]


def code_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with pytest.raises(MilvusException) as caught:
        call(*arguments, **named)
    return int(caught.value.code)


@pytest.mark.parametrize(("asked", "made"), [({}, 16), ({"num_partitions": 3}, 3)])
def test_partitions_are_made_with_the_collection(client: Any, asked: dict[str, int], made: int) -> None:
    make(client, **asked)
    assert client.list_partitions("a") == [f"_default_{i}" for i in range(made)]
    assert client.describe_collection("a")["num_partitions"] == made


def test_rows_of_a_key_share_a_partition_and_all_are_found(client: Any) -> None:
    make(client, num_partitions=4)
    fill(client)
    for again in (lambda: None, lambda: client.flush("a")):
        again()
        counts = [client.get_partition_stats("a", p)["row_count"] for p in client.list_partitions("a")]
        assert sum(counts) == 100
        assert all(count % (100 // TENANTS) == 0 for count in counts)
        assert ids(client, 'tenant == "t3"') == list(range(3, 100, TENANTS))
        assert ids(client, 'tenant in ["t3", "t4"] and id < 20') == [3, 4, 13, 14]
        assert len(ids(client, 'tenant != "t3"')) == 90
        [hits] = client.search("a", [[50.0, 0.0]], filter='tenant == "t7"', limit=3)
        assert [h["id"] for h in hits] == [47, 57, 37]


def test_a_filter_on_the_key_reads_only_its_partitions(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make(client, num_partitions=16)
    fill(client)
    read: list[int | None] = []
    choose = query_node._partitions

    def spy(*arguments: Any) -> frozenset[int] | None:
        found = choose(*arguments)
        read.append(None if found is None else len(found))
        return found

    monkeypatch.setattr(query_node, "_partitions", spy)
    ids(client, 'tenant == "t3"')
    ids(client, 'tenant in ["t1", "t2"] and id > 5')
    ids(client, 'tenant == "t1" or id == 3')
    client.search("a", [[1.0, 0.0]], filter='tenant == "t1"', limit=1)
    client.search("a", [[1.0, 0.0]], limit=1)
    assert read[0] == read[3] == 1
    assert read[1] in (1, 2)
    assert read[2] is read[4] is None


def test_integer_keys_work_alike(client: Any) -> None:
    make(client, DataType.INT64)
    client.insert("a", [row(i, i % TENANTS - 5) for i in range(100)])
    assert ids(client, "tenant == -5") == list(range(0, 100, TENANTS))
    assert ids(client, "tenant in [4, 99999]") == list(range(9, 100, TENANTS))


def test_an_upsert_moves_a_row_to_the_partition_of_its_new_key(client: Any) -> None:
    make(client)
    fill(client)
    client.flush("a")
    client.upsert("a", [row(3, "t9")])
    for again in (lambda: None, lambda: client.flush("a")):
        again()
        assert client.query("a", "id == 3", ["tenant"]) == [{"id": 3, "tenant": "t9"}]
        assert 3 not in ids(client, 'tenant == "t3"')
        assert 3 in ids(client, 'tenant == "t9"')


def test_deletes_by_key_and_by_filter_reach_every_partition(client: Any) -> None:
    make(client)
    fill(client)
    client.delete("a", ids=[3, 4])
    client.delete("a", filter='tenant == "t5"')
    client.delete("a", filter="id >= 90")
    left = [i for i in range(90) if i not in (3, 4) and i % TENANTS != 5]
    assert ids(client, "id >= 0") == left


def test_partitions_cannot_be_named(client: Any) -> None:
    make(client)
    fill(client)
    name = "_default_0"
    for call in (
        lambda: client.insert("a", [row(1, "x")], partition_name=name),
        lambda: client.upsert("a", [row(1, "x")], partition_name=name),
        lambda: client.delete("a", ids=[1], partition_name=name),
        lambda: client.delete("a", filter="tenant == 'x'", partition_name=name),
        lambda: client.query("a", "id > 0", partition_names=[name]),
        lambda: client.search("a", [[1.0, 0.0]], limit=1, partition_names=[name]),
        lambda: client.create_partition("a", "mine"),
        lambda: client.drop_partition("a", name),
        lambda: client.load_partitions("a", [name]),
        lambda: client.release_partitions("a", [name]),
    ):
        assert code_of(call) == 1100
    assert client.has_partition("a", name)


def test_a_key_is_never_null_and_its_partitions_have_a_limit(client: Any) -> None:
    assert code_of(make, client, num_partitions=5000) == 1100
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("k", DataType.INT64, is_partition_key=True, nullable=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    assert code_of(client.create_collection, "a", schema=schema) == 1100


def test_isolation_needs_a_key_and_a_clustering_key_is_kept(client: Any) -> None:
    assert (
        code_of(client.create_collection, "x", dimension=2, properties={"partitionkey.isolation": True})
        == 1100
    )
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("c", DataType.INT64, is_clustering_key=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("c", schema=schema)
    shown = {f["name"]: f.get("is_clustering_key", False) for f in client.describe_collection("c")["fields"]}
    assert shown == {"id": False, "c": True, "vector": False}
