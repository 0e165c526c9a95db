"""Vectors of every stored type: exact search, indexes, rows as they were written."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine import index as indexes
from elanus.engine.bits import distances
from elanus.engine.growing import GrowingSegment
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import search
from elanus.engine.segment_file import write_segment
from elanus.model.columns import PARTITION, STORED, TS, arrow_type, as_floats, as_matrix
from elanus.model.errors import CorruptError
from elanus.model.index_parameters import check_build, check_search
from elanus.model.nouns import IndexFile, Segment
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

DIM, ROWS = 32, 3000
KEY, VECTOR = 100, 101
FLOATS = [DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR, DataType.INT8_VECTOR]
METRICS = [Metric.L2, Metric.IP, Metric.COSINE]
BINARY = [Metric.HAMMING, Metric.JACCARD]


def schema_of(type: DataType, dim: int = DIM) -> Schema:
    return Schema(
        fields=(
            Field(id=KEY, name="id", type=DataType.INT64, primary=True),
            Field(id=VECTOR, name="v", type=type, dim=dim),
        )
    )


def stored(type: DataType, rows: int, dim: int = DIM, seed: int = 0) -> npt.NDArray[Any]:
    random = np.random.default_rng(seed)
    match type:
        case DataType.BINARY_VECTOR:
            return random.integers(0, 256, (rows, dim // 8)).astype(np.uint8)
        case DataType.INT8_VECTOR:
            return random.integers(-128, 128, (rows, dim)).astype(np.int8)
        case DataType.BFLOAT16_VECTOR:
            return (random.normal(size=(rows, dim)).astype(np.float32).view(np.uint32) >> 16).astype("<u2")
    return random.normal(size=(rows, dim)).astype(STORED[type])


def batch_of(schema: Schema, matrix: npt.NDArray[Any], first: int = 0) -> pa.RecordBatch:
    field = schema.by_id[VECTOR]
    kind = arrow_type(field)
    data = pa.py_buffer(np.ascontiguousarray(matrix).tobytes())
    if field.type is DataType.FLOAT_VECTOR:
        flat = pa.Array.from_buffers(pa.float32(), matrix.size, [None, data])
        column = pa.FixedSizeListArray.from_arrays(flat, type=kind)
    else:
        column = pa.Array.from_buffers(kind, len(matrix), [None, data])
    keys = pa.array(np.arange(first, first + len(matrix)))
    return pa.RecordBatch.from_arrays(
        [keys, column, pa.array([1] * len(matrix), pa.int64())], names=[f"{KEY}", f"{VECTOR}", PARTITION]
    )


def sealed(schema: Schema, matrix: npt.NDArray[Any], folder: Path) -> SealedSegment:
    batch = batch_of(schema, matrix).append_column(TS, pa.array([5] * len(matrix), pa.uint64()))
    summary = write_segment(pa.Table.from_batches([batch]), schema, folder)
    meta = Segment(
        name="s",
        prefix="s",
        rows=summary.rows,
        bytes=summary.bytes,
        min_ts=5,
        max_ts=5,
        partitions=summary.partitions,
        schema_version=1,
    )
    return SealedSegment.open(meta, schema, folder.joinpath)


def reference(query: npt.NDArray[Any], matrix: npt.NDArray[Any], metric: Metric) -> npt.NDArray[np.float64]:
    """(n,) scores; binary vectors as bytes."""
    if metric in BINARY:
        q, x = np.unpackbits(query).astype(bool), np.unpackbits(matrix, axis=1).astype(bool)
        if metric is Metric.HAMMING:
            return np.asarray((q ^ x).sum(axis=1).astype(np.float64))
        either = (q | x).sum(axis=1)
        return np.asarray(1 - np.divide((q & x).sum(axis=1), either, where=either > 0, out=np.zeros(len(x))))
    q, x = query.astype(np.float64), matrix.astype(np.float64)
    if metric is Metric.L2:
        return np.asarray(((x - q) ** 2).sum(axis=1))
    dots = x @ q
    if metric is Metric.IP:
        return np.asarray(dots)
    return np.asarray(dots / np.linalg.norm(x, axis=1) / np.linalg.norm(q))


@pytest.mark.parametrize(
    ("type", "metric"),
    [(t, m) for t in FLOATS for m in METRICS] + [(DataType.BINARY_VECTOR, m) for m in BINARY],
)
def test_exact_search_is_the_same_growing_and_sealed(type: DataType, metric: Metric, tmp_path: Path) -> None:
    schema, matrix = schema_of(type), stored(type, 700)
    growing = GrowingSegment(schema, block_rows=256)
    for start in range(0, 700, 100):
        growing.append(batch_of(schema, matrix[start : start + 100], start), 5 + start)
    segment = sealed(schema, matrix, tmp_path)
    values = matrix if type is DataType.BINARY_VECTOR else as_floats(matrix, type)
    queries = values[[3, 40, 650]]
    for reader in (growing.reader(1 << 40), segment.reader(1 << 40)):
        hits = search([reader], schema.by_id[VECTOR], queries, 10, metric, {}, scratch_bytes=1 << 16)
        assert hits.counts.tolist() == [10, 10, 10]
        for which, query in enumerate(queries):
            scores = reference(query, values, metric)
            best = np.sort(-scores if metric.larger_is_nearer else scores)[:10]
            found = hits.scores[10 * which : 10 * which + 10]
            np.testing.assert_allclose(
                found, -best if metric.larger_is_nearer else best, rtol=1e-5, atol=1e-6
            )
        taken = reader.take([VECTOR], np.array([0, 699, 5])).column(0)
        np.testing.assert_array_equal(as_matrix(taken, type), matrix[[0, 699, 5]])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([8, 16, 24, 64, 72]),
    st.sampled_from(BINARY),
    st.integers(1, 12),
    st.booleans(),
    st.integers(0, 9),
)
def test_binary_search_finds_the_nearest_bits(
    rows: int, dim: int, metric: Metric, k: int, ranged: bool, seed: int
) -> None:
    schema = schema_of(DataType.BINARY_VECTOR, dim)
    matrix = stored(DataType.BINARY_VECTOR, rows, dim, seed) & 0x81
    growing = GrowingSegment(schema)
    growing.append(batch_of(schema, matrix), 5)
    query = stored(DataType.BINARY_VECTOR, 1, dim, seed + 1) & 0x83
    params = {"radius": 0.9, "range_filter": 0.2} if ranged else {}
    hits = search([growing.reader(9)], schema.by_id[VECTOR], query, k, metric, params)
    scores = reference(query[0], matrix, metric).astype(np.float32)
    wanted = sorted((s, i) for i, s in enumerate(scores.tolist()) if not ranged or 0.2 <= s < 0.9)[:k]
    assert hits.keys.to_pylist() == [i for _, i in wanted]
    np.testing.assert_allclose(hits.scores, [s for s, _ in wanted], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "type", "build", "given_params", "recall"),
    [
        ("HNSW", DataType.FLOAT16_VECTOR, {"M": 16, "efConstruction": 100}, {"ef": 200}, 0.95),
        ("HNSW", DataType.INT8_VECTOR, {"M": 16, "efConstruction": 100}, {"ef": 200}, 0.95),
        ("IVF_FLAT", DataType.BFLOAT16_VECTOR, {"nlist": 32}, {"nprobe": 32}, 0.99),
        ("IVF_SQ8", DataType.FLOAT_VECTOR, {"nlist": 32}, {"nprobe": 32}, 0.9),
        ("IVF_PQ", DataType.FLOAT_VECTOR, {"nlist": 32, "m": 32}, {"nprobe": 32}, 0.6),
        ("BIN_IVF_FLAT", DataType.BINARY_VECTOR, {"nlist": 32}, {"nprobe": 24}, 0.8),
    ],
)
def test_an_index_of_each_type_is_built_saved_mapped_and_searched(
    name: str,
    type: DataType,
    build: dict[str, Any],
    given_params: dict[str, Any],
    recall: float,
    tmp_path: Path,
) -> None:
    schema, matrix = schema_of(type, 64), stored(type, ROWS, 64)
    field = schema.by_id[VECTOR]
    binary = type is DataType.BINARY_VECTOR
    values = matrix if binary else as_floats(matrix, type)
    for metric in BINARY if binary else METRICS:
        folder = tmp_path / metric
        folder.mkdir()
        segment = sealed(schema, matrix, folder)
        built = indexes.build(name, values, metric, check_build(name, metric, build, field), 1)
        built.save(folder / "index")
        file = IndexFile(index_id=1, field_id=VECTOR, type=name, metric=metric, path="index", bytes=1)
        segment.attach_index(file, folder / "index")
        reader: Reader = segment.reader(1 << 40)
        params = check_search(name, given_params, 10, metric)
        queries = values[:20]
        hits = search([reader], field, queries, 10, metric, params)
        found = 0
        for which, query in enumerate(queries):
            scores = reference(query, values, metric)
            best = np.sort(-scores if metric.larger_is_nearer else scores)[9]
            mine = scores[hits.keys.to_numpy()[10 * which : 10 * which + 10]]
            found += int(np.sum((-mine if metric.larger_is_nearer else mine) <= best + 1e-6))
        assert found >= recall * 200


def test_a_binary_index_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    matrix = stored(DataType.BINARY_VECTOR, 200)
    path = tmp_path / "index"
    indexes.build("BIN_IVF_FLAT", matrix, Metric.HAMMING, {"nlist": 4}).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:-3], whole[:50] + b"\xff\xfe" + whole[52:], b""):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match="index"):
            indexes.load("BIN_IVF_FLAT", path, Metric.HAMMING)


def test_vectors_without_any_bit_in_common_are_as_far_as_can_be() -> None:
    rows = np.zeros((2, 3), np.uint8)
    assert distances(rows[0], rows, Metric.JACCARD).tolist() == [1, 1]
    assert distances(rows[0], rows, Metric.HAMMING).tolist() == [0, 0]
