"""Query vectors: a serialised `common.PlaceholderGroup` to a matrix."""

from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from elanus.access.protocol import messages
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.types import DataType

# Any: one dtype a type.
_DENSE: dict[DataType, np.dtype[Any]] = {
    DataType.FLOAT_VECTOR: np.dtype("<f4"),
    DataType.FLOAT16_VECTOR: np.dtype("<f2"),
    DataType.BFLOAT16_VECTOR: np.dtype("<u2"),
    DataType.INT8_VECTOR: np.dtype(np.int8),
    DataType.BINARY_VECTOR: np.dtype(np.uint8),
}
"""What a value of a query vector is on the wire; bfloat16 as its 16 bits, binary vectors 8 to the byte."""


# Any: the dtype is the query type's.
def queries(group: bytes) -> tuple[DataType, npt.NDArray[Any]]:
    """The type of the query vectors and the vectors, (nq, dim). Raises InvalidParameter, Unimplemented."""
    try:
        parsed = messages.PlaceholderGroup.FromString(group)
    except DecodeError as error:
        raise InvalidParameter(f"placeholder_group is not a PlaceholderGroup message: {error}") from None
    if len(parsed.placeholders) != 1:
        raise InvalidParameter(
            f"placeholder_group has {len(parsed.placeholders)} placeholders; it must have 1"
        )
    placeholder = parsed.placeholders[0]
    number = placeholder.type
    try:
        type = DataType(number)
    except ValueError:
        raise Unimplemented(f"queries of placeholder type {number} are not implemented") from None
    dtype = _DENSE.get(type)
    if type is DataType.SPARSE_FLOAT_VECTOR and not any(placeholder.values):
        # What pymilvus makes of an empty list.
        raise InvalidParameter(
            "the query vectors are empty; give as many numbers as the field has dimensions"
        )
    if dtype is None:
        raise Unimplemented(f"queries of type {type.name} are not implemented")
    return type, _matrix(placeholder.values, dtype)


def _matrix(values: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not values:
        raise InvalidParameter("the search has no query vectors; give at least one")
    width = len(values[0])
    for row, value in enumerate(values):
        if len(value) != width:
            raise InvalidParameter(
                f"query vector {row} has {len(value)} bytes, the first one {width}; "
                "all must have the same dimension"
            )
    if width == 0 or width % dtype.itemsize:
        raise InvalidParameter(
            f"the query vectors have {width} bytes, which is no multiple of {dtype.itemsize} ({dtype.name})"
        )
    joined = values[0] if len(values) == 1 else b"".join(values)
    return np.frombuffer(joined, dtype).reshape(len(values), -1)
