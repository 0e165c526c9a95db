"""`schema.CollectionSchema` to `model.Schema` and back."""

from typing import Any

from google.protobuf.message import DecodeError

from elanus.access.protocol import messages
from elanus.access.translate.params import pairs, to_pairs
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.schema import FIRST_FIELD_ID, Field, Schema, dynamic_field
from elanus.model.types import DataType

# Any below: protobuf messages of the private pool have no static types.

_SIZES = ("dim", "max_length", "max_capacity")

_DEFAULT_KIND = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
}
"""Where a field's default value rides in `schema.ValueField`."""
_INTEGERS = ("int_data", "long_data")
_NUMBERS = (*_INTEGERS, "float_data", "double_data")
_ALSO_SENT_AS = {
    "int_data": _INTEGERS,
    "long_data": _INTEGERS,
    "float_data": _NUMBERS,
    "double_data": _NUMBERS,
}
"""Clients choose by the value they were given, not by the field's type."""


def parse(data: bytes) -> Any:
    """The message in CreateCollectionRequest.schema. Raises InvalidParameter."""
    try:
        return messages.CollectionSchema.FromString(data)
    except DecodeError as error:
        raise InvalidParameter(f"schema is not a CollectionSchema message: {error}") from None


def parse_field(data: bytes) -> Any:
    """The message in AddCollectionFieldRequest.schema. Raises InvalidParameter."""
    try:
        return messages.FieldSchema.FromString(data)
    except DecodeError as error:
        raise InvalidParameter(f"schema is not a FieldSchema message: {error}") from None


def to_schema(message: Any) -> Schema:
    """The schema with field ids from 100 in the client's order, `$meta` last where dynamic fields are on.

    Raises InvalidParameter for what cannot be read and Unimplemented for what has no place in the model;
    `access.validation` judges the rest.
    """
    _refuse_not_built(message)
    fields = [to_field(field, FIRST_FIELD_ID + i) for i, field in enumerate(message.fields)]
    if message.enable_dynamic_field:
        fields.append(dynamic_field(FIRST_FIELD_ID + len(fields)))
    return Schema(fields=tuple(fields), description=message.description, dynamic=message.enable_dynamic_field)


def from_schema(schema: Schema, name: str, database: str = "") -> Any:
    """As DescribeCollection shows it: without the `$meta` field."""
    return messages.CollectionSchema(
        name=name,
        description=schema.description,
        fields=[from_field(field) for field in schema.fields if not field.dynamic],
        enable_dynamic_field=schema.dynamic,
        dbName=database,
        version=schema.version,
    )


def from_field(field: Field) -> Any:
    sizes = {key: str(value) for key in _SIZES if (value := getattr(field, key))}
    message = messages.FieldSchema(
        fieldID=field.id,
        name=field.name,
        is_primary_key=field.primary,
        description=field.description,
        data_type=int(field.type),
        type_params=to_pairs(sizes | field.params),
        autoID=field.auto_id,
        element_type=int(field.element_type),
        is_dynamic=field.dynamic,
        is_partition_key=field.partition_key,
        is_clustering_key=field.clustering_key,
        nullable=field.nullable,
    )
    if field.default is not None:
        setattr(message.default_value, _DEFAULT_KIND[field.type], field.default)
    return message


def _refuse_not_built(message: Any) -> None:
    if message.functions:
        names = ", ".join(repr(f.name) for f in message.functions)
        raise Unimplemented(f"functions are not implemented; the schema has {names}")
    if message.struct_array_fields:
        names = ", ".join(repr(f.name) for f in message.struct_array_fields)
        raise Unimplemented(f"fields of type ARRAY_OF_STRUCT are not implemented; the schema has {names}")
    if message.external_source or message.external_spec:
        raise Unimplemented(f"external collections are not implemented; source {message.external_source!r}")
    if message.enable_namespace:
        raise Unimplemented("namespaces are not implemented; leave enable_namespace out")


def to_field(message: Any, id: int = 0) -> Field:
    """A `schema.FieldSchema`. Raises InvalidParameter, Unimplemented."""
    name = message.name.strip()
    type = _data_type(message.data_type, f"field {name!r}")
    params = pairs(message.type_params)
    return Field(
        id=id,
        name=name,
        type=type,
        description=message.description,
        primary=message.is_primary_key,
        auto_id=message.autoID,
        partition_key=message.is_partition_key,
        clustering_key=message.is_clustering_key,
        nullable=message.nullable,
        default=_default(message, name, type),
        element_type=_data_type(message.element_type, f"elements of field {name!r}"),
        dim=_size(params, "dim", name),
        max_length=_size(params, "max_length", name),
        max_capacity=_size(params, "max_capacity", name),
        params={key: value for key, value in params.items() if key not in _SIZES},
    )


def _data_type(number: int, what: str) -> DataType:
    try:
        return DataType(number)
    except ValueError:
        raise InvalidParameter(f"{what} has data type {number}, which is not known") from None


def _size(params: dict[str, str], key: str, name: str) -> int:
    """Clients send numbers as text, some of them quoted once more. 0 where the key is missing."""
    text = params.get(key)
    if text is None:
        return 0
    try:
        return int(text.strip('"'))
    except ValueError:
        raise InvalidParameter(f"{key} of field {name!r} is {text!r}; it must be an integer") from None


def _default(message: Any, name: str, type: DataType) -> bool | int | float | str | None:
    kind = message.default_value.WhichOneof("data")
    if kind is None:
        return None
    expected = _DEFAULT_KIND.get(type)
    if expected is None:
        raise Unimplemented(f"a default value for field {name!r} of type {type.name} is not implemented")
    if kind not in (expected, *_ALSO_SENT_AS.get(expected, ())):
        raise InvalidParameter(
            f"the default value of field {name!r} came as {kind}; for type {type.name} it must be {expected}"
        )
    found: bool | int | float | str = getattr(message.default_value, kind)
    return float(found) if type in (DataType.FLOAT, DataType.DOUBLE) else found
