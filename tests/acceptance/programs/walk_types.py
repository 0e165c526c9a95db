"""Every data type from the client through storage, filter and search back to it.  usage: ADDRESS"""

import json
import sys
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient, MilvusException

ROWS, DIM = 1500, 16
NAME = "walk_types"
random = np.random.default_rng(5)
VECTORS = random.normal(size=(ROWS, DIM)).astype(np.float32)
WHOLE = random.integers(-128, 128, (ROWS, DIM)).astype(np.int8)
BITS = random.integers(0, 256, (ROWS, DIM // 8 * 4)).astype(np.uint8)
COLORS = ["red", "green", "blue", ""]


def narrowed(vectors: np.ndarray) -> np.ndarray:
    """The 16 upper bits of float32: bfloat16, cut off."""
    return (np.ascontiguousarray(vectors, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def widened(vectors: np.ndarray) -> np.ndarray:
    return (vectors.astype(np.uint32) << 16).view(np.float32)


def row(i: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": i,
        "f32": VECTORS[i],
        "f16": VECTORS[i].astype(np.float16).tobytes(),
        "bf16": narrowed(VECTORS[i]).tobytes(),
        "i8": WHOLE[i].tobytes(),
        "bits": BITS[i].tobytes(),
        "number": None if i % 5 == 0 else i % 700,
        "color": COLORS[i % 4],
        "flag": None if i % 7 == 0 else i % 2 == 0,
        "doc": None if i % 11 == 0 else {"k": i % 10, "s": f"v{i % 4}", "l": [i, i + 1], "n": {"x": i / 2}},
        "bools": [i % 2 == 0],
        "tiny": [i % 100, 7],
        "longs": None if i % 13 == 0 else [i, 1 << 40],
        "floats": [i / 2, 0.5],
        "texts": [f"t{i % 6}", "x"] if i % 3 else [],
        "free": i % 9,
    }
    if i % 4:
        made["filled"] = i
    return made


def brute(metric: str, query: np.ndarray, vectors: np.ndarray, k: int) -> np.ndarray:
    q, x = query.astype(np.float64), vectors.astype(np.float64)
    if metric == "L2":
        return np.sort(((x - q) ** 2).sum(1))[:k]
    if metric == "IP":
        return -np.sort(-(x @ q))[:k]
    if metric == "COSINE":
        return -np.sort(-(x @ q) / np.linalg.norm(x, axis=1) / np.linalg.norm(q))[:k]
    a, b = np.unpackbits(query), np.unpackbits(vectors, axis=1)
    if metric == "HAMMING":
        return np.sort((a != b).sum(1))[:k]
    return np.sort(1 - (a & b).sum(1) / (a | b).sum(1))[:k]


SEARCHES = [
    ("f32", "L2", VECTORS[3] + 0.1, VECTORS, None),
    ("f16", "COSINE", (VECTORS[3] + 0.1).astype(np.float16), VECTORS.astype(np.float16), None),
    ("bf16", "IP", narrowed(VECTORS[3] + 0.1), narrowed(VECTORS), widened),
    ("i8", "L2", WHOLE[3] // 2, WHOLE, None),
    ("bits", "HAMMING", BITS[3] ^ 1, BITS, None),
]
INDEXES = {
    "f32": ("IVF_SQ8", {"nlist": 8}),
    "f16": ("HNSW", {"M": 16, "efConstruction": 200}),
    "bf16": ("FLAT", {}),
    "i8": ("HNSW", {"M": 16, "efConstruction": 200}),
    "bits": ("BIN_IVF_FLAT", {"nlist": 8}),
    "number": ("STL_SORT", {}),
    "color": ("Trie", {}),
    "flag": ("BITMAP", {}),
    "longs": ("INVERTED", {}),
    "texts": ("BITMAP", {}),
    "filled": ("", {}),
    "doc": ("INVERTED", {"json_path": 'doc["k"]', "json_cast_type": "double"}),
    "free": ("INVERTED", {"json_path": "free", "json_cast_type": "double"}),
}


def filters() -> list[tuple[str, list[int]]]:
    rows = [row(i) for i in range(ROWS)]
    filled = [i if i % 4 else 42 for i in range(ROWS)]

    def where(condition: Any) -> list[int]:
        return [r["id"] for r in rows if condition(r)]

    def given(name: str, condition: Any) -> list[int]:
        return where(lambda r: r[name] is not None and condition(r[name]))

    return [
        ("number == 17", given("number", lambda v: v == 17)),
        ("number in [1, 2, 3, 9999]", given("number", lambda v: v in (1, 2, 3))),
        ("690 <= number < 695", given("number", lambda v: 690 <= v < 695)),
        ("number != 17", given("number", lambda v: v != 17)),
        ("number > 100000", []),
        ("number is null", where(lambda r: r["number"] is None)),
        ("number is not null and flag is null", where(lambda r: r["number"] is not None and r["flag"] is None)),
        ('color == "red"', where(lambda r: r["color"] == "red")),
        ('color like "g%"', where(lambda r: r["color"] == "green")),
        ("empty(color)", where(lambda r: not r["color"])),
        ('starts_with(color, "bl")', where(lambda r: r["color"] == "blue")),
        ("flag == true", given("flag", lambda v: v)),
        ("not (flag == true)", given("flag", lambda v: not v)),
        ("doc is null", where(lambda r: r["doc"] is None)),
        ('doc["k"] == 3', given("doc", lambda v: v["k"] == 3)),
        ('doc["k"] != 3', given("doc", lambda v: v["k"] != 3)),
        ('doc["s"] in ["v1", "v2"]', given("doc", lambda v: v["s"] in ("v1", "v2"))),
        ('doc["n"]["x"] > 700', given("doc", lambda v: v["n"]["x"] > 700)),
        ('json_contains(doc["l"], 17)', given("doc", lambda v: 17 in v["l"])),
        ('doc["l"][1] == 18', given("doc", lambda v: v["l"][1] == 18)),
        ('array_length(doc["l"]) == 2', given("doc", lambda v: True)),
        ('exists doc["zzz"]', []),
        ("array_contains(longs, 17)", given("longs", lambda v: 17 in v)),
        ("array_contains_all(longs, [18, 1099511627776])", given("longs", lambda v: 18 in v)),
        ('array_contains_any(texts, ["t1", "t4"])', given("texts", lambda v: "t1" in v or "t4" in v)),
        ("longs[0] > 1490", given("longs", lambda v: v[0] > 1490)),
        ("array_length(texts) == 0", where(lambda r: not r["texts"])),
        ("tiny[1] == 7 and bools[0] == true", where(lambda r: r["bools"][0])),
        ("floats[0] < 3", where(lambda r: r["floats"][0] < 3)),
        ("filled == 42", [i for i in range(ROWS) if filled[i] == 42]),
        ("free == 4", where(lambda r: r["free"] == 4)),
    ]


def schema_of(client: MilvusClient) -> Any:
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("f32", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("f16", DataType.FLOAT16_VECTOR, dim=DIM)
    schema.add_field("bf16", DataType.BFLOAT16_VECTOR, dim=DIM)
    schema.add_field("i8", DataType.INT8_VECTOR, dim=DIM)
    schema.add_field("bits", DataType.BINARY_VECTOR, dim=8 * BITS.shape[1])
    schema.add_field("number", DataType.INT64, nullable=True)
    schema.add_field("color", DataType.VARCHAR, max_length=32)
    schema.add_field("flag", DataType.BOOL, nullable=True)
    schema.add_field("doc", DataType.JSON, nullable=True)
    schema.add_field("filled", DataType.INT32, nullable=True, default_value=42)
    for name, element in (
        ("bools", DataType.BOOL),
        ("tiny", DataType.INT8),
        ("longs", DataType.INT64),
        ("floats", DataType.FLOAT),
    ):
        schema.add_field(
            name, DataType.ARRAY, element_type=element, max_capacity=8, nullable=name == "longs"
        )
    schema.add_field(
        "texts", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=16
    )
    return schema


def check(client: MilvusClient, step: str) -> None:
    for text, expected in filters():
        found = sorted(r["id"] for r in client.query(NAME, filter=text, output_fields=["id"]))
        assert found == expected, f"{step}: {text}: {len(found)} rows instead of {len(expected)}"
        assert client.query(NAME, filter=text, output_fields=["count(*)"])[0]["count(*)"] == len(expected)
    for field, metric, query, vectors, widen in SEARCHES:
        data = query.tobytes() if field in ("bits", "i8", "bf16") else query
        if field in ("i8", "bf16"):
            data = query if field == "i8" else data
        hits = client.search(
            NAME, [data], limit=10, anns_field=field, search_params={"params": {"ef": 400, "nprobe": 8}}
        )[0]
        q, x = (query, vectors) if widen is None else (widen(query), widen(vectors))
        tolerance = 0.05 if field == "f32" and "index" in step else 1e-3
        np.testing.assert_allclose(
            [h["distance"] for h in hits], brute(metric, q, x, 10), rtol=tolerance, err_msg=f"{step} {field}"
        )
    got = client.query(NAME, ids=[8, 9, 12], output_fields=["*"])
    for read in got:
        i = read["id"]
        expected = row(i)
        np.testing.assert_array_equal(np.asarray(read["f32"], np.float32), VECTORS[i])
        for name in ("f16", "bf16", "i8", "bits"):
            value = read[name]
            value = value[0] if isinstance(value, list) and len(value) == 1 else value
            raw = value if isinstance(value, bytes) else np.asarray(value).tobytes()
            assert raw == expected[name], name
        for name in ("number", "color", "flag", "doc", "bools", "tiny", "longs", "floats", "texts", "free"):
            value = read[name]
            value = json.loads(value) if name == "doc" and isinstance(value, str) else value
            assert (list(value) if isinstance(expected[name], list) else value) == expected[name], name
        assert read["filled"] == expected.get("filled", 42)


def main(address: str) -> None:
    client = MilvusClient(uri=f"http://{address}")
    if client.has_collection(NAME):
        client.drop_collection(NAME)
    client.create_collection(NAME, schema=schema_of(client), consistency_level="Strong")
    metrics = {field: metric for field, metric, *_ in SEARCHES}
    vectors = client.prepare_index_params()
    for field, (kind, params) in INDEXES.items():
        if field in metrics and field != "bits":
            vectors.add_index(field, index_type=kind, metric_type=metrics[field], params=params)
    client.create_index(NAME, vectors)
    try:
        client.load_collection(NAME)
        raise AssertionError("loaded without an index on every vector field")
    except MilvusException as error:
        assert "bits" in str(error)
    binary = client.prepare_index_params()
    binary.add_index("bits", index_type="BIN_IVF_FLAT", metric_type="HAMMING", params={"nlist": 8})
    client.create_index(NAME, binary)
    client.load_collection(NAME)
    client.insert(NAME, [row(i) for i in range(ROWS)])
    check(client, "growing")
    client.flush(NAME)
    check(client, "sealed, index")
    scalars = client.prepare_index_params()
    for field, (kind, params) in INDEXES.items():
        if field not in metrics:
            scalars.add_index(field, index_type=kind, index_name=f"on_{field}", params=params)
    client.create_index(NAME, scalars)
    for field in INDEXES:
        if field not in metrics:
            state = client.describe_index(NAME, f"on_{field}")
            assert int(state["pending_index_rows"]) == 0, state
    client.release_collection(NAME)
    client.load_collection(NAME)
    check(client, "scalar index")
    client.upsert(NAME, [{**row(17), "number": None, "longs": None, "doc": {"k": 100}}])
    found = client.query(NAME, filter='number is null and doc["k"] == 100', output_fields=["longs"])
    assert [r["longs"] for r in found] == [None], found
    client.drop_collection(NAME)
    print("PASS")


main(sys.argv[1])
