"""Rows as Arrow: which Arrow type holds which field, and the system columns beside them.

A batch of rows anywhere below `access` is a `pyarrow.RecordBatch` or `Table` whose columns are named by
field id (`Field.key`) plus the system columns.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.model.nouns import ALL_PARTITIONS
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

__all__ = [
    "ALL_PARTITIONS",
    "DELETE_TS",
    "PARTITION",
    "TS",
    "UNREADABLE",
    "arrow_type",
    "as_matrix",
    "row_schema",
    "vector_bytes",
]

PARTITION = "p"
"""System column: partition id, int64."""
TS = "ts"
"""System column of a segment: the row's timestamp, uint64."""
DELETE_TS = "dts"
"""System column of a compacted segment: the row's smallest delete timestamp, uint64, null where it lives."""

UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)
"""What pyarrow raises on a damaged file; the last three where a name in its footer is damaged."""

_SCALAR = {
    DataType.BOOL: pa.bool_(),
    DataType.INT8: pa.int8(),
    DataType.INT16: pa.int16(),
    DataType.INT32: pa.int32(),
    DataType.INT64: pa.int64(),
    DataType.FLOAT: pa.float32(),
    DataType.DOUBLE: pa.float64(),
    DataType.VARCHAR: pa.large_string(),
    DataType.JSON: pa.large_binary(),
    DataType.TIMESTAMPTZ: pa.int64(),
    DataType.SPARSE_FLOAT_VECTOR: pa.large_binary(),
}


def vector_bytes(field: Field) -> int:
    """Bytes of one value of a dense vector field; FLOAT_VECTOR is 4 * dim."""
    match field.type:
        case DataType.FLOAT_VECTOR:
            return 4 * field.dim
        case DataType.FLOAT16_VECTOR | DataType.BFLOAT16_VECTOR:
            return 2 * field.dim
        case DataType.INT8_VECTOR:
            return field.dim
        case DataType.BINARY_VECTOR:
            return field.dim // 8
    raise ValueError(f"{field.type.name} has no fixed size")


def arrow_type(field: Field) -> pa.DataType:
    """FLOAT_VECTOR: fixed_size_list<float32>[dim]; other dense vectors: fixed_size_binary; the rest 1:1."""
    if field.type in _SCALAR:
        return _SCALAR[field.type]
    if field.type is DataType.FLOAT_VECTOR:
        return pa.list_(pa.float32(), field.dim)
    if field.type is DataType.ARRAY:
        return pa.large_list(_SCALAR[field.element_type])
    return pa.binary(vector_bytes(field))


def row_schema(schema: Schema) -> pa.Schema:
    """Arrow schema of a collection's rows: every field by id, then the partition column."""
    columns = [pa.field(f.key, arrow_type(f), nullable=f.nullable) for f in schema.fields]
    return pa.schema([*columns, pa.field(PARTITION, pa.int64(), nullable=False)])


# Any: one dtype a vector type.
STORED: dict[DataType, np.dtype[Any]] = {
    DataType.FLOAT_VECTOR: np.dtype("<f4"),
    DataType.FLOAT16_VECTOR: np.dtype("<f2"),
    DataType.BFLOAT16_VECTOR: np.dtype("<u2"),
    DataType.INT8_VECTOR: np.dtype(np.int8),
    DataType.BINARY_VECTOR: np.dtype(np.uint8),
}
"""What an element of a dense vector is, stored and on the wire; bfloat16 as its 16 bits, 8 bits to the byte
of a binary vector."""


def as_matrix(column: pa.Array, type: DataType = DataType.FLOAT_VECTOR) -> npt.NDArray[Any]:
    """Zero-copy (n, width) view of a dense vector column, in the type it is stored in; a null's row has no
    meaning."""
    dtype = STORED[type]
    data = column.buffers()[-1]
    if type is DataType.FLOAT_VECTOR:
        bytes_each = 4 * column.type.list_size
        # The offset of a sliced list stays in the list; its values keep theirs.
        start = column.offset * bytes_each + 4 * column.values.offset
    else:
        bytes_each = column.type.byte_width
        start = column.offset * bytes_each
    width = bytes_each // dtype.itemsize
    if not len(column):
        return np.empty((0, width), dtype)
    return np.frombuffer(data, dtype, len(column) * width, start).reshape(len(column), width)


def from_matrix(
    matrix: npt.NDArray[Any], field: Field, valid: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """The dense vector column of (n, width) stored vectors, without a copy; null where not `valid` (n,)."""
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    data, kind = pa.py_buffer(np.ascontiguousarray(matrix)), arrow_type(field)
    if field.type is not DataType.FLOAT_VECTOR:
        return pa.Array.from_buffers(kind, len(matrix), [bitmap, data])
    values = pa.Array.from_buffers(pa.float32(), matrix.size, [None, data])
    return pa.Array.from_buffers(kind, len(matrix), [bitmap], children=[values])


def zero_nulls(column: pa.Array, field: Field) -> pa.Array:
    """A dense vector column whose nulls hold zeros: what they hold is left to chance by Arrow."""
    if not column.null_count:
        return column
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    matrix = np.where(valid[:, None], as_matrix(column, field.type), STORED[field.type].type(0))
    return from_matrix(matrix, field, valid)


def as_floats(matrix: npt.NDArray[Any], type: DataType) -> npt.NDArray[np.float32]:
    """(n, dim) float32 values of stored vectors that are not binary; no copy where they are float32."""
    if type is DataType.BFLOAT16_VECTOR:
        return (matrix.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return matrix.astype(np.float32, copy=False)
