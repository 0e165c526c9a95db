"""What the systems are asked, area by area: right requests drawn at random, and wrong ones of each kind."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from pymilvus import DataType, MilvusClient

from tests.differential import filters, samples
from tests.differential.requests import Request, description, index, nothing, query, search

# Any below: requests are pymilvus' own, which has no types.
Walk = Iterator[Request]
ROWS = 400
PREFIX = "diff"
FLAT: dict[str, dict[str, Any]] = {
    "L2": {"index_type": "FLAT", "params": {}},
    "IP": {"index_type": "IVF_FLAT", "params": {"nlist": 8}},
    "COSINE": {"index_type": "HNSW", "params": {"M": 16, "efConstruction": 200}},
}
NEWER = (
    's like "%b"',
    's like "%b%"',
    's like "b_"',
    "array_length(ai) > 1",
    'array_length(j["l"]) <= 2',
    'array_length(j["l"]) == 0',
    'exists j["k"]',
)
"""Filters that 2.3.5 refuses, or answers in a way that later versions have left."""
SEARCHED: dict[str, dict[str, Any]] = {"L2": {}, "IP": {"nprobe": 8}, "COSINE": {"ef": ROWS}}


def ddl(area: str, call: str, title: str = "", **arguments: Any) -> Request:
    return Request(area, call, arguments, nothing, title=title)


def describe(area: str, name: str) -> Request:
    return Request(area, "describe_collection", {"collection_name": name}, description)


def collections(random: Random, count: int) -> Walk:
    area = "collections"
    for number in range(max(2, count // 40)):
        name = f"{PREFIX}_c{number}"
        kind = random.choice((DataType.FLOAT_VECTOR, DataType.BINARY_VECTOR))
        schema = samples.schema(vector=kind, dynamic=random.random() < 0.5)
        more: dict[str, Any] = {
            "num_shards": random.randrange(1, 4),
            "consistency_level": random.choice(("Strong", "Session", "Bounded", "Eventually")),
        }
        yield ddl(area, "create_collection", collection_name=name, schema=schema, **more)
        yield Request(area, "has_collection", {"collection_name": name})
        yield describe(area, name)
        yield ddl(area, "create_collection", "the same again", collection_name=name, schema=schema, **more)
        other = samples.schema(vector=kind)
        other.add_field("more", DataType.INT64)
        yield ddl(area, "create_collection", "the name with other fields", collection_name=name, schema=other)
        ttl = {"collection.ttl.seconds": random.choice((60, 3600))}
        yield ddl(area, "alter_collection_properties", collection_name=name, properties=ttl)
        yield describe(area, name)
        renamed = f"{name}_r"
        yield ddl(area, "rename_collection", old_name=name, new_name=renamed)
        for asked in (name, renamed):
            yield Request(area, "has_collection", {"collection_name": asked})
            yield describe(area, asked)
        yield ddl(area, "rename_collection", "one that is missing", old_name=name, new_name=f"{name}_x")
        yield ddl(area, "rename_collection", "to itself", old_name=renamed, new_name=renamed)
        yield Request(area, "list_collections", {}, sorted)
        yield ddl(area, "drop_collection", collection_name=renamed)
        yield ddl(area, "drop_collection", "again", collection_name=renamed)
        yield Request(area, "has_collection", {"collection_name": renamed})


def aliases(random: Random, count: int) -> Walk:
    area, one, two = "aliases", f"{PREFIX}_a1", f"{PREFIX}_a2"
    yield from tables(area, (one, two))
    alias = f"{PREFIX}_alias"
    yield ddl(area, "create_alias", collection_name=one, alias=alias)
    yield ddl(area, "create_alias", "the same again", collection_name=one, alias=alias)
    yield ddl(area, "create_alias", "of another collection", collection_name=two, alias=alias)
    yield ddl(area, "create_alias", "a collection's name", collection_name=one, alias=two)
    yield ddl(area, "create_alias", "of a missing collection", collection_name="nope", alias="x")
    yield ddl(area, "create_alias", "a bad name", collection_name=one, alias="a b")
    yield describe(area, one)
    yield Request(area, "has_collection", {"collection_name": alias})
    yield ddl(area, "create_collection", "an alias' name", collection_name=alias, schema=small())
    yield ddl(area, "alter_alias", collection_name=two, alias=alias)
    yield describe(area, two)
    yield ddl(area, "alter_alias", "one that is missing", collection_name=two, alias="nope")
    yield ddl(area, "alter_alias", "to a missing collection", collection_name="nope", alias=alias)
    yield ddl(area, "drop_collection", "one that has an alias", collection_name=two)
    yield ddl(area, "drop_alias", alias=alias)
    yield ddl(area, "drop_alias", "again", alias=alias)
    for name in (one, two):
        yield ddl(area, "drop_collection", collection_name=name)


def partitions(random: Random, count: int) -> Walk:
    area, name = "partitions", f"{PREFIX}_p"
    yield from tables(area, (name,))
    of: dict[str, Any] = {"collection_name": name}
    for partition in ("p1", "p2"):
        yield ddl(area, "create_partition", **of, partition_name=partition)
    yield ddl(area, "create_partition", "the same again", **of, partition_name="p1")
    for wrong in ("a b", "", "x" * 300, "1st"):
        yield ddl(area, "create_partition", f"named {wrong[:9]!r}", **of, partition_name=wrong)
    yield Request(area, "list_partitions", of, sorted)
    for partition in ("p1", "_default", "nope"):
        yield Request(area, "has_partition", {**of, "partition_name": partition})
        yield ddl(area, "get_partition_stats", **of, partition_name=partition)
    yield ddl(area, "load_partitions", "without an index", **of, partition_names=["p1"])
    yield ddl(area, "create_index", "FLAT", **of, index_params=indexed("v", "FLAT", "L2"))
    yield ddl(area, "load_partitions", "a missing one", **of, partition_names=["nope"])
    for partition in ("p1", "p2"):
        data = [{"id": n, "v": samples.vector(random)} for n in range(20)]
        yield Request(area, "insert", {**of, "data": data, "partition_name": partition}, dict)
    data = [{"id": 1, "v": samples.vector(random)}]
    yield ddl(area, "insert", "into a missing one", **of, data=data, partition_name="nope")
    yield ddl(area, "load_partitions", **of, partition_names=["p1"])
    for partition in ("p1", "p2", "nope"):
        asked = {**of, "partition_name": partition}
        yield Request(area, "get_load_state", asked, lambda a: str(a["state"]))
        read = {**of, "partition_names": [partition], "consistency_level": "Strong"}
        yield query(area, **read, filter="id < 5", output_fields=["id"])
        yield search(area, **read, data=[samples.vector(random)], limit=5)
    yield query(area, **of, filter="id < 5", output_fields=["id"], consistency_level="Strong")
    yield ddl(area, "drop_partition", "a loaded one", **of, partition_name="p1")
    yield ddl(area, "drop_partition", "one that is not loaded", **of, partition_name="p2")
    yield ddl(area, "release_partitions", **of, partition_names=["p1"])
    yield ddl(area, "release_partitions", "a missing one", **of, partition_names=["nope"])
    for partition in ("p1", "_default", "nope"):
        yield ddl(area, "drop_partition", **of, partition_name=partition)
    yield Request(area, "list_partitions", of, sorted)
    yield ddl(area, "drop_collection", **of)


def indexes(random: Random, count: int) -> Walk:
    area, name = "indexes", f"{PREFIX}_i"
    yield ddl(area, "create_collection", collection_name=name, schema=samples.schema())
    of: dict[str, Any] = {"collection_name": name}
    read = {**of, "index_name": "x"}
    yield Request(area, "describe_index", read, index)
    right: tuple[tuple[str, dict[str, Any]], ...] = (
        ("FLAT", {}),
        ("IVF_FLAT", {"nlist": 16}),
        ("IVF_SQ8", {"nlist": 16}),
        ("IVF_PQ", {"nlist": 16, "m": 4, "nbits": 8}),
        ("HNSW", {"M": 8, "efConstruction": 64}),
        ("AUTOINDEX", {}),
    )
    for kind, params in right:
        metric = random.choice(("L2", "IP", "COSINE"))
        made = indexed("v", kind, metric, params, "x")
        yield ddl(area, "create_index", kind, **of, index_params=made)
        yield Request(area, "describe_index", read, index)
        yield ddl(area, "create_index", f"{kind} again", **of, index_params=made)
        changed = indexed("v", "FLAT" if kind != "FLAT" else "HNSW", "L2", {"M": 8, "efConstruction": 8}, "x")
        yield ddl(area, "create_index", f"another over {kind}", **of, index_params=changed)
        second = indexed("v", kind, metric, params, "y")
        yield ddl(area, "create_index", f"a second {kind}", **of, index_params=second)
        yield Request(area, "list_indexes", of, sorted)
        yield ddl(area, "drop_index", **read)
    yield ddl(area, "drop_index", "again", **read)
    wrong: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("v", "NOPE", "L2", {}),
        ("v", "HNSW", "L2", {"M": 0, "efConstruction": 8}),
        ("v", "HNSW", "L2", {"M": "many", "efConstruction": 8}),
        ("v", "HNSW", "L2", {"M": 100000, "efConstruction": 8}),
        ("v", "HNSW", "HAMMING", {"M": 8, "efConstruction": 8}),
        ("v", "HNSW", "NOPE", {"M": 8, "efConstruction": 8}),
        ("v", "IVF_FLAT", "L2", {"nlist": 0}),
        ("v", "IVF_FLAT", "L2", {"nlist": 1000000}),
        ("v", "IVF_PQ", "L2", {"nlist": 8, "m": 3, "nbits": 8}),
        ("v", "BIN_FLAT", "HAMMING", {}),
        ("v", "Trie", "", {}),
        ("nope", "FLAT", "L2", {}),
        ("s", "HNSW", "L2", {"M": 8, "efConstruction": 8}),
        ("j", "Trie", "", {}),
        ("i64", "Trie", "", {}),
        ("j", "STL_SORT", "", {}),
    )
    for field, kind, metric, params in wrong:
        told = f"{kind} {metric} {params} on {field}"
        yield ddl(area, "create_index", told, **of, index_params=indexed(field, kind, metric, params))
    for field, kind in (("s", "Trie"), ("i64", "STL_SORT"), ("b", ""), ("d", "")):
        yield ddl(
            area, "create_index", f"{kind} on {field}", **of, index_params=indexed(field, kind, name=field)
        )
        yield Request(area, "describe_index", {**of, "index_name": field}, index)
    yield ddl(area, "drop_collection", **of)


def loading(random: Random, count: int) -> Walk:
    area, name = "loading", f"{PREFIX}_l"
    yield from tables(area, (name,))
    of: dict[str, Any] = {"collection_name": name}
    state = Request(area, "get_load_state", of, lambda a: str(a["state"]))
    reads = [
        query(area, **of, filter="id < 5"),
        search(area, **of, data=[samples.vector(random)], limit=5),
    ]
    yield state
    yield from reads
    yield ddl(area, "load_collection", "without an index", **of)
    yield ddl(area, "create_index", "FLAT", **of, index_params=indexed("v", "FLAT", "L2", {}, "x"))
    for _ in range(2):
        yield ddl(area, "load_collection", **of)
        yield state
    yield from reads
    yield ddl(area, "drop_index", "of a loaded collection", **of, index_name="x")
    yield ddl(area, "load_collection", "with other replicas", **of, replica_number=2)
    yield ddl(area, "rename_collection", "a loaded one", old_name=name, new_name=name + "2")
    yield ddl(area, "rename_collection", "back", old_name=name + "2", new_name=name)
    for _ in range(2):
        yield ddl(area, "release_collection", **of)
        yield state
    yield from reads
    yield ddl(area, "drop_collection", **of)
    yield state
    for call in ("load_collection", "release_collection"):
        yield ddl(area, call, "a missing one", **of)


def writes(random: Random, count: int) -> Walk:
    area, name = "writes", f"{PREFIX}_w"
    yield from tables(area, (name,), ready=True)
    of: dict[str, Any] = {"collection_name": name}
    everything = {**of, "filter": "id >= -100", "output_fields": ["*"], "consistency_level": "Strong"}
    for _ in range(max(3, count // 25)):
        keys = random.sample(range(60), random.randrange(1, 8))
        data = [{"id": key, "v": samples.vector(random), "e": random.choice(samples.SMALL)} for key in keys]
        call = random.choice(("insert", "upsert", "delete", "delete"))
        if call == "delete" and random.random() < 0.5:
            yield Request(area, call, {**of, "ids": keys}, dict)
        elif call == "delete":
            yield Request(area, call, {**of, "filter": f"id in {keys}"}, dict)
        elif call == "insert":
            # Of keys that are there already Milvus keeps both rows; which of them a read shows is open.
            yield Request(area, "delete", {**of, "ids": keys}, dict)
            yield Request(area, call, {**of, "data": data}, dict)
        else:
            yield Request(area, call, {**of, "data": data}, dict)
        yield query(area, **everything)
        count_rows = {**of, "filter": "", "output_fields": ["count(*)"], "consistency_level": "Strong"}
        yield query(area, **count_rows)
    yield Request(area, "delete", {**of, "filter": "id > 3 and id < 20"}, nothing, title="by expression")
    yield query(area, **everything)
    yield ddl(area, "drop_collection", **of)


def tables(area: str, names: tuple[str, ...], *, ready: bool = False) -> Walk:
    """Collections of `small`; `ready`: indexed and loaded."""
    for name in names:
        yield ddl(area, "create_collection", collection_name=name, schema=small())
        if ready:
            made = indexed("v", "FLAT", "L2")
            yield ddl(area, "create_index", "FLAT", collection_name=name, index_params=made)
            yield ddl(area, "load_collection", collection_name=name)


def small() -> Any:
    made = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("v", DataType.FLOAT_VECTOR, dim=samples.DIM)
    return made


def indexed(
    field: str, kind: str, metric: str = "", params: dict[str, Any] | None = None, name: str = ""
) -> Any:
    made = MilvusClient.prepare_index_params()
    more: dict[str, Any] = {"metric_type": metric} if metric else {}
    made.add_index(field, index_type=kind, index_name=name, params=params or {}, **more)
    return made


def reads(random: Random, count: int) -> Walk:
    """Queries and searches of one set of rows under three metrics, some deleted, some replaced."""
    data = [samples.row(random, key) for key in range(ROWS)]
    replaced = [samples.row(random, key) for key in random.sample(range(ROWS), 40)]
    gone = random.sample(range(ROWS), 20)
    metrics = list(FLAT)
    for metric in metrics:
        of: dict[str, Any] = {"collection_name": f"{PREFIX}_r{metric}"}
        yield ddl("reads", "create_collection", **of, schema=samples.schema())
        yield Request("reads", "insert", {**of, "data": data}, dict)
        yield ddl("reads", "flush", **of)
        yield ddl(
            "reads",
            "create_index",
            metric,
            **of,
            index_params=indexed(
                "v", metric=metric, kind=FLAT[metric]["index_type"], params=FLAT[metric]["params"]
            ),
        )
        yield ddl("reads", "load_collection", **of)
        yield Request("reads", "upsert", {**of, "data": replaced}, dict)
        yield Request("reads", "delete", {**of, "ids": gone}, dict)
        # From here on nothing is written: what one Strong read has seen, all reads see.
        yield query("reads", **of, filter="", output_fields=["count(*)"], consistency_level="Strong")
    later: dict[str, Any] = {"consistency_level": "Eventually"}
    of = {"collection_name": f"{PREFIX}_rL2", **later}
    for _ in range(count):
        yield query("filters", **of, filter=filters.text(random), output_fields=["id"])
    for text in NEWER:
        yield query("filters", **of, filter=text, output_fields=["id"])
    for _ in range(count // 5):
        fields = random.sample(("b", "i8", "i32", "i64", "f", "d", "s", "j", "ai", "ws", "extra", "v"), 3)
        low = random.randrange(ROWS)
        yield query("outputs", **of, filter=f"{low} <= id < {low + 9}", output_fields=fields)
    yield query("outputs", **of, filter="id < 4", output_fields=["*"])
    for limit, offset in ((5, 0), (5, 10), (1, 379), (5, 379), (5, 5000), (16384, 0)):
        yield query("outputs", **of, filter="id >= 0", limit=limit, offset=offset, output_fields=["id"])
    for _ in range(count // 2):
        metric = random.choice(metrics)
        more: dict[str, Any] = {"limit": random.choice((1, 5, 20)), "search_params": parameters(metric)}
        if random.random() < 0.5:
            more["filter"] = filters.text(random)
        if random.random() < 0.3:
            more["offset"] = random.choice((1, 7))
        if random.random() < 0.3:
            more["output_fields"] = random.sample(("s", "j", "extra", "ai", "v", "f"), 2)
        if random.random() < 0.2 and metric == "L2":
            near = random.choice((0.5, 1.0))
            more["search_params"]["params"] |= {"radius": near + 1.0, "range_filter": near}
        vectors = [samples.vector(random) for _ in range(random.choice((1, 1, 3)))]
        yield search(
            "searches", collection_name=f"{PREFIX}_r{metric}", data=vectors, anns_field="v", **later, **more
        )
    for metric in metrics:
        yield ddl("reads", "drop_collection", collection_name=f"{PREFIX}_r{metric}")


def parameters(metric: str) -> dict[str, Any]:
    return {"metric_type": metric, "params": dict(SEARCHED[metric])}


def binary(random: Random, count: int) -> Walk:
    """Binary vectors, keys of text."""
    area = "binary"
    schema = MilvusClient.create_schema(auto_id=False)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=16)
    schema.add_field("v", DataType.BINARY_VECTOR, dim=32)
    data = [{"pk": f"k{key}", "v": samples.bits(random)} for key in range(200)]
    for metric in ("HAMMING", "JACCARD"):
        of: dict[str, Any] = {"collection_name": f"{PREFIX}_b{metric}"}
        yield ddl(area, "create_collection", **of, schema=schema)
        yield Request(area, "insert", {**of, "data": data}, dict)
        yield ddl(area, "create_index", metric, **of, index_params=indexed("v", "BIN_FLAT", metric))
        yield ddl(area, "load_collection", **of)
        yield Request(area, "delete", {**of, "ids": ["k1", "k2"]}, dict)
        yield query(area, **of, filter='pk like "k1%"', output_fields=["pk"], consistency_level="Strong")
        yield query(area, **of, filter='pk in ["k1", "k3"]', output_fields=["*"])
        for _ in range(max(3, count // 20)):
            asked = {"data": [samples.bits(random)], "limit": random.choice((1, 5, 20)), "anns_field": "v"}
            yield search(area, **of, **asked, search_params={"metric_type": metric})
        yield search(area, **of, data=[samples.bits(random)], limit=3, search_params={"metric_type": "L2"})
        yield search(area, **of, data=[samples.vector(random)], limit=3, anns_field="v")
        yield ddl(area, "drop_collection", **of)


WALKS: dict[str, Callable[[Random, int], Walk]] = {
    "collections": collections,
    "aliases": aliases,
    "partitions": partitions,
    "indexes": indexes,
    "loading": loading,
    "writes": writes,
    "reads": reads,
    "binary": binary,
}
