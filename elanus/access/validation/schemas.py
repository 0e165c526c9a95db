"""A collection as a client asks for it: fields, types, keys, shards."""

import math
from collections import Counter
from collections.abc import Mapping

from elanus.access.requests import CreateCollection
from elanus.access.validation.names import check_field_name, check_name
from elanus.model.codes import Code
from elanus.model.columns import STORED as STORED_VECTORS
from elanus.model.errors import InvalidParameter, MissingParameter, Unimplemented
from elanus.model.limits import Limits
from elanus.model.properties import MAX_CAPACITY, MAX_LENGTH, Scope, check
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

SCALARS = frozenset(
    {
        DataType.BOOL,
        DataType.INT8,
        DataType.INT16,
        DataType.INT32,
        DataType.INT64,
        DataType.FLOAT,
        DataType.DOUBLE,
        DataType.VARCHAR,
        DataType.JSON,
        DataType.ARRAY,
    }
)
DENSE = frozenset(STORED_VECTORS)
STORED = SCALARS | DENSE
"""Field types that the engine stores and searches."""
ELEMENTS = SCALARS - {DataType.JSON, DataType.ARRAY}
KEYS = frozenset({DataType.INT64, DataType.VARCHAR})
_MIN_DIMENSION = 2
_BITS = 8
"""In a byte: a binary vector fills its last one."""


def check_collection(request: CreateCollection, limits: Limits) -> None:
    """Name, schema, shards and partitions. Raises InvalidParameter, Unimplemented and their like."""
    check_name("collection", request.name, limits)
    check_schema(request.schema, limits)
    if not 1 <= request.shards <= limits.shards:
        raise InvalidParameter(f"shards_num is {request.shards}; it must be in [1, {limits.shards}]")
    partition_key = next((f for f in request.schema.fields if f.partition_key), None)
    if request.partitions and partition_key is None:
        raise InvalidParameter(
            f"num_partitions is {request.partitions}, but the schema has no partition key; "
            "mark a field with is_partition_key or leave num_partitions out"
        )
    check(Scope.COLLECTION, request.properties)
    if not 0 <= request.partitions <= limits.partitions:
        raise InvalidParameter(
            f"num_partitions is {request.partitions}; it must be in [1, {limits.partitions}]"
        )


def check_schema(schema: Schema, limits: Limits) -> None:
    fields = [f for f in schema.fields if not f.dynamic]
    check_description(schema.description, limits)
    if len(fields) > limits.fields:
        raise InvalidParameter(f"the schema has {len(fields)} fields; at most {limits.fields} are allowed")
    for field in fields:
        check_field(field, limits)
    repeated = [name for name, count in Counter(f.name for f in fields).items() if count > 1]
    if repeated:
        raise InvalidParameter(
            f"the schema has more than one field called {repeated[0]!r}; names must differ"
        )
    _check_primary(fields)
    _check_vectors(fields, limits)
    for role in ("partition_key", "clustering_key"):
        marked = [f.name for f in fields if getattr(f, role)]
        if len(marked) > 1:
            raise InvalidParameter(
                f"the fields {', '.join(marked)} are all the {role.replace('_', ' ')}; at most one may be"
            )


def check_description(text: str, limits: Limits) -> None:
    length = len(text.encode())
    if length > limits.description_length:
        raise InvalidParameter(
            f"the collection's description has {length} bytes; "
            f"at most {limits.description_length} are allowed"
        )


def check_sizes(properties: Mapping[str, str], limits: Limits) -> None:
    """The sizes among a field's new properties against the protocol's limits."""
    for key, most in ((MAX_LENGTH, limits.varchar_length), (MAX_CAPACITY, limits.array_capacity)):
        text = properties.get(key)
        if text is not None and text.isdecimal() and int(text) > most:
            raise InvalidParameter(f"{key} is {text}; it must be in [1, {most}]")


def _check_primary(fields: list[Field]) -> None:
    primary = [f for f in fields if f.primary]
    if len(primary) != 1:
        names = ", ".join(repr(f.name) for f in primary) or "none"
        raise InvalidParameter(
            f"the schema has {len(primary)} primary keys ({names}); it must have exactly one"
        )
    key = primary[0]
    if key.type not in KEYS:
        raise InvalidParameter(
            f"the primary key {key.name!r} is {key.type.name}; it must be INT64 or VARCHAR"
        )
    for flag, what in ((key.nullable, "nullable"), (key.partition_key, "the partition key")):
        if flag:
            raise InvalidParameter(f"the primary key {key.name!r} cannot be {what}")
    if key.default is not None:
        raise InvalidParameter(f"the primary key {key.name!r} cannot have a default value")
    for field in fields:
        if field.auto_id and not field.primary:
            raise InvalidParameter(
                f"autoID is set on {field.name!r}; only the primary key {key.name!r} can have it"
            )


def _check_vectors(fields: list[Field], limits: Limits) -> None:
    vectors = [f for f in fields if f.type.is_vector]
    if not vectors:
        raise InvalidParameter("the schema has no vector field; add one, such as FLOAT_VECTOR with dim")
    if len(vectors) > limits.vector_fields:
        raise InvalidParameter(
            f"the schema has {len(vectors)} vector fields; at most {limits.vector_fields} are allowed"
        )


def check_field(field: Field, limits: Limits) -> None:
    """One field by itself. Raises Unimplemented for a type that is not stored yet."""
    check_field_name(field.name, limits)
    if field.type in (DataType.NONE, DataType.STRING):
        raise InvalidParameter(f"field {field.name!r} has type {field.type.name}; use VARCHAR for text")
    if field.type not in STORED:
        raise Unimplemented(f"field {field.name!r} has type {field.type.name}, which is not implemented")
    if field.type in DENSE:
        _check_vector(field, limits)
    elif field.dim:
        raise InvalidParameter(
            f"field {field.name!r} of type {field.type.name} has dim={field.dim}; only vectors have"
        )
    if field.type is DataType.ARRAY:
        _check_array(field, limits)
    if DataType.VARCHAR in (field.type, field.element_type):
        _check_max_length(field, limits)
    if field.partition_key:
        _check_partition_key(field)
    if field.clustering_key:
        _check_clustering_key(field)
    if field.default is not None:
        _check_default(field)


def check_added(field: Field, schema: Schema, limits: Limits) -> None:
    """A field for a collection that has rows already."""
    check_field(field, limits)
    for wrong, what in (
        (field.type.is_vector, "a vector"),
        (field.primary, "the primary key"),
        (field.auto_id, "generated (autoID)"),
        (field.partition_key, "the partition key"),
        (field.clustering_key, "the clustering key"),
    ):
        if wrong:
            raise InvalidParameter(
                f"field {field.name!r} cannot be added: {what} is declared when the collection is made"
            )
    if not field.nullable and field.default is None:
        raise InvalidParameter(
            f"field {field.name!r} cannot be added: the rows that are there have no value for it; "
            "make it nullable or give it a default"
        )
    there = sum(not f.dynamic for f in schema.fields)
    if there >= limits.fields:
        raise InvalidParameter(f"the schema has {there} fields; at most {limits.fields} are allowed")


def _check_partition_key(field: Field) -> None:
    if field.type not in KEYS:
        raise InvalidParameter(
            f"the partition key {field.name!r} is {field.type.name}; it must be INT64 or VARCHAR"
        )
    if field.nullable:
        raise InvalidParameter(f"the partition key {field.name!r} cannot be nullable")


def _check_clustering_key(field: Field) -> None:
    if field.type.is_vector:
        raise InvalidParameter(
            f"the clustering key {field.name!r} is a vector; it must be a number or VARCHAR",
            Code.COLLECTION_VECTOR_CLUSTERING_KEY_NOT_ALLOWED,
        )
    if not field.type.is_number and field.type is not DataType.VARCHAR:
        raise InvalidParameter(
            f"the clustering key {field.name!r} is {field.type.name}; it must be a number or VARCHAR"
        )


def _check_vector(field: Field, limits: Limits) -> None:
    if not field.dim:
        raise MissingParameter(
            f"field {field.name!r} has no dim, or 0; give the dimension of its vectors, "
            f"in [{_MIN_DIMENSION}, {limits.dimension}]"
        )
    binary = field.type is DataType.BINARY_VECTOR
    least, most = (_BITS, _BITS * limits.dimension) if binary else (_MIN_DIMENSION, limits.dimension)
    if not least <= field.dim <= most:
        raise InvalidParameter(f"dim of field {field.name!r} is {field.dim}; it must be in [{least}, {most}]")
    if binary and field.dim % _BITS:
        raise InvalidParameter(
            f"dim of field {field.name!r} is {field.dim}; a binary vector's must be a multiple of {_BITS}"
        )


def _check_array(field: Field, limits: Limits) -> None:
    if field.element_type not in ELEMENTS:
        raise InvalidParameter(
            f"the elements of field {field.name!r} are {field.element_type.name}; "
            f"they must be one of {', '.join(sorted(t.name for t in ELEMENTS))}"
        )
    if not 1 <= field.max_capacity <= limits.array_capacity:
        raise InvalidParameter(
            f"max_capacity of field {field.name!r} is {field.max_capacity}; "
            f"it must be in [1, {limits.array_capacity}]"
        )


def _check_max_length(field: Field, limits: Limits) -> None:
    if not field.max_length:
        raise MissingParameter(
            f"field {field.name!r} has no max_length, or 0; give one up to {limits.varchar_length}"
        )
    if not 1 <= field.max_length <= limits.varchar_length:
        raise InvalidParameter(
            f"max_length of field {field.name!r} is {field.max_length}; "
            f"it must be in [1, {limits.varchar_length}]"
        )


_INTEGER_BITS = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}


def _check_default(field: Field) -> None:
    value = field.default
    if isinstance(value, str) and len(value.encode()) > field.max_length:
        raise InvalidParameter(
            f"the default of field {field.name!r} has {len(value.encode())} bytes; "
            f"max_length is {field.max_length}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidParameter(f"the default of field {field.name!r} is {value}; it must be a finite number")
    bits = _INTEGER_BITS.get(field.type)
    if bits is not None and isinstance(value, int) and not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise InvalidParameter(
            f"the default of field {field.name!r} is {value}, which is out of range for {field.type.name}"
        )
