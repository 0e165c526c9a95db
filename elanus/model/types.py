"""Data types, metric types and consistency levels, with the protocol's numbers."""

from enum import IntEnum, StrEnum


class DataType(IntEnum):
    """`schema.DataType` of the protocol."""

    NONE = 0
    BOOL = 1
    INT8 = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    FLOAT = 10
    DOUBLE = 11
    STRING = 20
    VARCHAR = 21
    ARRAY = 22
    JSON = 23
    GEOMETRY = 24
    TEXT = 25
    TIMESTAMPTZ = 26
    BINARY_VECTOR = 100
    FLOAT_VECTOR = 101
    FLOAT16_VECTOR = 102
    BFLOAT16_VECTOR = 103
    SPARSE_FLOAT_VECTOR = 104
    INT8_VECTOR = 105
    ARRAY_OF_VECTOR = 106
    ARRAY_OF_STRUCT = 200
    STRUCT = 201

    @property
    def is_vector(self) -> bool:
        return 100 <= self <= 106

    @property
    def is_integer(self) -> bool:
        return DataType.INT8 <= self <= DataType.INT64

    @property
    def is_number(self) -> bool:
        return self.is_integer or self in (DataType.FLOAT, DataType.DOUBLE)


class Metric(StrEnum):
    """How the distance of two vectors is measured."""

    L2 = "L2"
    IP = "IP"
    COSINE = "COSINE"
    HAMMING = "HAMMING"
    JACCARD = "JACCARD"
    BM25 = "BM25"

    @property
    def larger_is_nearer(self) -> bool:
        return self in (Metric.IP, Metric.COSINE, Metric.BM25)


class ConsistencyLevel(IntEnum):
    """`common.ConsistencyLevel`; Session and Customized act as Strong."""

    STRONG = 0
    SESSION = 1
    BOUNDED = 2
    EVENTUALLY = 3
    CUSTOMIZED = 4
