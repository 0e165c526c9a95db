"""Requests that are wrong, one kind each."""

from collections.abc import Iterator
from random import Random
from typing import Any

from pymilvus import DataType
from pymilvus.grpc_gen import milvus_pb2, schema_pb2

from tests.differential import samples
from tests.differential.requests import Request, nothing, query, search
from tests.differential.walks import PREFIX, ddl, indexed, tables

# Any below: requests are pymilvus' own, which has no types.
AREA = "mistakes"
# No division by zero: 2.3.5 dies of it.
EXPRESSIONS = (
    "id",
    "id ==",
    "id == 1 and",
    "nope == 1",
    "id == 'a'",
    "s == 1",
    "s > 1",
    "b > true",
    "b == 1",
    "id in 3",
    'id in ["a"]',
    's in [1, "a"]',
    "id like 'a%'",
    "id = 1",
    "id + 1",
    "not id",
    "-id > 3",
    "i8 % 2.5 == 1",
    "f % 2 == 1",
    "v == 1",
    "v in [1]",
    "j == 1",
    "j > 'a'",
    "ai == 1",
    "ai > 1",
    'ai["k"] == 1',
    'ai[0] == "a"',
    "ai[-1] == 1",
    "array_contains(ai, 'a')",
    "array_contains(id, 1)",
    "array_contains_all(ai, 1)",
    "array_length(id) == 1",
    "array_length(ai) == 'a'",
    "json_contains(id, 1)",
    "json_contains_all(j['l'], 1)",
    "exists id",
    "exists s",
    "1 < id > 0",
    "1 == 1",
    "true",
    "1",
    "'a'",
    "(id == 1",
    "id == 1)",
    "id == 99999999999999999999",
    "i8 == 1000",
    "i8 == 1.5",
    "id << 1 == 2",
    "nope(id)",
    "s like 5",
    's like "a" and',
    "id == {x}",
    "id not 3",
    "id is null",
    "null == id",
    "",
)


def mistakes(random: Random, count: int) -> Iterator[Request]:
    yield from names()
    yield from schemas()
    name = f"{PREFIX}_m"
    yield ddl(AREA, "create_collection", collection_name=name, schema=samples.schema(dynamic=False))
    yield ddl(AREA, "create_index", "L2", collection_name=name, index_params=indexed("v", "FLAT", "L2"))
    yield ddl(AREA, "load_collection", collection_name=name)
    data = [samples.row(random, number) for number in range(20)]
    for made in data:
        made.pop("extra", None)
    yield Request(AREA, "insert", {"collection_name": name, "data": data}, dict)
    yield query(AREA, collection_name=name, filter="id >= 0", limit=1, consistency_level="Strong")
    yield from filters(name)
    yield from queries(name)
    yield from searches(random, name)
    yield from deletes(name)
    yield ddl(AREA, "drop_collection", collection_name=name)
    name = f"{PREFIX}_mi"
    yield from tables(AREA, (name,), ready=True)
    yield from inserts(name)
    yield ddl(AREA, "drop_collection", collection_name=name)
    yield from missing(random)


def names() -> Iterator[Request]:
    for wrong in ("", "1st", "a b", "a-b", "ä", "$x", "x" * 256, "_ok", "x" * 255):
        schema = schema_pb2.CollectionSchema(name=wrong, fields=[key(), vector()])
        yield create(wrong, schema, f"a collection named {wrong[:12]!r} ({len(wrong)} long)")
    for wrong in ("", "1st", "a b", "$meta", "x" * 256, "RowID", "and"):
        schema = schema_pb2.CollectionSchema(name=f"{PREFIX}_x", fields=[key(), vector(), plain(wrong)])
        yield create(f"{PREFIX}_x", schema, f"a field named {wrong[:12]!r} ({len(wrong)} long)")
        yield ddl(AREA, "drop_collection", "x", collection_name=f"{PREFIX}_x")


def key(**more: Any) -> Any:
    return schema_pb2.FieldSchema(name="id", is_primary_key=True, data_type=DataType.INT64, **more)


def vector(name: str = "v", dim: str | None = "4", kind: int = DataType.FLOAT_VECTOR) -> Any:
    made = schema_pb2.FieldSchema(name=name, data_type=kind)
    if dim is not None:
        made.type_params.add(key="dim", value=dim)
    return made


def plain(name: str, kind: int = DataType.INT64, **params: str) -> Any:
    made = schema_pb2.FieldSchema(name=name, data_type=kind)
    for param, value in params.items():
        made.type_params.add(key=param, value=value)
    return made


def array(element: int, **params: str) -> Any:
    made = plain("a", DataType.ARRAY, **params)
    made.element_type = element
    return made


def create(name: str, schema: Any, title: str, **more: Any) -> Request:
    message = milvus_pb2.CreateCollectionRequest(
        collection_name=name, schema=schema.SerializeToString(), **more
    )
    return Request(AREA, "CreateCollection", view=nothing, message=message, title=title)


def schemas() -> Iterator[Request]:
    second = key()
    second.name = "id2"
    floating = key()
    floating.data_type = DataType.FLOAT
    text = key()
    text.data_type = DataType.VARCHAR
    automatic = plain("x")
    automatic.autoID = True
    untyped = plain("x", 0)
    unknown = plain("x", 77)
    for title, fields in (
        ("no field", []),
        ("no key", [vector()]),
        ("two keys", [key(), second, vector()]),
        ("a key of floats", [floating, vector()]),
        ("a key of text without max_length", [text, vector()]),
        ("no vector", [key(), plain("x")]),
        ("a field's name twice", [key(), vector(), plain("x"), plain("x")]),
        ("a field of no type", [key(), vector(), untyped]),
        ("a field of an unknown type", [key(), vector(), unknown]),
        ("a dimension of 0", [key(), vector(dim="0")]),
        ("a dimension of -1", [key(), vector(dim="-1")]),
        ("a dimension of 'x'", [key(), vector(dim="x")]),
        ("a dimension of 32769", [key(), vector(dim="32769")]),
        ("no dimension", [key(), vector(dim=None)]),
        ("a binary dimension of 12", [key(), vector(dim="12", kind=DataType.BINARY_VECTOR)]),
        ("text without max_length", [key(), vector(), plain("x", DataType.VARCHAR)]),
        ("text of max_length 0", [key(), vector(), plain("x", DataType.VARCHAR, max_length="0")]),
        ("text of max_length 65536", [key(), vector(), plain("x", DataType.VARCHAR, max_length="65536")]),
        ("an array without max_capacity", [key(), vector(), array(DataType.INT64)]),
        ("an array of capacity 5000", [key(), vector(), array(DataType.INT64, max_capacity="5000")]),
        ("an array of nothing", [key(), vector(), array(0, max_capacity="5")]),
        ("an array of JSON", [key(), vector(), array(DataType.JSON, max_capacity="5")]),
        ("an array of text without max_length", [key(), vector(), array(DataType.VARCHAR, max_capacity="5")]),
        ("automatic values of what is no key", [key(), vector(), automatic]),
        ("65 fields", [key(), vector(), *(plain(f"f{n}") for n in range(63))]),
    ):
        schema = schema_pb2.CollectionSchema(name=f"{PREFIX}_x", fields=fields)
        yield create(f"{PREFIX}_x", schema, title)
        yield ddl(AREA, "drop_collection", "x", collection_name=f"{PREFIX}_x")
    other = schema_pb2.CollectionSchema(name="y", fields=[key(), vector()])
    yield create(f"{PREFIX}_x", other, "another name in the schema")
    good = schema_pb2.CollectionSchema(name=f"{PREFIX}_x", fields=[key(), vector()])
    for title, more in (("17 shards", {"shards_num": 17}), ("-1 shards", {"shards_num": -1})):
        yield create(f"{PREFIX}_x", good, title, **more)
        yield ddl(AREA, "drop_collection", "x", collection_name=f"{PREFIX}_x")
    message = milvus_pb2.CreateCollectionRequest(collection_name="x", schema=b"\xff\xff")
    yield Request(AREA, "CreateCollection", message=message, title="a schema that is no message")


def filters(name: str) -> Iterator[Request]:
    for text in EXPRESSIONS:
        yield query(AREA, collection_name=name, filter=text, output_fields=["id"])


def queries(name: str) -> Iterator[Request]:
    good = {"collection_name": name, "filter": "id > 0"}
    for more in (
        {"output_fields": ["nope"]},
        {"output_fields": ["count(*)"], "limit": 5},
        {"limit": 0},
        {"limit": -1},
        {"limit": 16385},
        {"limit": 10, "offset": 16380},
        {"limit": 10, "offset": -1},
        {"partition_names": ["nope"]},
    ):
        yield query(AREA, **good, **more)


def searches(random: Random, name: str) -> Iterator[Request]:
    good: dict[str, Any] = {
        "collection_name": name,
        "data": [samples.vector(random)],
        "anns_field": "v",
        "limit": 3,
    }
    for more in (
        {"data": [[0.5] * 7]},
        {"data": [[0.5] * 16]},
        {"data": [b"\x00"]},
        {"limit": 0},
        {"limit": -1},
        {"limit": 16385},
        {"limit": 10, "offset": 16380},
        {"offset": -1},
        {"anns_field": "nope"},
        {"anns_field": "s"},
        {"anns_field": ""},
        {"output_fields": ["nope"]},
        {"partition_names": ["nope"]},
        {"filter": "nope > 1"},
        {"search_params": {"metric_type": "IP"}},
        {"search_params": {"metric_type": "NOPE"}},
        {"search_params": {"metric_type": "L2", "params": {"radius": "x"}}},
        {"search_params": {"metric_type": "L2", "params": {"radius": 1.0, "range_filter": 2.0}}},
        {"round_decimal": 7},
        {"round_decimal": -2},
        {"group_by_field": "nope"},
    ):
        told = ", ".join(f"{k}={v!r}" for k, v in more.items())
        asked = search(AREA, **(good | more))
        yield Request(AREA, "search", asked.arguments, asked.view, asked.same, title=told)


def deletes(name: str) -> Iterator[Request]:
    for text in ("", "id >", "nope == 1", "id > 3", "s == 'a'"):
        message = milvus_pb2.DeleteRequest(collection_name=name, expr=text)
        yield Request(AREA, "Delete", view=nothing, message=message, title=repr(text))


def inserts(name: str) -> Iterator[Request]:
    # Text for keys is not among them: 2.3.5 takes it, and dies of it.
    def keys(count: int = 2) -> Any:
        made = schema_pb2.FieldData(type=DataType.INT64, field_name="id")
        made.scalars.long_data.data.extend(range(count))
        return made

    def vectors(count: int = 2, dim: int = samples.DIM, name: str = "v") -> Any:
        made = schema_pb2.FieldData(type=DataType.FLOAT_VECTOR, field_name=name)
        made.vectors.dim = dim
        made.vectors.float_vector.data.extend([0.5] * (count * dim))
        return made

    bad = vectors()
    bad.vectors.float_vector.data[0] = float("nan")
    infinite = vectors()
    infinite.vectors.float_vector.data[0] = float("inf")
    bits = schema_pb2.FieldData(type=DataType.BINARY_VECTOR, field_name="v")
    bits.vectors.dim, bits.vectors.binary_vector = 8, b"\x00\x00"
    for title, rows, fields in (
        ("right", 2, [keys(), vectors()]),
        ("no rows", 0, []),
        ("no columns", 2, []),
        ("a column less", 2, [keys()]),
        ("no key", 2, [vectors()]),
        ("a column more", 2, [keys(), vectors(), vectors(name="w")]),
        ("a column twice", 2, [keys(), keys(), vectors()]),
        ("another dimension", 2, [keys(), vectors(dim=4)]),
        ("fewer vectors", 2, [keys(), vectors(1)]),
        ("more keys", 2, [keys(3), vectors()]),
        ("another number of rows", 3, [keys(), vectors()]),
        ("bits for floats", 2, [keys(), bits]),
        ("a NaN", 2, [keys(), bad]),
        ("an infinity", 2, [keys(), infinite]),
    ):
        for call, message in (("Insert", milvus_pb2.InsertRequest), ("Upsert", milvus_pb2.UpsertRequest)):
            request = message(collection_name=name, num_rows=rows, fields_data=fields)
            yield Request(AREA, call, view=nothing, message=request, title=title)


def missing(random: Random) -> Iterator[Request]:
    of: dict[str, Any] = {"collection_name": "nope"}
    data = [{"id": 1, "v": samples.vector(random)}]
    yield ddl(AREA, "describe_collection", **of)
    yield Request(AREA, "has_collection", of)
    yield ddl(AREA, "insert", **of, data=data)
    yield ddl(AREA, "delete", **of, ids=[1])
    yield query(AREA, **of, filter="id > 0")
    yield search(AREA, **of, data=[samples.vector(random)], limit=3, anns_field="v")
    yield ddl(AREA, "flush", **of)
    yield ddl(AREA, "get_collection_stats", **of)
    yield ddl(AREA, "list_partitions", **of)
    yield ddl(AREA, "create_partition", **of, partition_name="p")
    yield ddl(AREA, "create_index", "of a missing collection", **of, index_params=indexed("v", "FLAT", "L2"))
    yield ddl(AREA, "list_indexes", **of)
    yield ddl(AREA, "drop_index", **of, index_name="x")
    yield ddl(AREA, "alter_collection_properties", **of, properties={"collection.ttl.seconds": 5})
    for call in ("DropDatabase",):
        message = milvus_pb2.DropDatabaseRequest(db_name="nope")
        yield Request(AREA, call, view=nothing, message=message, title="a missing database")
    message = milvus_pb2.CreateDatabaseRequest(db_name="default")
    yield Request(AREA, "CreateDatabase", view=nothing, message=message, title="one that is there")
    message = milvus_pb2.ShowCollectionsRequest(db_name="nope")
    yield Request(AREA, "ShowCollections", view=nothing, message=message, title="of a missing database")
