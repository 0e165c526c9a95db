"""What searches and queries of an application ask for, through the real client on Lite."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusException

from elanus import lite

ROWS, DIM = 600, 8
SERVED_SECONDS = 30
rng = np.random.default_rng(5)
VECTORS = rng.standard_normal((ROWS, DIM)).astype(np.float32)
QUERIES = rng.standard_normal((2, DIM)).astype(np.float32)
INDEXES: list[tuple[str, dict[str, int]]] = [
    ("FLAT", {}),
    ("IVF_FLAT", {"nprobe": 128}),
    ("HNSW", {"ef": 700}),
]


def row(i: int) -> dict[str, Any]:
    vector = VECTORS[i].tolist()
    return {
        "id": i,
        "vector": vector,
        "number": i % 7,
        "colour": ["red", "green", "blue"][i % 3],
        "more": i % 11,
    }


def scores(metric: str, query: np.ndarray) -> np.ndarray:
    wide, asked = VECTORS.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return np.asarray(((wide - asked) ** 2).sum(axis=1))
    dots = wide @ asked
    return np.asarray(dots if metric == "IP" else dots / np.linalg.norm(wide, axis=1) / np.linalg.norm(asked))


def order(metric: str, query: np.ndarray, keep: np.ndarray | None = None) -> list[int]:
    cost = scores(metric, query) * (1 if metric == "L2" else -1)
    best = np.argsort(cost, kind="stable")
    return [int(i) for i in best if keep is None or keep[i]]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with lite.connect(tmp_path_factory.mktemp("reads")) as connected:
        for index, _ in INDEXES:
            for metric in ("L2", "IP", "COSINE"):
                make(connected, f"{index}_{metric}", index, metric)
        yield connected


def make(client: Any, name: str, index: str, metric: str) -> None:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("number", DataType.INT64)
    schema.add_field("colour", DataType.VARCHAR, max_length=10)
    params = client.prepare_index_params()
    params.add_index("vector", index_type=index, metric_type=metric, params={})
    client.create_collection(
        name, schema=schema, index_params=params, consistency_level="Strong", num_shards=2
    )
    client.insert(name, [row(i) for i in range(400)])
    client.flush(name)
    client.insert(name, [row(i) for i in range(400, ROWS)])


def ids(hits: Any) -> list[int]:
    return [hit["id"] for hit in hits]


@pytest.mark.parametrize("metric", ["L2", "IP", "COSINE"])
@pytest.mark.parametrize(("index", "params"), INDEXES)
def test_a_range_holds_what_lies_between_its_ends(
    client: Any, index: str, params: dict[str, int], metric: str
) -> None:
    name, [query, _] = f"{index}_{metric}", QUERIES
    wanted = order(metric, query)
    values = scores(metric, query)[wanted]
    far, near = float(values[40] + values[41]) / 2, float(values[2] + values[3]) / 2
    for asked, limit, expected in (
        ({"radius": far, "range_filter": near}, 100, wanted[3:41]),
        ({"radius": far, "range_filter": near}, 10, wanted[3:13]),
        ({"radius": far}, 100, wanted[:41]),
    ):
        found = client.search(
            name,
            [query.tolist()],
            limit=limit,
            search_params={"metric_type": metric, "params": params | asked},
        )[0]
        assert ids(found) == expected
        np.testing.assert_allclose(
            [h["distance"] for h in found], scores(metric, query)[ids(found)], rtol=1e-4
        )
    red = np.arange(ROWS) % 3 == 0
    found = client.search(
        name,
        [query.tolist()],
        limit=100,
        filter='colour == "red"',
        search_params={"metric_type": metric, "params": params | {"radius": far, "range_filter": near}},
    )[0]
    assert ids(found) == [i for i in wanted[3:41] if red[i]]


def test_scores_are_rounded_to_the_decimals_asked_for(client: Any) -> None:
    for decimals in (0, 2, 6):
        [found] = client.search("FLAT_L2", [QUERIES[0].tolist()], limit=5, round_decimal=decimals)
        exact = scores("L2", QUERIES[0])[ids(found)]
        np.testing.assert_allclose([h["distance"] for h in found], np.round(exact, decimals), rtol=1e-5)


def test_a_search_by_keys_searches_for_their_vectors(client: Any) -> None:
    found = client.search("HNSW_L2", ids=[450, 7], limit=3, output_fields=["colour"])
    assert [ids(hits) for hits in found] == [order("L2", VECTORS[i])[:3] for i in (450, 7)]
    assert found[0][0]["entity"]["colour"] == "red"
    with pytest.raises(MilvusException, match=r"ids \[999999\] are not in collection"):
        client.search("HNSW_L2", ids=[7, 999_999], limit=3)
    with pytest.raises(MilvusException, match="primary key 'id' is INT64"):
        client.search("HNSW_L2", ids=["a"], limit=3)


@pytest.mark.parametrize(("index", "params"), INDEXES)
def test_groups_come_by_their_best_hits(client: Any, index: str, params: dict[str, int]) -> None:
    asked = {
        "limit": 4,
        "group_by_field": "number",
        "group_size": 3,
        "strict_group_size": True,
        "search_params": {"params": params},
        "output_fields": ["number"],
    }
    for offset in (0, 2):
        found = client.search(f"{index}_COSINE", QUERIES.tolist(), offset=offset, **asked)
        for hits, query in zip(found, QUERIES, strict=True):
            groups: dict[int, list[int]] = {}
            for i in order("COSINE", query):
                groups.setdefault(i % 7, []).append(i)
            chosen = list(groups.values())[offset : offset + 4]
            assert ids(hits) == [i for group in chosen for i in group[:3]]
            assert [hit["entity"]["number"] for hit in hits] == [i % 7 for i in ids(hits)]
    found = client.search(f"{index}_COSINE", [QUERIES[0].tolist()], limit=3, group_by_field="colour")
    assert len({i % 3 for i in ids(found[0])}) == 3
    with pytest.raises(MilvusException, match="'vector' is FLOAT_VECTOR; it must be one of"):
        client.search(f"{index}_COSINE", [QUERIES[0].tolist()], limit=3, group_by_field="vector")


def test_growing_rows_can_be_ignored(client: Any) -> None:
    make(client, "growing", "HNSW", "L2")
    until = time.monotonic() + SERVED_SECONDS
    # What was flushed counts as growing until it is served from its segments.
    while len(client.query("growing", "id >= 0", ["id"], ignore_growing=True)) < 400:
        assert time.monotonic() < until
        time.sleep(0.02)
    nearest = order("L2", QUERIES[0])
    for ignore, expected in ((False, nearest), (True, [i for i in nearest if i < 400])):
        asked = {"params": {"ef": 700}, "ignore_growing": ignore}
        [found] = client.search("growing", [QUERIES[0].tolist()], limit=ROWS, search_params=asked)
        assert ids(found) == expected
    rows = client.query("growing", "id >= 390", ["id"], ignore_growing=True)
    assert [r["id"] for r in rows] == list(range(390, 400))


def test_a_count_keeps_to_its_filter_and_partitions(client: Any) -> None:
    def count(**more: Any) -> int:
        return int(client.query("FLAT_IP", output_fields=["count(*)"], **more)[0]["count(*)"])

    client.create_partition("FLAT_IP", "other")
    client.insert("FLAT_IP", [row(i) | {"id": 1000 + i} for i in range(30)], partition_name="other")
    assert count(filter="") == ROWS + 30
    assert count(filter="id >= 0", partition_names=["other"]) == 30
    assert count(filter="number == 3", partition_names=["_default"]) == sum(i % 7 == 3 for i in range(ROWS))
    found = client.search(
        "FLAT_IP", [QUERIES[0].tolist()], limit=5, partition_names=["other"], output_fields=["id"]
    )[0]
    assert ids(found) == [1000 + i for i in order("IP", QUERIES[0]) if i < 30][:5]
    client.release_partitions("FLAT_IP", ["other"])
    client.drop_partition("FLAT_IP", "other")


def test_a_page_of_a_query_is_cut_in_the_order_of_the_keys(client: Any) -> None:
    rows = client.query("HNSW_IP", "number == 2", ["id"], limit=5, offset=10)
    assert [r["id"] for r in rows] == [i for i in range(ROWS) if i % 7 == 2][10:15]
    assert [r["id"] for r in client.get("HNSW_IP", [500, 3], output_fields=["id"])] == [3, 500]
    assert len(client.query("HNSW_IP", "", ["id"], limit=7)) == 7


def test_output_fields_are_all_some_dynamic_or_none(client: Any) -> None:
    for sent in ("query", "search"):

        def ask(fields: list[str], sent: str = sent) -> Any:
            if sent == "query":
                return client.query("FLAT_L2", "id == 5", fields)[0]
            return client.search("FLAT_L2", [VECTORS[5].tolist()], limit=1, output_fields=fields)[0][0][
                "entity"
            ]

        everything = ask(["*"])
        assert set(everything) >= {"id", "vector", "number", "colour", "more"}
        np.testing.assert_array_equal(np.float32(everything["vector"]), VECTORS[5])
        assert ask(["more"])["more"] == 5
        assert "colour" not in ask(["more", "vector"])
        assert ask(['$meta["more"]'])["more"] == 5
        assert ask(["$meta"])["more"] == 5


@pytest.mark.parametrize(
    ("expression", "values", "keep"),
    [
        ("number == {a}", {"a": 3}, lambda i: i % 7 == 3),
        ("colour == {a}", {"a": "red"}, lambda i: i % 3 == 0),
        ("id in {a}", {"a": [1, 2, 77]}, lambda i: i in (1, 2, 77)),
        ("colour in {a}", {"a": ["red", "blue"]}, lambda i: i % 3 != 1),
        ("{a} <= id < {b}", {"a": 5, "b": 9}, lambda i: 5 <= i < 9),
        ("more == {a}", {"a": 4}, lambda i: i % 11 == 4),
        ("more > {a}", {"a": 2.5}, lambda i: i % 11 > 2.5),
        ("colour like {a}", {"a": "gr%"}, lambda i: i % 3 == 1),
        ("more in {a}", {"a": [1, 10]}, lambda i: i % 11 in (1, 10)),
        ("number in {a} and not (id > {b})", {"a": [], "b": 100}, lambda i: False),
    ],
)
def test_values_of_a_template_stand_for_themselves(
    client: Any, expression: str, values: dict[str, Any], keep: Any
) -> None:
    rows = client.query("FLAT_L2", expression, ["id"], filter_params=values)
    assert [r["id"] for r in rows] == [i for i in range(ROWS) if keep(i)]
    asked = client.search("FLAT_L2", [QUERIES[0].tolist()], limit=4, filter=expression, filter_params=values)
    wanted = order("L2", QUERIES[0], np.array([bool(keep(i)) for i in range(ROWS)]))
    assert ids(asked[0]) == wanted[:4]


@pytest.mark.parametrize("level", ["Strong", "Session", "Bounded", "Eventually"])
def test_every_level_answers_and_a_client_reads_what_it_wrote(client: Any, level: str) -> None:
    client.upsert("FLAT_COSINE", [row(0)])
    rows = client.query("FLAT_COSINE", "id < 3", ["id"], consistency_level=level)
    assert [r["id"] for r in rows] == [0, 1, 2]


def test_a_search_of_what_is_not_loaded_says_so_also_where_an_index_is_missing(client: Any) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection("bare", schema=schema)
    with pytest.raises(MilvusException, match=r"not loaded.*has no index") as caught:
        client.search("bare", data=[[0.0] * DIM], limit=1)
    assert caught.value.code == 101
