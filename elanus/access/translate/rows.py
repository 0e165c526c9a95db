"""`schema.FieldData` of an insert or upsert to a record batch, without a copy where that can be.

Shape and type are settled here (rows, dimension, type, integer width); `access.validation.rows` judges
values.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elanus.model.columns import arrow_type, as_matrix, from_matrix, vector_bytes
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.schema import DYNAMIC_FIELD, Field, Schema
from elanus.model.types import DataType

# Any below: protobuf messages of the private pool have no static types.

SCALAR_KIND = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.FLOAT: "float_data",
    DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
    DataType.JSON: "json_data",
    DataType.ARRAY: "array_data",
}
"""Where values of a type ride in `schema.ScalarField`."""

VECTOR_KIND = {
    DataType.FLOAT_VECTOR: "float_vector",
    DataType.BINARY_VECTOR: "binary_vector",
    DataType.FLOAT16_VECTOR: "float16_vector",
    DataType.BFLOAT16_VECTOR: "bfloat16_vector",
    DataType.INT8_VECTOR: "int8_vector",
    DataType.SPARSE_FLOAT_VECTOR: "sparse_float_vector",
}
"""Where values of a type ride in `schema.VectorField`."""

_NUMPY = {
    DataType.BOOL: np.dtype(np.bool_),
    DataType.INT32: np.dtype(np.int32),
    DataType.INT64: np.dtype(np.int64),
    DataType.DOUBLE: np.dtype(np.float64),
}
_NARROW = {DataType.INT8: pa.int8(), DataType.INT16: pa.int16()}
_BOUNDS = {pa.int8(): (-(1 << 7), (1 << 7) - 1), pa.int16(): (-(1 << 15), (1 << 15) - 1)}


def to_batch(fields_data: Sequence[Any], rows: int, schema: Schema) -> pa.RecordBatch:
    """The columns that the client sent, named by field id, in the schema's order.

    A nullable field, and one with a default, has nulls where the client left the value out.
    Raises InvalidParameter with field and row.
    """
    columns: dict[int, pa.Array] = {}
    for data in fields_data:
        field = _field_of(data, schema)
        if field.id in columns:
            raise InvalidParameter(f"field {field.name!r} is given twice; give each field once")
        columns[field.id] = _column(data, field, rows)
    present = [field for field in schema.fields if field.id in columns]
    return pa.RecordBatch.from_arrays(
        [columns[field.id] for field in present],
        schema=pa.schema([pa.field(field.key, arrow_type(field)) for field in present]),
    )


def _field_of(data: Any, schema: Schema) -> Field:
    name = data.field_name
    if data.is_dynamic or name == DYNAMIC_FIELD:
        if schema.dynamic_field is None:
            raise InvalidParameter(
                f"field {name or DYNAMIC_FIELD!r} is dynamic; the collection has no dynamic fields"
            )
        return schema.dynamic_field
    field = schema.by_name.get(name)
    if field is None:
        known = [f.name for f in schema.fields if not f.dynamic]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the collection has {', '.join(known)}"
        raise InvalidParameter(f"field {name!r} does not exist in the collection; {hint}")
    return field


def _column(data: Any, field: Field, rows: int) -> pa.Array:
    if data.type not in (field.type, DataType.NONE) and not (
        field.type is DataType.VARCHAR and data.type == DataType.STRING
    ):
        try:
            came = DataType(data.type).name
        except ValueError:
            came = str(data.type)
        raise InvalidParameter(f"field {field.name!r} came as {came}; it must be {field.type.name}")
    valid = _valid(data, field, rows)
    if field.type.is_vector:
        return _vectors(data.vectors, field, rows, valid)
    return _scalars(data.scalars, field, rows, valid)


def _valid(data: Any, field: Field, rows: int) -> npt.NDArray[np.bool_] | None:
    """Which rows have a value; None: all of them."""
    if not data.valid_data:
        return None
    valid = np.array(data.valid_data, dtype=np.bool_)
    if len(valid) != rows:
        raise InvalidParameter(
            f"valid_data of field {field.name!r} has {len(valid)} entries; num_rows says {rows}"
        )
    return None if valid.all() else valid


def _spread(values: pa.Array, field: Field, rows: int, valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    """Values to `rows` rows: clients leave null rows out, or send a filler in their place."""
    if valid is None:
        _check_rows(field, len(values), rows)
        return values
    if len(values) == rows:
        positions = np.arange(rows)
    else:
        _check_rows(field, len(values), int(valid.sum()), rows)
        positions = np.cumsum(valid) - 1
    return values.take(pa.array(positions, pa.int64(), mask=~valid))


def _check_rows(field: Field, came: int, expected: int, rows: int | None = None) -> None:
    if came == expected:
        return
    if rows is not None:
        means = f" ({expected} of {rows} rows are not null)"
        raise InvalidParameter(f"field {field.name!r} has {came} values; there must be {expected}{means}")
    raise InvalidParameter(f"field {field.name!r} has {came} values for {expected} rows; {_one_each(field)}")


def _one_each(field: Field) -> str:
    """Where rows have no value, clients leave it out of the column without saying of which row."""
    why = "" if field.nullable else ", since the field is not nullable"
    return f"each row needs one{why}"


# Scalars -------------------------------------------------------------------------------------------------


def _scalars(scalars: Any, field: Field, rows: int, valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    narrow = _NARROW.get(field.type)
    values = _scalar_values(scalars, DataType.INT32 if narrow else field.type, field)
    spread = _spread(values, field, rows, valid)
    return spread if narrow is None else _narrowed(spread, narrow, field)


def _scalar_values(scalars: Any, type: DataType, field: Field) -> pa.Array:
    """One array of all the values in a ScalarField. `type` is the field's, or its elements'."""
    expected = SCALAR_KIND.get(type)
    if expected is None:
        raise Unimplemented(f"field {field.name!r} has type {type.name}, which is not implemented")
    kind = scalars.WhichOneof("data")
    if kind is None:
        return pa.array([], _element_arrow(type, field))
    if kind == "bytes_data" and type is DataType.JSON:
        expected = kind
    if kind != expected:
        raise InvalidParameter(
            f"field {field.name!r} came with {kind}; values of type {type.name} must come as {expected}"
        )
    data = getattr(scalars, kind).data
    if type is DataType.FLOAT:
        return pa.Array.from_buffers(pa.float32(), *_floats(data, field))
    if type is DataType.ARRAY:
        return _arrays(data, field)
    if type in (DataType.VARCHAR, DataType.JSON):
        return pa.array(list(data), _element_arrow(type, field))
    return pa.array(np.array(data, dtype=_NUMPY[type]))


def _element_arrow(type: DataType, field: Field) -> pa.DataType:
    if type is field.type:
        return arrow_type(field)
    return arrow_type(Field(id=field.id, name=field.name, type=type))


def _floats(chunks: Sequence[bytes], field: Field) -> tuple[int, list[pa.Buffer | None]]:
    """Length and Arrow buffers of packed float32. One chunk is used as it lies in the message."""
    joined = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(joined) % 4:
        raise _torn(joined, field)
    return len(joined) // 4, [None, pa.py_buffer(joined)]


def _torn(packed: bytes, field: Field) -> InvalidParameter:
    return InvalidParameter(f"field {field.name!r} has {len(packed)} bytes, not a multiple of 4 (float32)")


def _narrowed(column: pa.Array, narrow: pa.DataType, field: Field) -> pa.Array:
    """INT8 and INT16 ride as int32; a value that does not fit is the caller's mistake."""
    least, most = _BOUNDS[narrow]
    fits = pc.and_(pc.greater_equal(column, least), pc.less_equal(column, most))
    row = pc.index(fits, False).as_py()
    if row >= 0:
        raise InvalidParameter(
            f"field {field.name!r}, row {row}: {column[row]} is out of range for {narrow}; "
            f"it must be in [{least}, {most}]"
        )
    return column.cast(narrow)


def _arrays(data: Sequence[Any], field: Field) -> pa.Array:
    """Rows of an ARRAY field: one flat array of elements and the offsets of the rows in it."""
    narrow = _NARROW.get(field.element_type)
    element = DataType.INT32 if narrow else field.element_type
    expected = SCALAR_KIND.get(element, "")
    kinds = {row.WhichOneof("data") for row in data} - {None, expected}
    if kinds:
        raise InvalidParameter(
            f"field {field.name!r} came with arrays of {', '.join(sorted(kinds))}; "
            f"values of type {element.name} must come as {expected}"
        )
    values = [getattr(row, expected).data for row in data]
    lengths, flat = _flat(values, element, field)
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if narrow is not None:
        flat = _narrowed(flat, narrow, field)
    return pa.LargeListArray.from_arrays(pa.array(offsets), flat, type=arrow_type(field))


def _flat(values: Sequence[Any], element: DataType, field: Field) -> tuple[list[int], pa.Array]:
    """How many elements each row has, and all of them."""
    if element is DataType.FLOAT:
        texts = [b"".join(row) for row in values]
        odd = next((text for text in texts if len(text) % 4), None)
        if odd is not None:
            raise _torn(odd, field)
        length, buffers = _floats(texts, field)
        return [len(text) // 4 for text in texts], pa.Array.from_buffers(pa.float32(), length, buffers)
    items = list(chain.from_iterable(values))
    lengths = [len(row) for row in values]
    if element is DataType.VARCHAR:
        return lengths, pa.array(items, _element_arrow(element, field))
    return lengths, pa.array(np.array(items, dtype=_NUMPY[element]))


# Vectors -------------------------------------------------------------------------------------------------


def _vectors(vectors: Any, field: Field, rows: int, valid: npt.NDArray[np.bool_] | None) -> pa.Array:
    expected = VECTOR_KIND.get(field.type)
    if expected is None:
        raise Unimplemented(f"field {field.name!r} has type {field.type.name}, which is not implemented")
    kind = vectors.WhichOneof("data")
    if kind is not None and kind != expected:
        raise InvalidParameter(
            f"field {field.name!r} came with {kind}; values of type {field.type.name} must come as {expected}"
        )
    if field.type is DataType.SPARSE_FLOAT_VECTOR:
        return _spread(
            pa.array(list(vectors.sparse_float_vector.contents), pa.large_binary()), field, rows, valid
        )
    if vectors.dim and vectors.dim != field.dim:
        raise InvalidParameter(
            f"the vectors of field {field.name!r} have dimension {vectors.dim}; it must be {field.dim}"
        )
    if field.type is DataType.FLOAT_VECTOR:
        length, buffers = _floats(vectors.float_vector.data, field)
        _check_length(field, 4 * length, rows if valid is None else int(valid.sum()))
        flat = pa.Array.from_buffers(pa.float32(), length, buffers)
        values = pa.FixedSizeListArray.from_arrays(flat, field.dim)
    else:
        data = getattr(vectors, expected)
        _check_length(field, len(data), rows if valid is None else int(valid.sum()))
        width = vector_bytes(field)
        values = pa.Array.from_buffers(pa.binary(width), len(data) // width, [None, pa.py_buffer(data)])
    if valid is None:
        return _spread(values, field, rows, valid)
    came = as_matrix(values, field.type)
    matrix = np.zeros((rows, came.shape[1]), came.dtype)
    matrix[valid] = came
    return from_matrix(matrix, field, valid)


def _check_length(field: Field, came: int, values: int) -> None:
    width = vector_bytes(field)
    if came == values * width:
        return
    if came % width == 0:
        raise InvalidParameter(
            f"field {field.name!r} has {came // width} vectors of dimension {field.dim} for {values} rows; "
            f"{_one_each(field)}"
        )
    raise InvalidParameter(
        f"field {field.name!r} has {came} bytes of vectors; {values} vectors of dimension {field.dim} "
        f"are {values * width}: not all of them have that dimension"
    )
