"""Aliases, renaming and databases, through MilvusClient."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import MilvusException


def make(client: Any, *names: str) -> None:
    for name in names:
        client.create_collection(name, dimension=2, consistency_level="Strong")
        client.insert(name, [{"id": 1, "vector": [0.0, 1.0], "of": name}])


def owner(client: Any, name: str) -> str:
    """Which collection a read by `name` reaches."""
    [row] = client.query(name, "id == 1", ["of"])
    return str(row["of"])


def code_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with pytest.raises(MilvusException) as caught:
        call(*arguments, **named)
    return int(caught.value.code)


def test_an_alias_stands_for_its_collection_in_every_call(client: Any) -> None:
    make(client, "a")
    client.create_alias("a", "al")
    client.create_alias("a", "al")
    assert client.describe_alias("al") == {"alias": "al", "collection_name": "a", "db_name": "default"}
    assert client.describe_collection("al")["aliases"] == ["al"]
    assert client.has_collection("al")
    client.insert("al", [{"id": 2, "vector": [1.0, 0.0], "of": "a"}])
    client.upsert("al", [{"id": 2, "vector": [1.0, 0.5], "of": "b"}])
    client.delete("al", filter="id == 1")
    client.flush("al")
    assert list(client.query("al", "id > 0", ["of"])) == [{"id": 2, "of": "b"}]
    assert [h["id"] for h in client.search("al", [[1.0, 0.0]], limit=1)[0]] == [2]
    assert client.get_collection_stats("al")["row_count"] == 3
    client.create_partition("al", "p")
    assert client.list_partitions("a") == ["_default", "p"]
    client.release_collection("al")
    assert str(client.get_load_state("a")["state"]) == "NotLoad"
    assert client.list_indexes("al") == ["vector"]
    client.alter_collection_properties("al", {"collection.ttl.seconds": 60})
    assert client.describe_collection("a")["properties"] == {"collection.ttl.seconds": "60"}
    assert client.list_collections() == ["a"]


def test_an_alias_is_moved_dropped_and_dropped_again(client: Any) -> None:
    make(client, "a", "b")
    client.create_alias("a", "al")
    assert owner(client, "al") == "a"
    client.alter_alias("b", "al")
    assert owner(client, "al") == "b"
    assert client.list_aliases("a")["aliases"] == []
    assert client.list_aliases()["aliases"] == client.list_aliases("b")["aliases"] == ["al"]
    client.drop_alias("al")
    client.drop_alias("al")
    assert not client.has_collection("al")


def test_names_that_are_taken_or_missing_have_the_protocols_codes(client: Any) -> None:
    make(client, "a", "b")
    client.create_alias("a", "al")
    assert code_of(client.create_alias, "b", "al") == 1602
    assert code_of(client.create_alias, "b", "a") == 1601
    assert code_of(client.create_collection, "al", dimension=2) == 1601
    assert code_of(client.drop_alias, "a") == 1601
    assert code_of(client.describe_alias, "none") == code_of(client.alter_alias, "a", "none") == 1600
    assert code_of(client.describe_alias, "a") == 1600
    assert code_of(client.create_alias, "none", "x") == code_of(client.list_aliases, "none") == 100
    assert code_of(client.create_alias, "a", "1x") == 1100


def test_a_collection_is_dropped_and_renamed_by_its_own_name_only(client: Any) -> None:
    make(client, "a", "b")
    client.create_alias("a", "al")
    for call in (
        lambda: client.drop_collection("al"),
        lambda: client.drop_collection("a"),
        lambda: client.rename_collection("al", "c"),
        lambda: client.rename_collection("a", "b"),
        lambda: client.rename_collection("a", "al"),
        lambda: client.rename_collection("a", "a"),
    ):
        assert code_of(call) == 1100
    client.rename_collection("a", "c")
    assert owner(client, "al") == owner(client, "c") == "a"
    assert not client.has_collection("a")
    make(client, "a")
    client.drop_alias("al")
    client.drop_collection("c")
    assert sorted(client.list_collections()) == ["a", "b"]


def test_a_loaded_collection_moves_to_another_database_with_its_rows(client: Any) -> None:
    make(client, "a")
    client.create_database("other")
    client.create_alias("a", "al")
    assert code_of(client.rename_collection, "a", "b", "other") == 1100
    client.drop_alias("al")
    assert code_of(client.rename_collection, "a", "b", "none") == 800
    client.rename_collection("a", "b", "other")
    assert client.list_collections() == []
    client.use_database("other")
    assert owner(client, "b") == "a"
    client.insert("b", [{"id": 2, "vector": [1.0, 0.0], "of": "b"}])
    client.rename_collection("b", "a", "default")
    client.use_database("default")
    assert client.query("a", "", ["count(*)"]) == [{"count(*)": 2}]
    client.drop_database("other")


def test_a_database_holds_no_more_collections_than_its_property_says(client: Any) -> None:
    client.create_database("small", properties={"database.max.collections": 1})
    make(client, "a")
    client.use_database("small")
    make(client, "b")
    assert code_of(client.create_collection, "c", dimension=2) == 102
    client.use_database("default")
    assert code_of(client.rename_collection, "a", "c", "small") == 102
    client.alter_database_properties("small", {"database.max.collections": 2})
    client.rename_collection("a", "c", "small")
    assert code_of(client.alter_database_properties, "small", {"database.max.collections": 1}) == 1100
    client.drop_database_properties("small", ["database.max.collections"])
    assert client.describe_database("small") == {"name": "small"}
    assert code_of(client.create_database, "wrong", properties={"database.max.collections": "x"}) == 1100
