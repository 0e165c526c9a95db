"""Every limit of the table is in force, with the protocol's code: each is set low and then passed."""

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusException

from elanus import lite
from elanus.model.limits import Limits, table

GRPC = {"concurrent_calls", "receive_size", "send_size"}
"""Settings of the gRPC server, which Lite has not."""
VECTOR = [1.0, 2.0]
LARGE = {"query_mode": "large_topk"}


def make(client: Any, name: str = "c", *extra: tuple[str, DataType, dict[str, Any]], **rest: Any) -> None:
    dim = rest.pop("dim", 2)
    schema = client.create_schema(enable_dynamic_field=True, description=rest.pop("description", ""))
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=dim)
    for field, type, how in extra:
        schema.add_field(field, type, **how)
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    client.create_collection(
        name, schema=schema, index_params=index, consistency_level="Strong", **{"num_shards": 1, **rest}
    )


def insert(client: Any, rows: int = 1, **more: Any) -> None:
    client.insert("c", [{"id": i, "v": VECTOR, **more} for i in range(rows)])


def filled(rows: int = 5, properties: dict[str, str] | None = None, **more: Any) -> Callable[[Any], None]:
    def fill(client: Any) -> None:
        make(client, properties=properties)
        insert(client, rows, **more)

    return fill


def index_with_many_parameters(client: Any) -> None:
    client.release_collection("c")
    client.drop_index("c", "v")
    index = client.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2", params={"x": "y" * 100})
    client.create_index("c", index)


def search(client: Any, queries: int = 1, limit: int = 1, **rest: Any) -> Any:
    return client.search("c", [VECTOR] * queries, limit=limit, **rest)


def both(*steps: Callable[[Any], Any]) -> Callable[[Any], None]:
    def take(client: Any) -> None:
        for step in steps:
            step(client)

    return take


def nothing(client: Any) -> None:
    """Where what is refused is the first thing that is asked for."""


KEYED = ("k", DataType.INT64, {"is_partition_key": True})
Extra = tuple[str, DataType, dict[str, Any]]
NUMBERS: list[Extra] = [(f"n{i}", DataType.INT64, {}) for i in range(9)]
VECTORS: list[Extra] = [(f"w{i}", DataType.FLOAT_VECTOR, {"dim": 2}) for i in range(3)]
Step = Callable[[Any], Any]
CASES: dict[str, tuple[int, Step, Step, int]] = {
    # name of the limit: its value, what is within it, what is not, the code
    "dimension": (4, lambda c: make(c, dim=4), lambda c: make(c, "d", dim=5), 1100),
    "fields": (5, lambda c: make(c, "c", *NUMBERS[:3]), lambda c: make(c, "d", *NUMBERS[:4]), 1100),
    "vector_fields": (2, nothing, lambda c: make(c, "d", *VECTORS[:2]), 1100),
    "shards": (2, lambda c: make(c, num_shards=2), lambda c: make(c, "d", num_shards=3), 1100),
    "partitions": (
        3,
        both(make, lambda c: c.create_partition("c", "p1"), lambda c: c.create_partition("c", "p2")),
        lambda c: c.create_partition("c", "p3"),
        1100,
    ),
    "databases": (1, lambda c: c.create_database("a"), lambda c: c.create_database("b"), 801),
    "collections": (1, make, lambda c: make(c, "d"), 102),
    "collections_per_database": (1, make, lambda c: make(c, "d"), 102),
    "capacity": (
        6,
        both(lambda c: make(c, num_shards=2), lambda c: make(c, "d", KEYED, num_partitions=4)),
        lambda c: make(c, "e"),
        250,
    ),
    "name_length": (8, lambda c: make(c, "c" * 8), lambda c: make(c, "c" * 9), 1100),
    "description_length": (
        5,
        lambda c: make(c, description="x" * 5),
        lambda c: make(c, "d", description="x" * 6),
        1100,
    ),
    "varchar_length": (
        9,
        lambda c: make(c, "c", ("t", DataType.VARCHAR, {"max_length": 9})),
        lambda c: make(c, "d", ("t", DataType.VARCHAR, {"max_length": 10})),
        1100,
    ),
    "array_capacity": (
        9,
        lambda c: make(c, "c", ("a", DataType.ARRAY, {"element_type": DataType.INT8, "max_capacity": 9})),
        lambda c: make(c, "d", ("a", DataType.ARRAY, {"element_type": DataType.INT8, "max_capacity": 10})),
        1100,
    ),
    "json_length": (50, filled(more="x" * 20), lambda c: insert(c, more="x" * 60), 1100),
    "user_name_length": (
        5,
        lambda c: c.create_user("abcde", "secret"),
        lambda c: c.create_user("abcdef", "secret"),
        1100,
    ),
    "shortest_password": (
        8,
        lambda c: c.create_user("abcde", "secrets8"),
        lambda c: c.create_user("a", "short"),
        1100,
    ),
    "longest_password": (
        9,
        lambda c: c.create_user("abcde", "secrets99"),
        lambda c: c.create_user("a", "too-long-for-it"),
        1100,
    ),
    "users": (2, lambda c: c.create_user("a", "secret"), lambda c: c.create_user("b", "secret"), 1100),
    "roles": (1, lambda c: c.create_role("a"), lambda c: c.create_role("b"), 1100),
    "index_params_size": (80, filled(), index_with_many_parameters, 1100),
    "top_k": (3, both(filled(), lambda c: search(c, limit=3)), lambda c: search(c, limit=2, offset=2), 1100),
    "large_top_k": (
        20_000,
        both(filled(properties=LARGE), lambda c: search(c, limit=20_000)),
        lambda c: search(c, limit=20_001),
        1100,
    ),
    "queries": (2, both(filled(), lambda c: search(c, 2)), lambda c: search(c, 3), 1100),
    "result_window": (
        3,
        both(filled(), lambda c: c.query("c", "", limit=3)),
        lambda c: c.query("c", "", limit=2, offset=2),
        1100,
    ),
    "large_result_window": (
        20_000,
        both(filled(properties=LARGE), lambda c: c.query("c", "", limit=20_000)),
        lambda c: c.query("c", "", limit=20_001),
        1100,
    ),
    "group_size": (
        2,
        both(filled(), lambda c: search(c, group_by_field="id", group_size=2)),
        lambda c: search(c, group_by_field="id", group_size=3),
        1100,
    ),
    "result_entries": (
        12,
        both(filled(), lambda c: search(c, 3, 4)),
        lambda c: search(c, 3, 5),
        1100,
    ),
    "output_size": (
        300,
        both(filled(20), lambda c: c.query("c", "", limit=2, output_fields=["v"])),
        lambda c: c.query("c", "", limit=20, output_fields=["*"]),
        1102,
    ),
    "insert_size": (300, both(make, lambda c: insert(c, 2)), lambda c: insert(c, 100), 1102),
}
DESCRIPTIONS = {"user_description_length", "role_description_length"}
"""pymilvus sends none; tests/unit/access/test_service.py does."""


def test_the_table_is_covered() -> None:
    names = {f.name for f in fields(Limits)}
    assert CASES.keys() | GRPC | DESCRIPTIONS == names - {"partition_key_partitions"}, (
        "the number of partitions behind a key is a default, not a limit"
    )


@pytest.mark.parametrize("name", CASES)
def test_a_limit_is_in_force(name: str, tmp_path: Path) -> None:
    value, within, beyond, code = CASES[name]
    key = next(facts.key for facts in table() if facts.name == name).replace(".", "__")
    # Any: settings are keywords whose names come from the table.
    setting: dict[str, Any] = {key: value}
    with lite.connect(tmp_path / "data", **setting) as client:
        within(client)
        with pytest.raises(MilvusException) as raised:
            beyond(client)
    assert raised.value.code == code, raised.value


def test_a_collection_may_answer_more_than_others(tmp_path: Path) -> None:
    with lite.connect(tmp_path / "data", quotaAndLimits__limits__topK=2) as client:
        filled()(client)
        with pytest.raises(MilvusException, match=r"must be in \[1, 2\]"):
            search(client, limit=5)
        client.alter_collection_properties("c", LARGE)
        assert len(search(client, limit=5)[0]) == 5
        assert len(search(client, limit=1_000_000)[0]) == 5
        with pytest.raises(MilvusException, match=r"must be in \[1, 1000000\]"):
            search(client, limit=1_000_001)


def test_generated_keys_are_given_where_the_collection_says_so(tmp_path: Path) -> None:
    with lite.connect(tmp_path / "data") as client:
        client.create_collection("c", dimension=2, auto_id=True, consistency_level="Strong")
        given = [{"id": 77, "vector": VECTOR}]
        with pytest.raises(MilvusException, match="allow_insert_auto_id"):
            client.insert("c", given)
        client.alter_collection_properties("c", {"allow_insert_auto_id": "true"})
        assert list(client.insert("c", given)["ids"]) == [77]
        assert client.insert("c", [{"vector": VECTOR}])["insert_count"] == 1
        assert client.query("c", "id == 77", output_fields=["id"]) == [{"id": 77}]
        assert client.query("c", "", output_fields=["count(*)"])[0]["count(*)"] == 2


def test_a_released_collection_says_so_also_where_its_index_is_gone(tmp_path: Path) -> None:
    with lite.connect(tmp_path / "data") as client:
        filled()(client)
        client.release_collection("c")
        client.drop_index("c", "v")
        with pytest.raises(MilvusException, match="not loaded") as raised:
            search(client)
        assert raised.value.code == 101
