"""Requests and answers of the Milvus protocol, made with the messages that come with pymilvus."""

import json
from typing import Any

import numpy as np
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from benchmarks.model import COLUMNS, Collection, Filter, Ids, Vectors, columns

# Any below: the generated messages carry no types.

SERVICE = "/milvus.proto.milvus.MilvusService/"
LEVEL_NUMBERS = {"Strong": 0, "Session": 1, "Bounded": 2, "Eventually": 3}
BOUNDED_TS, EVENTUALLY_TS = 2, 1
INT64, JSON, FLOAT_VECTOR = 5, 23, 101
FLOAT_VECTOR_PLACEHOLDER = 101
WIRE_LENGTH_DELIMITED = 2


def pairs(values: dict[str, Any]) -> list[Any]:
    return [common_pb2.KeyValuePair(key=key, value=str(value)) for key, value in values.items()]


def create_collection(collection: Collection) -> Any:
    fields = [schema_pb2.FieldSchema(fieldID=100, name="id", data_type=INT64, is_primary_key=True)]
    fields.append(
        schema_pb2.FieldSchema(
            fieldID=101,
            name="vector",
            data_type=FLOAT_VECTOR,
            type_params=pairs({"dim": collection.dim}),
        )
    )
    scalars = COLUMNS if collection.scalars else ()
    for number, name in enumerate(scalars, 102):
        fields.append(schema_pb2.FieldSchema(fieldID=number, name=name, data_type=INT64))
    if collection.json:
        fields.append(schema_pb2.FieldSchema(fieldID=110, name="meta", data_type=JSON))
    schema = schema_pb2.CollectionSchema(name=collection.name, fields=fields)
    return milvus_pb2.CreateCollectionRequest(
        collection_name=collection.name,
        schema=schema.SerializeToString(),
        shards_num=1,
        consistency_level=LEVEL_NUMBERS["Bounded"],
    )


def insert(collection: Collection, ids: Ids, vectors: Vectors) -> Any:
    data = [int64_field("id", ids), vector_field(collection.dim, vectors)]
    if collection.scalars:
        values = columns(ids)
        data += [int64_field(name, values[name]) for name in COLUMNS]
        if collection.json:
            data.append(json_field(values))
    return milvus_pb2.InsertRequest(
        collection_name=collection.name,
        fields_data=data,
        num_rows=len(ids),
    )


def int64_field(name: str, values: Ids) -> Any:
    field = schema_pb2.FieldData(type=INT64, field_name=name)
    field.scalars.long_data.data.extend(values.tolist())
    return field


def vector_field(dim: int, vectors: Vectors) -> Any:
    field = schema_pb2.FieldData(type=FLOAT_VECTOR, field_name="vector")
    field.vectors.dim = dim
    packed = np.ascontiguousarray(vectors, "<f4").tobytes()
    # Packed floats are their bytes: written as such, a batch takes a millisecond instead of a hundred.
    field.vectors.float_vector.MergeFromString(
        bytes([1 << 3 | WIRE_LENGTH_DELIMITED]) + varint(len(packed)) + packed
    )
    return field


def json_field(values: dict[str, Ids]) -> Any:
    field = schema_pb2.FieldData(type=JSON, field_name="meta")
    names = list(values)
    rows = zip(*(values[name].tolist() for name in names), strict=True)
    field.scalars.json_data.data.extend(
        json.dumps(dict(zip(names, row, strict=True))).encode() for row in rows
    )
    return field


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def create_index(collection: Collection) -> Any:
    return milvus_pb2.CreateIndexRequest(
        collection_name=collection.name,
        field_name="vector",
        index_name="vector",
        extra_params=pairs(
            {
                "index_type": collection.index,
                "metric_type": collection.metric,
                "params": json.dumps(dict(collection.build)),
            }
        ),
    )


def search_parameters(collection: Collection, ef: int) -> dict[str, int]:
    match collection.index:
        case "HNSW":
            return {"ef": ef}
        case "IVF_FLAT":
            return {"nprobe": ef}
        case _:
            return {}


def search(
    collection: Collection,
    query: Vectors,
    k: int,
    ef: int,
    level: str,
    session_ts: int,
    filter: Filter | None,
) -> Any:
    """One query vector `(dim,) float32`."""
    group = common_pb2.PlaceholderGroup(
        placeholders=[
            common_pb2.PlaceholderValue(
                tag="$0",
                type=FLOAT_VECTOR_PLACEHOLDER,
                values=[np.ascontiguousarray(query, "<f4").tobytes()],
            )
        ]
    )
    guarantee = {"Strong": 0, "Session": session_ts, "Bounded": BOUNDED_TS, "Eventually": EVENTUALLY_TS}[
        level
    ]
    return milvus_pb2.SearchRequest(
        collection_name=collection.name,
        dsl=filter.expression() if filter else "",
        dsl_type=common_pb2.DslType.BoolExprV1,
        placeholder_group=group.SerializeToString(),
        search_params=pairs(
            {
                "anns_field": "vector",
                "topk": k,
                "metric_type": collection.metric,
                "params": json.dumps(search_parameters(collection, ef)),
                "round_decimal": -1,
                "offset": 0,
            }
        ),
        nq=1,
        consistency_level=LEVEL_NUMBERS[level],
        guarantee_timestamp=guarantee,
    )


def search_ids(answer: bytes) -> list[int]:
    """Ids of one query's answer. Raises RuntimeError if it carries an error."""
    results = milvus_pb2.SearchResults.FromString(answer)
    check(results.status)
    return list(results.results.ids.int_id.data)


def check(status: Any) -> None:
    if status.code != 0 or status.error_code != 0:
        raise RuntimeError(f"{status.reason} (code {status.code}, error_code {status.error_code})")
