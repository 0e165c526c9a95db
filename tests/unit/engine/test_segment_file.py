"""Segment files: what is written is read, mapped and aligned; what is damaged or newer is refused by name."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine import segment_file
from elanus.engine.segment_file import SegmentFile, read_segment, read_stats, verify_segment, write_segment
from elanus.model.columns import DELETE_TS, PARTITION, TS, arrow_type
from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.nouns import PartitionRange
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from tests.unit.engine.samples import NAME, TAG, VECTOR, batch_of, schema_of, seal, table_of

EVERY_TYPE = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.VARCHAR, primary=True, max_length=10),
        Field(id=101, name="bool", type=DataType.BOOL, nullable=True),
        Field(id=102, name="int8", type=DataType.INT8, nullable=True),
        Field(id=103, name="int64", type=DataType.INT64, nullable=True),
        Field(id=104, name="float", type=DataType.FLOAT, nullable=True),
        Field(id=105, name="double", type=DataType.DOUBLE, nullable=True),
        Field(id=106, name="json", type=DataType.JSON, nullable=True),
        Field(id=107, name="array", type=DataType.ARRAY, element_type=DataType.INT16, nullable=True),
        Field(id=108, name="vector", type=DataType.FLOAT_VECTOR, dim=3, nullable=True),
        Field(id=109, name="binary", type=DataType.BINARY_VECTOR, dim=16, nullable=True),
        Field(id=110, name="half", type=DataType.FLOAT16_VECTOR, dim=2),
        Field(id=111, name="sparse", type=DataType.SPARSE_FLOAT_VECTOR),
        Field(id=112, name="$meta", type=DataType.JSON, dynamic=True),
    )
)
ROW = st.tuples(
    st.text(max_size=10),
    st.none() | st.booleans(),
    st.none() | st.integers(-128, 127),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | st.floats(width=32, allow_nan=False),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.binary(max_size=20),
    st.none() | st.lists(st.integers(-(2**15), 2**15 - 1), max_size=4),
    st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3),
    st.none() | st.binary(min_size=2, max_size=2),
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=16),
    st.just(b"{}"),
    st.integers(1, 3),
    st.integers(1, 2**62),
    st.none() | st.integers(1, 2**62),
)


def every_type(rows: list[tuple[Any, ...]]) -> pa.Table:
    fields = [pa.field(f.key, arrow_type(f), nullable=f.nullable) for f in EVERY_TYPE.fields]
    fields += [pa.field(PARTITION, pa.int64(), nullable=False), pa.field(TS, pa.uint64(), nullable=False)]
    schema = pa.schema([*fields, pa.field(DELETE_TS, pa.uint64())])
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)


@given(rows=st.lists(ROW, min_size=1, max_size=40), row_group_rows=st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_every_type_reads_back_as_it_was_written_sorted_by_partition_and_time(
    rows: list[tuple[Any, ...]], row_group_rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("segment")
    summary = write_segment(every_type(rows), EVERY_TYPE, folder, row_group_rows)
    sorted_rows = sorted(rows, key=lambda r: (r[13], r[14]))
    table = read_segment(folder.joinpath, EVERY_TYPE)
    assert table.equals(every_type(sorted_rows))
    verify_segment(folder.joinpath)
    assert summary.rows == len(rows)
    assert summary.min_ts == min(r[14] for r in rows)
    assert summary.max_ts == max(r[14] for r in rows)
    assert set(summary.files) == {p.name for p in folder.iterdir()}
    assert summary.bytes == sum(p.stat().st_size for p in folder.iterdir())
    for part in summary.partitions:
        assert {r[13] for r in sorted_rows[part.start : part.end]} == {part.partition_id}
    stats = read_stats(folder / "stats.json")
    assert stats.deleted == sum(r[15] is not None for r in rows)
    numbers = [r[3] for r in rows if r[3] is not None]
    assert stats.columns["103"].min == min(numbers, default=None)
    assert stats.columns["103"].max == max(numbers, default=None)
    assert stats.columns["103"].nulls == len(rows) - len(numbers)


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize("dim", [1, 3, 128])
def test_vectors_start_at_a_multiple_of_64_bytes(rows: int, dim: int, tmp_path: Path) -> None:
    schema = schema_of(dim=dim)
    vectors = np.random.default_rng(1).normal(size=(rows, dim)).astype(np.float32)
    write_segment(
        table_of(batch_of(schema, list(range(rows)), [1] * rows, vectors), [1] * rows), schema, tmp_path
    )
    body = (tmp_path / f"{VECTOR}.arrow").read_bytes()
    assert body.index(vectors.tobytes()) % 64 == 0
    column = SegmentFile.open(tmp_path.joinpath, schema).field(schema.by_id[VECTOR])
    assert column.buffers()[-1].address % 64 == 0


def test_duckdb_and_others_can_read_the_files_as_they_are(tmp_path: Path) -> None:
    schema = written(tmp_path)
    assert pq.read_table(tmp_path / "rows.parquet").column(str(NAME)).to_pylist()[0] == "name 0"
    with pa.ipc.open_file(tmp_path / f"{VECTOR}.arrow") as file:
        assert file.read_all().column(0).type == arrow_type(schema.by_id[VECTOR])


def test_a_field_that_is_younger_than_the_segment_shows_its_default(tmp_path: Path) -> None:
    old = written(tmp_path / "old", make=True)
    added = (
        Field(id=110, name="a", type=DataType.INT64, nullable=True),
        Field(id=111, name="b", type=DataType.VARCHAR, default="x", max_length=9),
        Field(id=112, name="c", type=DataType.BOOL, default=False),
        Field(id=113, name="$meta", type=DataType.JSON, dynamic=True),
    )
    newer = Schema(fields=(*old.fields, *added), version=2)
    table = read_segment((tmp_path / "old").joinpath, newer)
    assert [table.column(str(i)).to_pylist()[0] for i in (110, 111, 112, 113)] == [None, "x", False, b"{}"]
    segment = seal(table_of(batch_of(old, [1, 2], [1, 1], np.ones((2, 4))), [5, 5]), old, tmp_path / "s")
    segment.reader(9).column(TAG)
    segment.alter(newer)
    taken = segment.reader(9).take([111, NAME, 110], np.array([1, 0]))
    assert taken.to_pydict() == {"111": ["x", "x"], str(NAME): ["name 2", "name 1"], "110": [None, None]}


DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda body: b"",
    lambda body: body[: len(body) // 2],
    lambda body: body[:-1],
    lambda body: body + b"more",
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["rows.parquet", f"{VECTOR}.arrow", "stats.json"])
def test_a_file_of_another_length_is_refused_by_name(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    schema = written(tmp_path)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptError, match=name):
        SegmentFile.open(tmp_path.joinpath, schema)


@given(
    place=st.floats(0, 0.999),
    flip=st.integers(1, 255),
    which=st.sampled_from(["rows.parquet", f"{VECTOR}.arrow"]),
)
@settings(max_examples=60, deadline=None)
def test_a_flipped_byte_never_passes_verification(
    place: float, flip: int, which: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("segment")
    schema = written(folder)
    body = bytearray((folder / which).read_bytes())
    body[int(place * len(body))] ^= flip
    (folder / which).write_bytes(body)
    with pytest.raises(CorruptError, match=which):
        verify_segment(folder.joinpath)
    if which == "rows.parquet":
        # The padding between the parts of the file may flip unseen by a reader; anything else is refused.
        with suppress(CorruptError, NewerFormatError):
            assert read_segment(folder.joinpath, schema).num_rows == 20


def test_newer_files_are_refused_with_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_file, "FORMAT", 2)
    schema = written(tmp_path)
    monkeypatch.undo()
    body = json.loads((tmp_path / "stats.json").read_bytes())
    with pytest.raises(NewerFormatError, match=r"stats.json has format 2; this elanus reads up to 1"):
        SegmentFile.open(tmp_path.joinpath, schema)
    (tmp_path / "stats.json").write_bytes(msgspec.json.encode({**body, "format": 1}))
    with pytest.raises(NewerFormatError, match=r"rows.parquet has format 2"):
        SegmentFile.open(tmp_path.joinpath, schema)


def test_what_is_no_segment_is_refused(tmp_path: Path) -> None:
    schema = written(tmp_path)
    stats = json.loads((tmp_path / "stats.json").read_bytes())
    pq.write_table(pa.table({"100": [1]}), tmp_path / "rows.parquet")
    stats["files"]["rows.parquet"]["bytes"] = (tmp_path / "rows.parquet").stat().st_size
    (tmp_path / "stats.json").write_bytes(json.dumps(stats).encode())
    with pytest.raises(CorruptError, match="no format version"):
        SegmentFile.open(tmp_path.joinpath, schema)
    with pytest.raises(ValueError, match="at least one row"):
        write_segment(table_of(batch_of(schema, [], [], np.empty((0, 4))), []), schema, tmp_path)


def written(folder: Path, make: bool = False) -> Schema:
    if make:
        folder.mkdir()
    schema = schema_of()
    keys = list(range(20))
    vectors = np.arange(80).reshape(20, 4)
    summary = write_segment(table_of(batch_of(schema, keys, [7] * 20, vectors), keys), schema, folder)
    assert summary.partitions == (PartitionRange(partition_id=7, start=0, end=20),)
    return schema
