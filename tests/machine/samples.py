"""What is written: schemas, and rows whose content follows from a seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient

from tests.machine.filters import WORDS
from tests.reference import Key, Row, Vector

DIM = 4
KEYS = 20
"""Few, so that histories meet the same key again and again."""

INDEXES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "FLAT": ({}, {}),
    "IVF_FLAT": ({"nlist": 4}, {"nprobe": 4}),
    "HNSW": ({"M": 8, "efConstruction": 64}, {"ef": 200}),
    "AUTOINDEX": ({}, {"ef": 200}),
}
"""Build parameters, and search parameters with which the answer is exact or nearly so."""
EXACT = frozenset({"FLAT", "IVF_FLAT"})
SCALARS = ("b", "i8", "i16", "i32", "i64", "f", "d", "s")


@dataclass(frozen=True)
class Shape:
    """A kind of collection."""

    text_keys: bool
    auto_id: bool
    shards: int
    metric: str
    index: str

    def key(self, number: int) -> Key:
        return f"k{number}ö" if self.text_keys else number * 7919 - 100_000

    # Any: pymilvus has no types.
    def schema(self) -> Any:
        schema = MilvusClient.create_schema(auto_id=self.auto_id, enable_dynamic_field=True)
        if self.text_keys:
            schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
        else:
            schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("b", DataType.BOOL, nullable=True)
        schema.add_field("i8", DataType.INT8)
        schema.add_field("i16", DataType.INT16)
        schema.add_field("i32", DataType.INT32, nullable=True)
        schema.add_field("v", DataType.FLOAT_VECTOR, dim=DIM)
        schema.add_field("i64", DataType.INT64)
        schema.add_field("f", DataType.FLOAT)
        schema.add_field("d", DataType.DOUBLE, nullable=True)
        schema.add_field("s", DataType.VARCHAR, max_length=16, nullable=True)
        return schema


shapes = st.builds(
    Shape,
    text_keys=st.booleans(),
    auto_id=st.integers(0, 4).map(lambda n: n == 4),
    shards=st.integers(1, 3),
    metric=st.sampled_from(("L2", "IP", "COSINE")),
    index=st.sampled_from(sorted(INDEXES)),
)


def row(key: Key, seed: int, partition: str) -> Row:
    """Numbers are such that every type holds them exactly."""
    rng = np.random.default_rng(seed)
    i8, i16, i32, i64, f, d = (int(n) for n in rng.integers(-8, 9, 6))
    values: dict[str, Any] = {
        "b": (None, True, False)[rng.integers(3)],
        "i8": i8,
        "i16": i16,
        "i32": None if rng.integers(4) == 0 else i32,
        "i64": i64,
        "f": f / 4,
        "d": None if rng.integers(4) == 0 else d / 4,
        "s": None if rng.integers(5) == 0 else WORDS[rng.integers(len(WORDS))],
    }
    match rng.integers(3):
        case 0:
            values["extra"] = int(rng.integers(-8, 9))
        case 1:
            values["extra"] = WORDS[rng.integers(len(WORDS))]
    return Row(key, values, vector(rng), partition)


def vector(rng: np.random.Generator) -> Vector:
    return (rng.integers(-16, 17, DIM) / 8).astype(np.float32)


def entity(row: Row, with_key: bool) -> dict[str, Any]:
    """The row as a client sends it."""
    sent = {**row.values, "v": row.vector.tolist()}
    return {"id": row.key, **sent} if with_key else sent
