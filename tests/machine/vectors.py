"""Kinds of vector fields: their values, and how clients and the reference see them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from tests.reference import Vector

Parameters = dict[str, int]
_NO: tuple[Parameters, Parameters] = ({}, {})
_IVF: tuple[Parameters, Parameters] = ({"nlist": 4}, {"nprobe": 4})
_HNSW: tuple[Parameters, Parameters] = ({"M": 8, "efConstruction": 64}, {"ef": 300})


@dataclass(frozen=True)
class Kind:
    """`indexes`: build and search parameters with which the answer is exact or nearly so.

    Values are such that the type holds them exactly.
    """

    name: str
    type: DataType
    dim: int
    metrics: tuple[str, ...]
    indexes: dict[str, tuple[Parameters, Parameters]]
    make: Callable[[np.random.Generator, int], Vector]
    narrow: Callable[[Vector], npt.NDArray[Any]]
    """The numbers as they are sent and stored."""
    sent_raw: bool = True
    """Rows are sent as bytes, else as a list of floats."""

    def __repr__(self) -> str:
        return self.name

    # Any: what pymilvus takes depends on the type.
    def sent(self, vector: Vector) -> Any:
        return self.narrow(vector).tobytes() if self.sent_raw else vector.tolist()

    def asked(self, vector: Vector) -> Any:
        """As a query vector."""
        narrow = self.narrow(vector)
        return narrow if self.type in (DataType.FLOAT16_VECTOR, DataType.INT8_VECTOR) else self.sent(vector)

    def equals(self, answer: Any, vector: Vector) -> bool:
        """Whether a client got exactly this vector."""
        wanted = self.narrow(vector)
        if isinstance(answer, list) and len(answer) == 1 and isinstance(answer[0], bytes):
            [answer] = answer
        if isinstance(answer, bytes):
            return answer == wanted.tobytes()
        return bool(np.asarray(answer, wanted.dtype).tobytes() == wanted.tobytes())


def _eighths(rng: np.random.Generator, dim: int) -> Vector:
    return rng.integers(-16, 17, dim) / 8


def _whole(rng: np.random.Generator, dim: int) -> Vector:
    return rng.integers(-9, 10, dim).astype(np.float64)


def _bits(rng: np.random.Generator, dim: int) -> Vector:
    bits = rng.integers(0, 2, dim).astype(np.float64)
    bits[0] = 1.0  # two vectors without bits have no Jaccard distance
    return bits


def _upper_half(vector: Vector) -> npt.NDArray[np.uint16]:
    """bfloat16: the upper 16 bits of float32."""
    return (vector.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


_FLOATS = ("L2", "IP", "COSINE")
FLOAT = Kind(
    "FLOAT",
    DataType.FLOAT_VECTOR,
    4,
    _FLOATS,
    {"FLAT": _NO, "IVF_FLAT": _IVF, "HNSW": _HNSW, "AUTOINDEX": ({}, {"ef": 300})},
    _eighths,
    lambda v: v.astype(np.float32),
    sent_raw=False,
)
_HALVES = {"FLAT": _NO, "IVF_FLAT": _IVF, "HNSW": _HNSW}
OTHERS = (
    Kind("FLOAT16", DataType.FLOAT16_VECTOR, 4, _FLOATS, _HALVES, _eighths, lambda v: v.astype(np.float16)),
    Kind("BFLOAT16", DataType.BFLOAT16_VECTOR, 4, _FLOATS, _HALVES, _eighths, _upper_half),
    Kind(
        "INT8",
        DataType.INT8_VECTOR,
        4,
        _FLOATS,
        {"HNSW": _HNSW, "AUTOINDEX": ({}, {"ef": 300})},
        _whole,
        lambda v: v.astype(np.int8),
    ),
    Kind(
        "BINARY",
        DataType.BINARY_VECTOR,
        16,
        ("HAMMING", "JACCARD"),
        {"BIN_FLAT": _NO, "BIN_IVF_FLAT": _IVF},
        _bits,
        lambda v: np.packbits(v.astype(np.uint8)),
    ),
)
EXACT = frozenset({"FLAT", "IVF_FLAT", "BIN_FLAT", "BIN_IVF_FLAT"})
