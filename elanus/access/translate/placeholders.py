"""Query vectors: a serialised `common.PlaceholderGroup` to a matrix."""

from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from elanus.access.protocol import messages
from elanus.model.columns import STORED, as_floats
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.types import DataType


# Any: float32, or the bytes of binary vectors.
def queries(group: bytes) -> tuple[DataType, npt.NDArray[Any]]:
    """The type of the query vectors, and (nq, dim) float32 of them, or (nq, dim / 8) uint8 of binary ones.

    Raises InvalidParameter, Unimplemented.
    """
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
    if type is DataType.SPARSE_FLOAT_VECTOR and not any(placeholder.values):
        # What pymilvus makes of an empty list.
        raise InvalidParameter(
            "the query vectors are empty; give as many numbers as the field has dimensions"
        )
    dtype = STORED.get(type)
    if dtype is None:
        raise Unimplemented(f"queries of type {type.name} are not implemented")
    vectors = _matrix(placeholder.values, dtype)
    return type, vectors if type is DataType.BINARY_VECTOR else as_floats(vectors, type)


def _matrix(values: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if not values:
        raise InvalidParameter("the search has no query vectors; give at least one")
    width = len(values[0])
    if len(set(map(len, values))) > 1:
        row, length = next((row, len(value)) for row, value in enumerate(values) if len(value) != width)
        raise InvalidParameter(
            f"query vector {row} has {length} bytes, the first one {width}; all must have the same dimension"
        )
    if width == 0 or width % dtype.itemsize:
        raise InvalidParameter(
            f"the query vectors have {width} bytes, which is no multiple of {dtype.itemsize} ({dtype.name})"
        )
    joined = values[0] if len(values) == 1 else b"".join(values)
    return np.frombuffer(joined, dtype).reshape(len(values), -1)
