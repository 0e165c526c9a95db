"""A filter selects the same rows whatever answers it: columns, shreds of JSON, scalar indexes, bounds."""

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elanus.engine import json_file, scalar_index
from elanus.engine.filter import evaluate
from elanus.engine.growing import GrowingSegment
from elanus.engine.json_column import Shredded, shred
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import count
from elanus.engine.segment_file import write_segment
from elanus.expr import parse
from elanus.expr.plan import Plan
from elanus.model.columns import PARTITION, TS, arrow_type
from elanus.model.index_parameters import check_scalar_build
from elanus.model.nouns import IndexFile, Segment
from elanus.model.types import DataType
from tests.reference_filters import FILTERS, JSON_VALUES, ROWS, Row, Term
from tests.unit.engine.test_filter_reference import SCHEMA

PLAIN = [
    ("id", "STL_SORT"),
    ("small", "BITMAP"),
    ("large", "INVERTED"),
    ("single", "STL_SORT"),
    ("double", ""),
    ("text", "Trie"),
    ("text", "BITMAP"),
    ("flag", "INVERTED"),
    ("list", "INVERTED"),
    ("list", "BITMAP"),
    ("small", "AUTOINDEX"),
]
ON_PATHS = [
    (name, key, cast)
    for name in ("doc", "$meta")
    for key in "ab"
    for cast in ("DOUBLE", "VARCHAR", "BOOL", "ARRAY_DOUBLE")
]


def columns_of(rows: list[Row]) -> pa.RecordBatch:
    arrays, names = [], []
    for field in SCHEMA.fields:
        values = [row[field.name] for row in rows]
        if field.type is DataType.JSON:
            values = [None if v is None else json.dumps(v).encode() for v in values]
        arrays.append(pa.array(values, arrow_type(field)))
        names.append(field.key)
    return pa.RecordBatch.from_arrays(
        [*arrays, pa.array([1] * len(rows), pa.int64())], names=[*names, PARTITION]
    )


def sealed(rows: list[Row], folder: Path) -> SealedSegment:
    batch = columns_of(rows).append_column(TS, pa.array([5] * len(rows), pa.uint64()))
    summary = write_segment(pa.Table.from_batches([batch]), SCHEMA, folder)
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
    return SealedSegment.open(meta, SCHEMA, folder.joinpath)


def attach(segment: SealedSegment, rows: list[Row], folder: Path, name: str, type: str, **given: str) -> None:
    field = SCHEMA.field(name)
    path = (given.pop("path"),) if "path" in given else ()
    params = check_scalar_build(type, given, field, path)
    column = columns_of(rows).column(field.key)
    built = scalar_index.build("HYBRID" if type in ("", "AUTOINDEX") else type, column, field, params)
    number = len(segment.attached) + 1
    built.save(folder / f"index{number}")
    file = IndexFile(
        index_id=number, field_id=field.id, type=built.type, metric=None, path="i", bytes=1, params=params
    )
    segment.attach_index(file, folder / f"index{number}")


def found(plan: Plan, reader: Reader) -> list[bool]:
    return [bool(row) for row in evaluate(plan, reader)]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(ROWS, min_size=1, max_size=8),
    st.lists(FILTERS, min_size=1, max_size=8),
    st.sampled_from(PLAIN),
    st.sampled_from(ON_PATHS),
    st.integers(1, 3),
)
def test_every_source_gives_the_rows_that_the_rules_say(
    rows: list[Row],
    filters: list[Term],
    plain: tuple[str, str],
    on_path: tuple[str, str, str],
    batch: int,
) -> None:
    rows = [{"id": number - 1, **row} for number, row in enumerate(rows)]
    growing = GrowingSegment(SCHEMA, block_rows=4)
    for start in range(0, len(rows), batch):
        growing.append(columns_of(rows[start : start + batch]), 5 + start)
        growing.reader(1 << 40).json(108, ("a",))
    # Every answer comes from the index, however dear.
    with (
        tempfile.TemporaryDirectory() as name,
        patch.multiple(scalar_index, LISTED_SHARE=2.0, MEMBERS_SHARE=9.0, MATCHED_SHARE=2.0),
    ):
        folder = Path(name)
        bare = sealed(rows, folder)
        indexed = sealed(rows, folder)
        attach(indexed, rows, folder, plain[0], plain[1])
        field, key, cast = on_path
        attach(indexed, rows, folder, field, "INVERTED", path=key, json_cast_type=cast)
        for term in filters:
            expected = [term.truth(row) is True for row in rows]
            plan = parse(term.text, SCHEMA, term.values)
            for reader in (growing.reader(1 << 40), bare.reader(1 << 40), indexed.reader(1 << 40)):
                assert found(plan, reader) == expected, term.text
                assert count([reader], plan) == sum(expected)


DEEP = st.recursive(
    JSON_VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
PATHS: list[tuple[str | int, ...]] = [
    (),
    ("a",),
    ("b", "a"),
    ("a", 0),
    ("a", 1),
    (0,),
    ("a", "b", "c"),
    ("a", 0, "b"),
    ("c", 1, 0),
]


def same(one: Shredded, other: Shredded) -> bool:
    if (one.arrays is None) != (other.arrays is None):
        return False
    known = [np.ones(len(s.tags), np.bool_) if s.known is None else s.known for s in (one, other)]
    equal = (
        np.array_equal(one.tags, other.tags)
        and np.array_equal(known[0], known[1])
        and np.array_equal(one.bools, other.bools)
        and np.array_equal(one.ints, other.ints)
        and np.array_equal(one.floats, other.floats)
        and one.strings.to_pylist() == other.strings.to_pylist()
    )
    if one.arrays is None or other.arrays is None or not equal:
        return equal
    (rows, elements), (other_rows, other_elements) = one.elements(), other.elements()
    return (
        np.array_equal(one.arrays.rows, other.arrays.rows)
        and np.array_equal(one.arrays.lengths, other.arrays.lengths)
        and np.array_equal(rows, other_rows)
        and same(elements, other_elements)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(st.none() | DEEP, min_size=1, max_size=6), st.integers(1, 5))
def test_shreds_are_what_parsing_gives(documents: list[Any], most_paths: int) -> None:
    texts = [None if d is None else json.dumps(d).encode() for d in documents]
    column = pa.array(texts, pa.large_binary())
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "shreds"
        for limit in (most_paths, 64):
            assert json_file.write_json(pa.chunked_array([column]), path, limit)
            file = json_file.JsonFile(pq.ParquetFile(path), path)
            for keys in PATHS:
                read = file.at(keys)
                if read is not None:
                    assert same(read, shred(column, keys)), keys


def test_documents_that_are_nested_too_deep_are_not_shredded(tmp_path: Path) -> None:
    deep = b'{"a": ' * 900 + b"1" + b"}" * 900
    column = pa.chunked_array([pa.array([deep], pa.large_binary())])
    written = json_file.write_json(column, tmp_path / "shreds")
    assert written == (tmp_path / "shreds").exists()


def test_documents_that_cannot_be_read_do_not_keep_a_segment_from_being_sealed(tmp_path: Path) -> None:
    for text in (b"{", b'{"a": "\xff"}', b""):
        column = pa.chunked_array([pa.array([b"{}", text], pa.large_binary())])
        assert not json_file.write_json(column, tmp_path / "shreds")
        assert not (tmp_path / "shreds").exists()


def test_bounds_skip_a_segment_without_reading_its_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row: Row = dict.fromkeys(SCHEMA.by_name)
    segment = sealed([{**row, "id": n, "$meta": {}, "large": n, "text": f"t{n}"} for n in range(5)], tmp_path)

    def refuse(self: Reader, field_id: int) -> pa.ChunkedArray:
        raise AssertionError(f"column {field_id} is read")

    monkeypatch.setattr(Reader, "column", refuse)
    reader = segment.reader(1 << 40)
    for text, rows in (
        ("large > 4", 0),
        ("large >= 0", 5),
        ("large in [7, 9] or large < 0", 0),
        ("text like 'u%'", 0),
        ("not (large < 0)", 5),
        ("5 <= id <= 9 and large == 3", 0),
        ("small is null", 5),
        ("large is null", 0),
    ):
        assert count([reader], parse(text, SCHEMA)) == rows, text
