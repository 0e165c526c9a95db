"""Schemas: translation both ways, and what is refused."""

from typing import Any

import msgspec
import pytest

from elanus.access.protocol import messages
from elanus.access.requests import CreateCollection
from elanus.access.translate.schemas import from_schema, parse, to_schema
from elanus.access.validation import check_collection
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter, Unimplemented
from elanus.model.limits import Limits, table
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

KEY = Field(id=100, name="pk", type=DataType.INT64, primary=True)
VECTOR = Field(id=101, name="v", type=DataType.FLOAT_VECTOR, dim=8)


def ask(*fields: Field, name: str = "c", **more: Any) -> CreateCollection:
    return CreateCollection(database="default", name=name, schema=Schema(fields=fields), **more)


def test_field_ids_start_at_100_and_the_dynamic_field_is_last() -> None:
    message = from_schema(Schema(fields=(KEY, VECTOR), dynamic=True, description="d"), "c")
    schema = to_schema(parse(message.SerializeToString()))
    assert [(f.id, f.name) for f in schema.fields] == [(100, "pk"), (101, "v"), (102, "$meta")]
    assert schema.dynamic_field is not None
    assert [f.name for f in from_schema(schema, "c").fields] == ["pk", "v"]


def test_a_schema_comes_back_as_it_was_sent() -> None:
    fields = (
        KEY,
        VECTOR,
        Field(
            id=102,
            name="t",
            type=DataType.VARCHAR,
            max_length=9,
            default="x",
            params={"mmap.enabled": "true"},
        ),
        Field(
            id=103, name="a", type=DataType.ARRAY, element_type=DataType.INT8, max_capacity=3, nullable=True
        ),
        Field(id=104, name="b", type=DataType.BOOL, default=False),
        Field(id=105, name="n", type=DataType.INT16, default=-7, description="a number"),
    )
    schema = Schema(fields=fields, description="all sorts")
    assert to_schema(parse(from_schema(schema, "c").SerializeToString())) == schema


def test_sizes_may_come_quoted_and_must_be_integers() -> None:
    message = from_schema(Schema(fields=(KEY, VECTOR)), "c")
    message.fields[1].type_params[0].value = '"16"'
    assert to_schema(message).field("v").dim == 16
    message.fields[1].type_params[0].value = "many"
    with pytest.raises(InvalidParameter, match="dim of field 'v' is 'many'"):
        to_schema(message)


def test_a_default_may_come_as_any_kind_of_number_that_fits() -> None:
    message = from_schema(Schema(fields=(KEY, VECTOR)), "c")
    for type, sent, default in (
        (DataType.INT8, {"long_data": 5}, 5),
        (DataType.FLOAT, {"double_data": 0.5}, 0.5),
        (DataType.DOUBLE, {"long_data": 2}, 2.0),
    ):
        del message.fields[2:]
        message.fields.add(name="x", data_type=int(type), default_value=sent)
        assert to_schema(message).field("x").default == default
    message.fields[2].default_value.string_data = "5"
    with pytest.raises(InvalidParameter, match="came as string_data; for type DOUBLE"):
        to_schema(message)


def test_functions_structs_and_namespaces_are_not_built() -> None:
    for wrong in (
        messages.CollectionSchema(functions=[{"name": "bm25"}]),
        messages.CollectionSchema(struct_array_fields=[{"name": "s"}]),
        messages.CollectionSchema(enable_namespace=True),
        messages.CollectionSchema(external_source="s3://x"),
    ):
        with pytest.raises(Unimplemented, match="not implemented"):
            to_schema(wrong)


def test_bytes_that_are_no_schema_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="not a CollectionSchema"):
        parse(b"\xff\xff\xff")


def test_a_plain_collection_passes() -> None:
    check_collection(ask(KEY, VECTOR), Limits())


def other(**changes: Any) -> Field:
    return msgspec.structs.replace(Field(id=102, name="x", type=DataType.INT64), **changes)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((VECTOR,), "0 primary keys"),
        ((KEY, other(primary=True), VECTOR), "2 primary keys"),
        ((other(primary=True, type=DataType.FLOAT), VECTOR), "must be INT64 or VARCHAR"),
        ((KEY,), "no vector field"),
        ((KEY, VECTOR, other(name="v")), "more than one field called 'v'"),
        ((KEY, VECTOR, other(auto_id=True)), "autoID is set on 'x'"),
        ((KEY, VECTOR, other(name="$meta")), "reserved"),
        ((KEY, VECTOR, other(name="a b")), "'a b' is invalid"),
        ((KEY, VECTOR, other(name="9a")), "'9a' is invalid"),
        ((KEY, VECTOR, other(name="")), "field name is empty"),
        ((KEY, VECTOR, other(name="array_contains")), "filter language"),
        ((KEY, VECTOR, other(name="n" * 256)), "256 bytes; at most 255"),
        ((KEY, VECTOR, other(type=DataType.VARCHAR)), "no max_length"),
        ((KEY, VECTOR, other(type=DataType.VARCHAR, max_length=65536)), r"must be in \[1, 65535\]"),
        ((KEY, VECTOR, other(type=DataType.STRING)), "use VARCHAR"),
        ((KEY, VECTOR, other(dim=3)), "only vectors have"),
        ((KEY, msgspec.structs.replace(VECTOR, dim=1)), r"must be in \[2, 32768\]"),
        ((KEY, msgspec.structs.replace(VECTOR, dim=0)), "no dim"),
        ((KEY, VECTOR, other(type=DataType.ARRAY, max_capacity=3)), "elements of field 'x' are NONE"),
        ((KEY, VECTOR, other(type=DataType.INT8, default=200)), "out of range for INT8"),
        ((KEY, VECTOR, other(type=DataType.VARCHAR, max_length=2, default="abc")), "max_length is 2"),
        ((KEY, VECTOR, other(type=DataType.FLOAT, partition_key=True)), "partition key 'x' is FLOAT"),
        ((KEY, *(msgspec.structs.replace(VECTOR, name=f"v{i}") for i in range(11))), "at most 10"),
        ((KEY, VECTOR, *(other(name=f"x{i}") for i in range(63))), "65 fields; at most 64"),
    ],
)
def test_a_schema_that_cannot_be_right_is_refused_with_what_would_be(
    fields: tuple[Field, ...], expected: str
) -> None:
    with pytest.raises(ElanusError, match=expected):
        check_collection(ask(*fields), Limits())


def test_a_reserved_field_name_has_the_code_of_invalid_field_names() -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_collection(ask(KEY, VECTOR, other(name="$meta")), Limits())
    assert caught.value.code is Code.FIELD_INVALID_NAME


@pytest.mark.parametrize(
    "type",
    [
        DataType.SPARSE_FLOAT_VECTOR,
        DataType.GEOMETRY,
        DataType.TEXT,
        DataType.TIMESTAMPTZ,
    ],
)
def test_types_that_are_not_stored_yet_are_refused_by_name(type: DataType) -> None:
    with pytest.raises(Unimplemented, match=f"field 'x' has type {type.name}"):
        check_collection(ask(KEY, VECTOR, other(type=type)), Limits())


@pytest.mark.parametrize("type", [DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR])
def test_dense_vectors_of_all_types_are_stored(type: DataType) -> None:
    check_collection(ask(KEY, VECTOR, other(type=type, dim=4)), Limits())
    with pytest.raises(InvalidParameter, match=r"dim of field 'x' is 32769; it must be in \[2, 32768\]"):
        check_collection(ask(KEY, VECTOR, other(type=type, dim=32769)), Limits())


@pytest.mark.parametrize(
    ("dim", "message"), [(12, "multiple of 8"), (4, "in .8, 262144"), (262152, "262144")]
)
def test_a_binary_vector_fills_its_bytes(dim: int, message: str) -> None:
    check_collection(ask(KEY, VECTOR, other(type=DataType.BINARY_VECTOR, dim=262144)), Limits())
    with pytest.raises(InvalidParameter, match=message):
        check_collection(ask(KEY, VECTOR, other(type=DataType.BINARY_VECTOR, dim=dim)), Limits())


@pytest.mark.parametrize("shards", [0, 17, -1])
def test_the_number_of_shards_is_bounded(shards: int) -> None:
    with pytest.raises(InvalidParameter, match=r"shards_num is -?\d+; it must be in \[1, 16\]"):
        check_collection(ask(KEY, VECTOR, shards=shards), Limits())


def test_partitions_need_a_partition_key() -> None:
    with pytest.raises(InvalidParameter, match="no partition key"):
        check_collection(ask(KEY, VECTOR, partitions=4), Limits())


def test_a_collection_name_must_follow_the_rules() -> None:
    for name in ("", "a-b", "1a", "é"):
        with pytest.raises(InvalidParameter):
            check_collection(ask(KEY, VECTOR, name=name), Limits())


def test_field_name_errors_have_their_own_code() -> None:
    with pytest.raises(ElanusError) as caught:
        check_collection(ask(KEY, VECTOR, other(name="a b")), Limits())
    assert caught.value.code is Code.FIELD_INVALID_NAME


def test_every_limit_has_a_unit_and_no_two_share_a_key() -> None:
    limits = table()
    keys = [limit.key for limit in limits if limit.key]
    assert all(limit.unit for limit in limits)
    assert len(keys) == len(set(keys))
    assert next(limit for limit in limits if limit.name == "dimension").key == "proxy.maxDimension"
