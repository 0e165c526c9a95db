"""Rows without a vector: kept as null, aligned in their file, never found by a search, whatever finds."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine import index as indexes
from elanus.engine.growing import GrowingSegment
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import fetch, search
from elanus.engine.segment_file import write_segment
from elanus.expr import parse
from elanus.model.columns import PARTITION, STORED, TS, arrow_type, as_floats, as_matrix, from_matrix
from elanus.model.errors import CorruptError
from elanus.model.index_parameters import check_build, check_search
from elanus.model.nouns import IndexFile, Segment
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

DIM, ROWS, KEY, VECTOR = 16, 3000, 100, 101
random = np.random.default_rng(3)


def schema_of(type: DataType = DataType.FLOAT_VECTOR) -> Schema:
    return Schema(
        fields=(
            Field(id=KEY, name="id", type=DataType.INT64, primary=True),
            Field(id=VECTOR, name="v", type=type, dim=DIM, nullable=True),
        )
    )


def column_of(schema: Schema, valid: np.ndarray, seed: int = 0) -> pa.Array:
    """Vectors where `valid`; what stands in the place of the others is NaN, as chance would have it."""
    field = schema.by_id[VECTOR]
    bytes_each = 4 * DIM if field.type is DataType.FLOAT_VECTOR else arrow_type(field).byte_width
    width = bytes_each // STORED[field.type].itemsize
    chance = np.random.default_rng(seed)
    matrix: np.ndarray = (chance.normal(size=(len(valid), width)) * 50).astype(STORED[field.type])
    if field.type is DataType.FLOAT_VECTOR:
        matrix[~valid] = np.nan
    return from_matrix(matrix, field, valid)


def sealed_of(schema: Schema, column: pa.Array, directory: Path) -> SealedSegment:
    directory.mkdir()
    rows = len(column)
    table = pa.table(
        {
            str(KEY): np.arange(rows),
            str(VECTOR): column,
            PARTITION: np.ones(rows, np.int64),
            TS: np.arange(1, rows + 1).astype(np.uint64),
        }
    )
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


def growing_of(schema: Schema, column: pa.Array) -> GrowingSegment:
    growing = GrowingSegment(schema)
    for start in range(0, len(column), 700):
        part = column.slice(start, 700)
        keys = pa.array(np.arange(start, start + len(part)))
        batch = pa.RecordBatch.from_arrays(
            [keys, part, pa.array(np.ones(len(part), np.int64))], names=[str(KEY), str(VECTOR), PARTITION]
        )
        growing.append(batch, start + 1)
    return growing


def nearest(column: pa.Array, query: np.ndarray, keep: np.ndarray, k: int) -> list[int]:
    rows = np.flatnonzero(keep)
    vectors = as_matrix(column, DataType.FLOAT_VECTOR)[rows].astype(np.float64)
    return [int(r) for r in rows[np.argsort(((vectors - query) ** 2).sum(axis=1), kind="stable")[:k]]]


def found(readers: list[Reader], schema: Schema, query: np.ndarray, k: int = 10, **rest: Any) -> list[int]:
    params = rest.pop("params", {})
    hits = search(readers, schema.by_id[VECTOR], query[None], k, Metric.L2, params, **rest)
    return [int(key) for key in hits.keys.to_pylist()]


@settings(max_examples=30, deadline=None)
@given(
    valid=st.lists(st.booleans(), min_size=1, max_size=700),
    type=st.sampled_from([DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BINARY_VECTOR]),
)
def test_nulls_come_back_from_a_file_whose_vectors_are_aligned(
    valid: list[bool], type: DataType, tmp_path_factory: pytest.TempPathFactory
) -> None:
    schema, mask = schema_of(type), np.array(valid)
    column = column_of(schema, mask)
    segment = sealed_of(schema, column, tmp_path_factory.mktemp("s") / "1")
    read = segment.column(schema.by_id[VECTOR])
    assert read.is_valid().to_pylist() == valid
    assert read.drop_null().equals(column.drop_null())
    path = next(tmp_path_factory.getbasetemp().glob(f"s*/1/{VECTOR}.arrow"), None)
    assert path is not None
    assert read.buffers()[-1].address % 64 == 0, "kernels read them where they are mapped"
    assert not as_matrix(read, type)[~mask].any(), "a null holds zeros in the file"


def test_a_search_finds_no_row_without_a_vector(tmp_path: Path) -> None:
    schema, valid = schema_of(), random.random(ROWS) < 0.6
    column, query = column_of(schema, valid), random.normal(size=DIM).astype(np.float32) * 50
    even = np.arange(ROWS) % 2 == 0
    plan = parse("id % 2 == 0", schema)
    for reader in (
        sealed_of(schema, column, tmp_path / "1").reader(ROWS),
        growing_of(schema, column).reader(ROWS),
    ):
        assert found([reader], schema, query) == nearest(column, query, valid, 10)
        assert found([reader], schema, query, plan=plan) == nearest(column, query, valid & even, 10)
        some = fetch([reader], np.zeros(ROWS, np.int32), np.arange(ROWS), [VECTOR]).column(0)
        assert some.is_valid().to_numpy(zero_copy_only=False).tolist() == valid.tolist()


@pytest.mark.parametrize("name", ["HNSW", "IVF_FLAT"])
def test_an_index_is_built_over_the_rows_that_have_a_vector(name: str, tmp_path: Path) -> None:
    schema, valid = schema_of(), random.random(ROWS) < 0.7
    field = schema.by_id[VECTOR]
    column, query = column_of(schema, valid), random.normal(size=DIM).astype(np.float32) * 50
    build = {"M": 16, "efConstruction": 100} if name == "HNSW" else {"nlist": 32}
    params = check_build(name, Metric.L2, build, field)
    vectors = as_floats(as_matrix(column, field.type), field.type)[valid]
    indexes.build(name, vectors, Metric.L2, params).save(tmp_path / "index")
    segment = sealed_of(schema, column, tmp_path / "1")
    file = IndexFile(index_id=1, field_id=VECTOR, type=name, metric=Metric.L2, path="index", bytes=0)
    segment.attach_index(file, tmp_path / "index")
    reader = segment.reader(ROWS)
    asked = {"ef": 400} if name == "HNSW" else {"nprobe": 32}
    params = check_search(name, asked, 10, Metric.L2)
    assert found([reader], schema, query, params=params) == nearest(column, query, valid, 10)
    even = parse("id % 2 == 0", schema)
    keep = valid & (np.arange(ROWS) % 2 == 0)
    assert found([reader], schema, query, params=params, plan=even) == nearest(column, query, keep, 10)
    ranged = check_search(name, {**asked, "radius": 1e9}, 10, Metric.L2)
    assert found([reader], schema, query, params=ranged) == nearest(column, query, valid, 10)


def test_an_index_of_another_number_of_rows_is_refused(tmp_path: Path) -> None:
    schema, valid = schema_of(), np.arange(200) % 2 == 0
    segment = sealed_of(schema, column_of(schema, valid), tmp_path / "1")
    vectors = random.normal(size=(99, DIM)).astype(np.float32)
    params = check_build("HNSW", Metric.L2, {}, schema.by_id[VECTOR])
    indexes.build("HNSW", vectors, Metric.L2, params).save(tmp_path / "index")
    file = IndexFile(index_id=1, field_id=VECTOR, type="HNSW", metric=Metric.L2, path="index", bytes=0)
    with pytest.raises(CorruptError, match="99 rows"):
        segment.attach_index(file, tmp_path / "index")


def test_a_segment_without_any_vector_answers_nothing(tmp_path: Path) -> None:
    schema = schema_of()
    segment = sealed_of(schema, column_of(schema, np.zeros(50, np.bool_)), tmp_path / "1")
    assert found([segment.reader(50)], schema, np.zeros(DIM, np.float32)) == []
