"""Random schemas, rows and vectors of what Milvus 2.3.5 knows."""

from random import Random
from typing import Any

import numpy as np
from pymilvus import DataType, MilvusClient

# Any below: schemas and rows are pymilvus' own, which has no types.
DIM = 8
WORDS = ("", "a", "ab", "abc", "b", "ba", "zz", "ä", "a b", "50%", "x_y")
SMALL = range(-4, 5)


def schema(*, vector: DataType = DataType.FLOAT_VECTOR, dynamic: bool = True) -> Any:
    """Every scalar type and one vector."""
    made = empty(dynamic)
    made.add_field("id", DataType.INT64, is_primary=True)
    made.add_field("b", DataType.BOOL)
    made.add_field("i8", DataType.INT8)
    made.add_field("i16", DataType.INT16)
    made.add_field("i32", DataType.INT32)
    made.add_field("i64", DataType.INT64)
    made.add_field("f", DataType.FLOAT)
    made.add_field("d", DataType.DOUBLE)
    made.add_field("s", DataType.VARCHAR, max_length=64)
    made.add_field("j", DataType.JSON)
    made.add_field("ai", DataType.ARRAY, element_type=DataType.INT64, max_capacity=8)
    made.add_field("ws", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=8, max_length=16)
    made.add_field("v", vector, dim=32 if vector is DataType.BINARY_VECTOR else DIM)
    return made


def empty(dynamic: bool) -> Any:
    return MilvusClient.create_schema(auto_id=False, enable_dynamic_field=dynamic)


def row(random: Random, key: int, *, binary: bool = False) -> dict[str, Any]:

    def small() -> int:
        return random.choice(SMALL)

    made: dict[str, Any] = {
        "id": key,
        "b": random.random() < 0.5,
        "i8": small(),
        "i16": small(),
        "i32": small(),
        "i64": random.choice((small(), 2**62 + small())),
        "f": small() / 4,
        "d": small() / 4,
        "s": random.choice(WORDS),
        "j": document(random),
        "ai": [small() for _ in range(random.randrange(5))],
        "ws": [random.choice(WORDS) for _ in range(random.randrange(4))],
        "v": bits(random) if binary else vector(random),
    }
    if random.random() < 0.6:
        made["extra"] = random.choice((small(), small() / 4, random.choice(WORDS), random.random() < 0.5))
    return made


def document(random: Random) -> dict[str, Any]:
    """Keys that are missing, null or of another type from row to row."""
    made: dict[str, Any] = {}
    if random.random() < 0.8:
        made["k"] = random.choice((*SMALL, 0.5, 1.0, -2.25, *WORDS[1:5], True, False, None))
    if random.random() < 0.8:
        made["n"] = random.choice(SMALL)
    if random.random() < 0.8:
        made["s"] = random.choice(WORDS)
    if random.random() < 0.6:
        made["l"] = [random.choice((*SMALL, "a", "b", 1.5, True)) for _ in range(random.randrange(4))]
    if random.random() < 0.6:
        made["o"] = {"p": random.choice((*SMALL, "a", None))}
    return made


def vector(random: Random) -> list[float]:
    return [float(np.float32(random.uniform(-1, 1))) for _ in range(DIM)]


def bits(random: Random) -> bytes:
    return random.randbytes(4)
