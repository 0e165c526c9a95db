"""Schemas, rows and segments for the engine's tests, and a reference of what is visible."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from elanus.engine.sealed import SealedSegment
from elanus.engine.segment_file import write_segment
from elanus.model.columns import ALL_PARTITIONS, DELETE_TS, TS, arrow_type, row_schema
from elanus.model.nouns import Segment
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

DIM = 4
KEY, TAG, NAME, VECTOR = 100, 101, 102, 103


def schema_of(key_type: DataType = DataType.INT64, dim: int = DIM) -> Schema:
    return Schema(
        fields=(
            Field(id=KEY, name="id", type=key_type, primary=True, max_length=64),
            Field(id=TAG, name="tag", type=DataType.INT32, nullable=True),
            Field(id=NAME, name="name", type=DataType.VARCHAR, max_length=64),
            Field(id=VECTOR, name="vector", type=DataType.FLOAT_VECTOR, dim=dim),
        )
    )


def key_array(schema: Schema, keys: Sequence[int]) -> pa.Array:
    """Numbers as keys of the schema's type; as text they are as long as 8-byte words and longer."""
    if schema.primary.type is DataType.INT64:
        return pa.array(keys, pa.int64())
    return pa.array([f"{'key-' * (k % 5)}{k:06d}" for k in keys], pa.large_string())


def batch_of(
    schema: Schema, keys: Sequence[int], partitions: Sequence[int], vectors: np.ndarray
) -> pa.RecordBatch:
    vector = schema.by_id[VECTOR]
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
    columns = [
        key_array(schema, keys),
        pa.array([None if k % 3 == 0 else k % 7 for k in keys], pa.int32()),
        pa.array([f"name {k}" for k in keys], pa.large_string()),
        pa.FixedSizeListArray.from_arrays(flat, type=arrow_type(vector)),
        pa.array(list(partitions), pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=row_schema(schema))


def table_of(batch: pa.RecordBatch, ts: Sequence[int], dts: Sequence[int] | None = None) -> pa.Table:
    table = pa.Table.from_batches([batch]).append_column(TS, pa.array(list(ts), pa.uint64()))
    if dts is not None:
        table = table.append_column(DELETE_TS, pa.array([d or None for d in dts], pa.uint64()))
    return table


def seal(table: pa.Table, schema: Schema, directory: Path) -> SealedSegment:
    directory.mkdir(parents=True)
    summary = write_segment(table, schema, directory)
    meta = Segment(
        name=directory.name,
        prefix=directory.name,
        rows=summary.rows,
        bytes=summary.bytes,
        min_ts=summary.min_ts,
        max_ts=summary.max_ts,
        partitions=summary.partitions,
        schema_version=schema.version,
    )
    return SealedSegment.open(meta, schema, directory.joinpath)


def scores_of(query: np.ndarray, vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """(n,) float32 scores, computed in double precision."""
    q, x = query.astype(np.float64), vectors.astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(((x - q) ** 2).sum(axis=1), np.float32)
    dots: np.ndarray = x @ q
    if metric is Metric.IP:
        return np.asarray(dots, np.float32)
    lengths: np.ndarray = np.sqrt((q * q).sum()) * np.sqrt((x * x).sum(axis=1))
    cosines: np.ndarray = np.divide(dots, lengths, where=lengths > 0, out=np.zeros(len(x)))
    return np.asarray(np.clip(cosines, -1, 1), np.float32)


@dataclass
class Reference:
    """Every row ever appended and every delete, and what one sees of them."""

    keys: list[int] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    vectors: list[np.ndarray] = field(default_factory=list)
    deletes: list[tuple[frozenset[int] | None, int, int, int]] = field(default_factory=list)
    """(keys or None for all, partition, ts, bound)."""

    def append(self, keys: Sequence[int], partitions: Sequence[int], ts: int, vectors: np.ndarray) -> None:
        self.keys += keys
        self.partitions += partitions
        self.ts += [ts] * len(keys)
        self.vectors += list(vectors)

    def visible(self, at_ts: int, partitions: frozenset[int] | None) -> list[int]:
        """Numbers of the rows that a read sees."""
        return [
            row
            for row, (key, partition, ts) in enumerate(zip(self.keys, self.partitions, self.ts, strict=True))
            if ts <= at_ts
            and (partitions is None or partition in partitions)
            and not any(
                stamp <= at_ts
                and ts <= bound
                and scope in (ALL_PARTITIONS, partition)
                and (keys is None or key in keys)
                for keys, scope, stamp, bound in self.deletes
            )
        ]

    def query(self, rows: list[int]) -> list[tuple[int, int]]:
        """(key, newest ts), keys ascending as numbers."""
        newest: dict[int, int] = {}
        for row in rows:
            newest[self.keys[row]] = max(newest.get(self.keys[row], 0), self.ts[row])
        return sorted(newest.items())

    def search(self, rows: list[int], query: np.ndarray, metric: Metric) -> dict[int, float]:
        """Best score of each key."""
        if not rows:
            return {}
        scores = scores_of(query, np.array([self.vectors[r] for r in rows]), metric).tolist()
        best: dict[int, float] = {}
        for row, score in zip(rows, scores, strict=True):
            key = self.keys[row]
            if key not in best or (score > best[key] if metric.larger_is_nearer else score < best[key]):
                best[key] = score
        return best
