"""Answers of a search, query or write: record batches and keys to `FieldData`, `SearchResultData`, `IDs`."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from elanus.access.protocol import messages
from elanus.access.requests import Page, QueryResult, Rows, SearchResult
from elanus.access.translate.rows import SCALAR_KIND, VECTOR_KIND
from elanus.model.columns import as_matrix
from elanus.model.errors import Unimplemented
from elanus.model.schema import DYNAMIC_FIELD, Field, Schema
from elanus.model.types import DataType

# Any below: protobuf messages of the private pool have no static types.

_FILLER = {
    "bool_data": False,
    "int_data": 0,
    "long_data": 0,
    "float_data": 0.0,
    "double_data": 0.0,
    "string_data": "",
    "json_data": b"",
}
"""What stands in a scalar column where a row is null; `valid_data` says that it is."""


def search_results(result: SearchResult, schema: Schema, collection: str, page: Page | None = None) -> Any:
    """The answer of a Search; dynamic fields are trimmed to the keys that were asked for."""
    scores = np.ascontiguousarray(result.scores, dtype="<f4")
    answer = messages.SearchResults(collection_name=collection, session_ts=result.ts)
    # Filled in place: a message that is made apart is copied when it is put into another.
    data = answer.results
    data.num_queries = len(result.counts)
    data.top_k = max(result.counts, default=0)
    data.topks.extend(result.counts)
    if len(scores):
        data.scores.append(scores.tobytes())
    _set_ids(data.ids, result.keys)
    if result.rows.names:
        data.fields_data.extend(fields_data(result.rows, trim=True))
        data.output_fields.extend(result.rows.names)
    data.primary_field_name = schema.primary.name
    data.all_search_count = len(result.keys)
    if result.groups is not None:
        data.group_by_field_value.CopyFrom(field_data(result.groups, schema.field(result.group_field)))
    if page is not None and result.last_bound is not None:
        # Old servers know no token, so that clients take its absence for one of them.
        data.search_iterator_v2_results.token = page.token or str(uuid.uuid4())
        data.search_iterator_v2_results.last_bound = result.last_bound
    return answer


def query_results(result: QueryResult, schema: Schema, collection: str) -> Any:
    """The answer of a Query; the dynamic field comes back whole."""
    return messages.QueryResults(
        fields_data=fields_data(result.rows, trim=False),
        output_fields=result.rows.names,
        primary_field_name=schema.primary.name,
        collection_name=collection,
        session_ts=result.ts,
    )


def keys(ids: Any) -> pa.Array:
    """The primary keys of an `IDs`; null type where it has none."""
    match ids.WhichOneof("id_field"):
        case "int_id":
            return pa.array(np.array(ids.int_id.data, np.int64))
        case "str_id":
            return pa.array(list(ids.str_id.data), pa.large_string())
    return pa.nulls(0)


def ids(keys: pa.Array) -> Any:
    """Primary keys, INT64 or VARCHAR. No keys: an empty message."""
    found = messages.IDs()
    _set_ids(found, keys)
    return found


def _set_ids(message: Any, keys: pa.Array) -> None:
    if pa.types.is_integer(keys.type):
        # An answer without hits has an empty array of the key's type too.
        message.int_id.SetInParent()
        message.int_id.data.extend(keys.to_numpy().tolist())
    elif not pa.types.is_null(keys.type):
        message.str_id.SetInParent()
        message.str_id.data.extend(keys.to_pylist())


def fields_data(rows: Rows, *, trim: bool) -> list[Any]:
    """A FieldData a column. Columns are named by field id or by name; one that is no field is a count."""
    found = []
    for name, column in zip(rows.columns.schema.names, rows.columns.columns, strict=True):
        field = _field_of(name, rows.schema)
        if field is None:
            field = Field(id=0, name=name, type=DataType.INT64)
        elif field.dynamic and trim and rows.dynamic and DYNAMIC_FIELD not in rows.names:
            column = _trimmed(column, rows.dynamic)
        found.append(field_data(column, field))
    return found


def _field_of(column: str, schema: Schema) -> Field | None:
    if column.isdigit():
        return schema.by_id.get(int(column))
    return schema.by_name.get(column)


_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def _trimmed(column: pa.Array, keys: Sequence[str]) -> pa.Array:
    """The dynamic field with `keys` only; their values are not parsed."""
    wanted = frozenset(keys)
    trimmed = []
    for text in column.to_pylist():
        row = _raw_object.decode(text) if text else {}
        trimmed.append(_encode({key: row[key] for key in row if key in wanted}))
    return pa.array(trimmed, pa.large_binary())


def field_data(column: pa.Array, field: Field) -> Any:
    """A column as FieldData: scalars keep their place where null, null vectors are left out."""
    message = messages.FieldData(
        type=int(field.type),
        # Clients know the dynamic field by its flag and name.
        field_name=field.name,
        field_id=field.id,
        is_dynamic=field.dynamic,
    )
    if field.dynamic:
        column = pc.fill_null(column, b"{}")
    if field.nullable or column.null_count:
        message.valid_data.extend(pc.is_valid(column).to_pylist())
    if field.type.is_vector:
        _set_vectors(message.vectors, column.drop_null(), field)
    elif field.type is DataType.ARRAY:
        _set_arrays(message.scalars.array_data, column, field)
    else:
        _set_scalars(message.scalars, column, field.type, field)
    return message


def _set_scalars(scalars: Any, column: pa.Array, type: DataType, field: Field) -> None:
    kind = SCALAR_KIND.get(type)
    if kind is None:
        raise Unimplemented(f"field {field.name!r} has type {type.name}, which is not implemented")
    if column.null_count:
        column = pc.fill_null(column, _FILLER[kind])
    values: Any
    if type is DataType.FLOAT:
        values = (
            [column.to_numpy(zero_copy_only=False).astype("<f4", copy=False).tobytes()] if len(column) else []
        )
    else:
        values = _plain(column)
    array = getattr(scalars, kind)
    # Without values it still says of which kind they would be.
    array.SetInParent()
    array.data.extend(values)


def _plain(column: pa.Array) -> list[Any]:
    """Python values; numbers through NumPy, which is several times faster."""
    if (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_boolean(column.type)
    ):
        column = column.to_numpy(zero_copy_only=False)
        return list(column.tolist())
    return list(column.to_pylist())


def _set_arrays(arrays: Any, column: pa.Array, field: Field) -> None:
    arrays.element_type = int(field.element_type)
    elements = Field(id=field.id, name=field.name, type=field.element_type)
    for row in column:
        cell = arrays.data.add()
        if row.is_valid:
            _set_scalars(cell, row.values, elements.type, elements)


def _set_vectors(vectors: Any, column: pa.Array, field: Field) -> None:
    kind = VECTOR_KIND.get(field.type)
    if kind is None:
        raise Unimplemented(f"field {field.name!r} has type {field.type.name}, which is not implemented")
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        vectors.sparse_float_vector.contents.extend(column.to_pylist())
        return
    vectors.dim = field.dim
    if field.type is DataType.FLOAT_VECTOR:
        vectors.float_vector.SetInParent()
        flat = as_matrix(column).tobytes()
        if flat:
            vectors.float_vector.data.append(flat)
    else:
        setattr(vectors, kind, as_matrix(column, field.type).tobytes())
