"""Properties, fields, dynamic fields, indexes and truncation of collections that are there."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusException


def make(client: Any, name: str = "a", *, dynamic: bool = False, rows: int = 5) -> None:
    schema = client.create_schema(auto_id=False, enable_dynamic_field=dynamic)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("text", DataType.VARCHAR, max_length=4)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="L2", index_name="vx")
    client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
    if rows:
        client.insert(name, [row(i) for i in range(rows)])


def row(i: int, **more: Any) -> dict[str, Any]:
    return {"id": i, "text": "t", "vector": [float(i), 0.0], **more}


def code_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with pytest.raises(MilvusException) as caught:
        call(*arguments, **named)
    return int(caught.value.code)


def test_properties_are_altered_kept_and_deleted(client: Any) -> None:
    make(client)
    client.alter_collection_properties("a", {"collection.ttl.seconds": 60, "mine": "x"})
    client.alter_collection_properties("a", {"collection.description": "what it is for"})
    described = client.describe_collection("a")
    assert described["properties"] == {"collection.ttl.seconds": "60", "mine": "x"}
    assert described["description"] == "what it is for"
    client.drop_collection_properties("a", ["mine"])
    assert client.describe_collection("a")["properties"] == {"collection.ttl.seconds": "60"}
    assert code_of(client.alter_collection_properties, "a", {"collection.ttl.seconds": -2}) == 1100
    assert code_of(client.alter_collection_properties, "a", {"partitionkey.isolation": True}) == 1100
    assert code_of(client.alter_collection_properties, "a", {"collection.description": "x" * 1025}) == 1100


def test_a_loaded_collection_keeps_how_its_files_are_mapped(client: Any) -> None:
    make(client)
    mapped = {"mmap.enabled": True}
    for alter in (
        lambda: client.alter_collection_properties("a", mapped),
        lambda: client.alter_collection_field("a", "text", mapped),
        lambda: client.alter_index_properties("a", "vx", mapped),
    ):
        assert code_of(alter) == 104
    client.release_collection("a")
    client.alter_collection_properties("a", mapped)
    client.alter_collection_field("a", "text", mapped)
    client.alter_index_properties("a", "vx", mapped)
    assert client.describe_collection("a")["properties"]["mmap.enabled"].lower() == "true"
    assert client.describe_index("a", "vx")["mmap.enabled"].lower() == "true"
    client.drop_index_properties("a", "vx", ["mmap.enabled"])
    assert "mmap.enabled" not in client.describe_index("a", "vx")
    assert code_of(client.alter_index_properties, "a", "vx", {"metric_type": "IP"}) == 1100
    assert code_of(client.alter_index_properties, "a", "none", mapped) == 700


def test_a_text_field_grows(client: Any) -> None:
    make(client)
    long = [row(7, text="eight888")]
    assert code_of(client.insert, "a", long) == 1100
    client.alter_collection_field("a", "text", {"max_length": 8})
    client.insert("a", long)
    assert client.describe_collection("a")["fields"][1]["params"]["max_length"] == 8
    for wrong in (4, 70_000):
        assert code_of(client.alter_collection_field, "a", "text", {"max_length": wrong}) == 1100
    assert code_of(client.alter_collection_field, "a", "id", {"max_length": 8}) == 1100
    assert code_of(client.alter_collection_field, "a", "none", {"max_length": 8}) == 1700


def test_added_fields_show_null_or_their_default_in_older_rows(client: Any) -> None:
    make(client, rows=3)
    client.flush("a")
    client.insert("a", [row(3)])
    client.add_collection_field("a", "n", DataType.INT64, nullable=True)
    client.add_collection_field("a", "d", DataType.VARCHAR, max_length=8, nullable=True, default_value="old")
    client.insert("a", [row(4, n=44, d="new"), row(5, n=None, d=None), row(6)])
    expected = {i: (44, "new") if i == 4 else (None, "old") for i in range(7)}
    for again in (lambda: None, lambda: client.flush("a"), lambda: reload(client)):
        again()
        found = client.query("a", "id >= 0", ["n", "d"])
        assert {r["id"]: (r["n"], r["d"]) for r in found} == expected
        assert [r["id"] for r in client.query("a", "n is not null")] == [4]
        assert len(client.query("a", 'd == "old"')) == 6
        [hits] = client.search("a", [[4.0, 0.0]], filter="n is null", limit=2, output_fields=["d", "n"])
        assert {h["id"] for h in hits} == {3, 5}
        assert [(h["entity"]["d"], h["entity"]["n"]) for h in hits] == [("old", None)] * 2


def reload(client: Any) -> None:
    client.release_collection("a")
    client.load_collection("a")


def test_what_cannot_be_added_is_refused(client: Any) -> None:
    make(client)
    add = client.add_collection_field
    assert code_of(add, "a", "bare", DataType.INT64) == 1100
    assert code_of(add, "a", "text", DataType.INT64, nullable=True) == 1100
    assert code_of(add, "a", "1x", DataType.INT64, nullable=True) == 1701
    assert code_of(add, "a", "key", DataType.INT64, nullable=True, is_partition_key=True) == 1100
    assert [f["name"] for f in client.describe_collection("a")["fields"]] == ["id", "text", "vector"]


def test_dynamic_fields_are_switched_on_and_stay_on(client: Any) -> None:
    make(client, rows=2)
    client.flush("a")
    client.alter_collection_properties("a", {"dynamicfield.enabled": True})
    client.alter_collection_properties("a", {"dynamicfield.enabled": True})
    assert client.describe_collection("a")["enable_dynamic_field"]
    client.insert("a", [row(2, more="x")])
    for again in (lambda: None, lambda: client.flush("a"), lambda: reload(client)):
        again()
        assert list(client.query("a", 'more == "x"', ["more"])) == [{"id": 2, "more": "x"}]
        assert list(client.query("a", "id < 2", ["more"])) == [{"id": 0}, {"id": 1}]
    assert code_of(client.alter_collection_properties, "a", {"dynamicfield.enabled": False}) == 1100
    both = {"dynamicfield.enabled": True, "collection.ttl.seconds": 1}
    assert code_of(client.alter_collection_properties, "a", both) == 1100


def test_a_client_that_knows_an_old_schema_is_told_to_read_it_again(client: Any, tmp_path: Any) -> None:
    from elanus import lite

    make(client, rows=1)
    with lite.connect(tmp_path / "data") as other:
        other.insert("a", [row(1)])
        client.add_collection_field("a", "n", DataType.INT64, nullable=True)
        client.insert("a", [row(2, n=2)])
        other.insert("a", [row(3, n=3)])
        assert [r["n"] for r in other.query("a", "id >= 0", ["n"])] == [None, None, 2, 3]


def test_a_truncated_collection_is_empty_and_goes_on(client: Any) -> None:
    make(client, rows=10)
    client.flush("a")
    client.insert("a", [row(i) for i in range(10, 15)])
    client.truncate_collection("a")
    assert client.query("a", "", ["count(*)"]) == [{"count(*)": 0}]
    assert client.get_collection_stats("a")["row_count"] == 0
    assert client.search("a", [[1.0, 0.0]], limit=3) == [[]]
    client.insert("a", [row(1, text="new")])
    client.flush("a")
    for _ in range(2):
        assert client.query("a", "id >= 0", ["text"]) == [{"id": 1, "text": "new"}]
        reload(client)
    assert client.get_collection_stats("a")["row_count"] == 1
    assert code_of(client.truncate_collection, "none") == 100
