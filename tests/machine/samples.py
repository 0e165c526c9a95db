"""What is written: schemas, and rows whose content follows from a seed."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pymilvus import DataType, MilvusClient

from tests.machine.vectors import FLOAT, OTHERS, Kind
from tests.reference import Key, Row

KEYS = 20
"""Few, so that histories meet the same key again and again."""
TAGS = ("", "a", "ab", "äb", "zz", "red", "green")
RANK_DEFAULT = 5
EXTREMES = (127, -128, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63))
FRACTIONS = (0.0, 0.1, 0.5, -1.5, 2.0, 3.0, 1e10)
LETTERS = ("a", "b", "%", "_", "é", "\n", "\\")
KEY = "key"
"""The name of the primary key."""
SCALARS = ("id", "tag", "rank", "small", "large", "single", "double", "text", "flag", "list", "doc", "words")
DYNAMIC = "$meta"
NULLABLE = ("small", "large", "single", "double", "text", "flag", "list", "doc")
ADDED: dict[str, tuple[DataType, dict[str, Any], Any]] = {
    "late": (DataType.INT64, {"nullable": True, "default_value": 7}, 7),
    "later": (DataType.VARCHAR, {"nullable": True, "max_length": 16}, None),
}
"""Fields that come when there are rows: type, options, what those rows show."""
SCALAR_INDEXES: dict[str, tuple[str, str, dict[str, str]]] = {
    "on_small": ("small", "STL_SORT", {}),
    "on_large": ("large", "INVERTED", {}),
    "on_double": ("double", "AUTOINDEX", {}),
    "on_text": ("text", "Trie", {}),
    "on_flag": ("flag", "BITMAP", {}),
    "on_tag": ("tag", "BITMAP", {}),
    "on_rank": ("rank", "AUTOINDEX", {}),
    "on_list": ("list", "INVERTED", {}),
    "on_words": ("words", "BITMAP", {}),
    "on_doc_a": ("doc", "INVERTED", {"json_path": 'doc["a"]', "json_cast_type": "double"}),
    "on_doc_b": ("doc", "BITMAP", {"json_path": 'doc["b"]', "json_cast_type": "varchar"}),
    "on_a": (DYNAMIC, "AUTOINDEX", {"json_path": "a", "json_cast_type": "varchar"}),
}
"""Name -> field, type, parameters."""


@dataclass(frozen=True)
class Shape:
    """A kind of collection. `tenants`: how many partitions its partition key has, 0: it has none."""

    text_keys: bool
    auto_id: bool
    shards: int
    tenants: int
    other: Kind
    metrics: dict[str, str]
    indexes: dict[str, str]

    @property
    def kinds(self) -> dict[str, Kind]:
        """The vector fields."""
        return {"v": FLOAT, "w": self.other}

    def key(self, number: int) -> Key:
        return f"k{number}ö" if self.text_keys else number * 7919 - 100_000

    # Any: pymilvus has no types.
    def schema(self) -> Any:
        schema = MilvusClient.create_schema(auto_id=self.auto_id, enable_dynamic_field=True)
        if self.text_keys:
            schema.add_field(KEY, DataType.VARCHAR, is_primary=True, max_length=32)
        else:
            schema.add_field(KEY, DataType.INT64, is_primary=True)
        schema.add_field("id", DataType.INT64)
        schema.add_field("tag", DataType.VARCHAR, max_length=16, is_partition_key=self.tenants > 0)
        schema.add_field("rank", DataType.INT32, default_value=RANK_DEFAULT)
        schema.add_field("small", DataType.INT8, nullable=True)
        schema.add_field("v", FLOAT.type, dim=FLOAT.dim)
        schema.add_field("large", DataType.INT64, nullable=True)
        schema.add_field("single", DataType.FLOAT, nullable=True)
        schema.add_field("double", DataType.DOUBLE, nullable=True)
        schema.add_field("text", DataType.VARCHAR, max_length=16, nullable=True)
        schema.add_field("flag", DataType.BOOL, nullable=True)
        array = {"datatype": DataType.ARRAY, "max_capacity": 4}
        schema.add_field("list", element_type=DataType.INT64, nullable=True, **array)
        schema.add_field("words", element_type=DataType.VARCHAR, max_length=16, **array)
        schema.add_field("doc", DataType.JSON, nullable=True)
        schema.add_field("w", self.other.type, dim=self.other.dim)
        return schema


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    other = draw(st.sampled_from(OTHERS))
    kinds = {"v": FLOAT, "w": other}
    return Shape(
        text_keys=draw(st.booleans()),
        auto_id=draw(st.integers(0, 4)) == 4,
        shards=draw(st.integers(1, 3)),
        tenants=draw(st.sampled_from((0, 3))),
        other=other,
        metrics={name: draw(st.sampled_from(kind.metrics)) for name, kind in kinds.items()},
        indexes={name: draw(st.sampled_from(sorted(kind.indexes))) for name, kind in kinds.items()},
    )


def row(shape: Shape, key: Key, seed: int, partition: str, added: Collection[str] = ()) -> Row:
    """`added`: which of ADDED there are."""
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "id": integer(rng),
        "tag": TAGS[rng.integers(len(TAGS))],
        "rank": RANK_DEFAULT if rng.integers(3) == 0 else int(rng.integers(0, 10)),
        "small": int(rng.integers(-3, 4)) if rng.integers(3) else int(rng.integers(-128, 128)),
        "large": integer(rng),
        "single": float(np.float32(FRACTIONS[rng.integers(len(FRACTIONS))])),
        "double": FRACTIONS[rng.integers(len(FRACTIONS))],
        "text": text(rng),
        "flag": bool(rng.integers(2)),
        "list": whole_list(rng),
        "words": [text(rng) for _ in range(rng.integers(4))],
        "doc": document(rng),
        DYNAMIC: document(rng),
        "late": int(rng.integers(0, 10)),
        "later": text(rng),
    }
    for name in NULLABLE:
        if rng.integers(5) == 0:
            values[name] = None
    for name, (_, _, default) in ADDED.items():
        if rng.integers(3) == 0:
            values[name] = default
        if name not in added:
            del values[name]
    vectors = {name: kind.make(rng, kind.dim) for name, kind in shape.kinds.items()}
    return Row(key, values, vectors, partition)


def integer(rng: np.random.Generator) -> int:
    return int(rng.integers(-3, 4)) if rng.integers(4) else EXTREMES[rng.integers(len(EXTREMES))]


def text(rng: np.random.Generator) -> str:
    return "".join(LETTERS[n] for n in rng.integers(len(LETTERS), size=rng.integers(4)))


def whole_list(rng: np.random.Generator) -> list[int]:
    return [int(n) for n in rng.integers(-2, 3, rng.integers(4))]


# Any: a JSON value may be anything.
def document(rng: np.random.Generator) -> dict[str, Any]:
    return {key: json_value(rng) for key in ("a", "b") if rng.integers(3)}


def json_value(rng: np.random.Generator) -> Any:
    match rng.integers(7):
        case 0:
            return None
        case 1:
            return bool(rng.integers(2))
        case 2 | 3:
            return integer(rng)
        case 4:
            return FRACTIONS[rng.integers(len(FRACTIONS))]
        case 5:
            return text(rng)
    return whole_list(rng)


def entity(shape: Shape, row: Row, with_key: bool) -> dict[str, Any]:
    """The row as a client sends it; what the server fills in is sometimes left out."""
    sent = {n: v for n, v in row.values.items() if n != DYNAMIC}
    sent |= row.values[DYNAMIC]
    spare = [n for n in NULLABLE if sent[n] is None]
    spare += ["rank"] if sent["rank"] == RANK_DEFAULT else []
    spare += [n for n, (_, _, default) in ADDED.items() if n in sent and sent[n] == default]
    for place, name in enumerate(spare):
        if (place + len(spare)) % 2:
            del sent[name]
    sent |= {name: kind.sent(row.vectors[name]) for name, kind in shape.kinds.items()}
    return {KEY: row.key, **sent} if with_key else sent
