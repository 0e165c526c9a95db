"""Rows and searches, value by value."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.access.requests import Query, Search
from elanus.access.validation import check_query, check_rows, check_search, check_vectors
from elanus.access.validation.searches import check_output, vector_field
from elanus.model.columns import arrow_type
from elanus.model.errors import FieldNotFound, InvalidParameter, TooLarge, Unimplemented
from elanus.model.limits import Limits
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

KEY = Field(id=100, name="pk", type=DataType.INT64, primary=True)
VECTOR = Field(id=101, name="v", type=DataType.FLOAT_VECTOR, dim=2)
TEXT = Field(id=102, name="t", type=DataType.VARCHAR, max_length=4)
NUMBER = Field(id=103, name="n", type=DataType.DOUBLE, nullable=True)
LIST = Field(
    id=104, name="l", type=DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=2, nullable=True
)
DYNAMIC = Field(id=105, name="$meta", type=DataType.JSON, dynamic=True)
SCHEMA = Schema(fields=(KEY, VECTOR, TEXT, NUMBER, LIST, DYNAMIC), dynamic=True)
GOOD: dict[str, list[Any]] = {
    "pk": [1, 2],
    "v": [[1, 2], [3, 4]],
    "t": ["é", "abcd"],
    "n": [1.5, None],
    "l": [[1.0], None],
    "$meta": [b'{"a": 1}', b"{}"],
}


def batch(values: dict[str, list[Any]], schema: Schema = SCHEMA) -> pa.RecordBatch:
    fields = [schema.by_name[name] for name in values]
    return pa.RecordBatch.from_arrays(
        [pa.array(v, arrow_type(f)) for v, f in zip(values.values(), fields, strict=True)],
        names=[f.key for f in fields],
    )


def without(*names: str) -> dict[str, list[Any]]:
    return {k: v for k, v in GOOD.items() if k not in names}


def test_good_rows_pass_with_and_without_what_may_be_left_out() -> None:
    check_rows(SCHEMA, batch(GOOD), Limits())
    check_rows(SCHEMA, batch(without("n", "l", "$meta")), Limits())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"v": [[1, 2], [3, float("nan")]]}, "field 'v', row 1: element 1 is nan"),
        ({"v": [[float("-inf"), 2], [3, 4]]}, "field 'v', row 0: element 0 is -inf"),
        ({"n": [None, float("inf")]}, "field 'n', row 1 is inf"),
        ({"t": ["ok", "éééé"]}, "field 't', row 1: 'éééé' has 8 bytes; max_length is 4"),
        ({"t": ["ok", None]}, "field 't', row 1 is null"),
        ({"pk": [None, 1]}, "field 'pk', row 0 is null"),
        ({"l": [[1], [1, 2, 3]]}, "field 'l', row 1 has 3 elements; max_capacity is 2"),
        ({"l": [[float("nan")], []]}, "finite"),
        ({"$meta": [b"{}", b"[1]"]}, "row 1: .* is not a JSON object"),
        ({"$meta": [b"{", b"{}"]}, "row 0: .* is not a JSON object"),
        ({"$meta": [b'{"t": 1}', b"{}"]}, "has a key 't', which is the name of a field"),
        ({"$meta": [b'{"a": "' + b"x" * 65536 + b'"}', b"{}"]}, "bytes of JSON; at most 65536"),
    ],
)
def test_a_wrong_value_is_refused_with_field_row_and_value(
    changes: dict[str, list[Any]], expected: str
) -> None:
    with pytest.raises(InvalidParameter, match=expected):
        check_rows(SCHEMA, batch(GOOD | changes), Limits())


@pytest.mark.parametrize("name", ["pk", "v", "t"])
def test_a_field_without_default_cannot_be_left_out(name: str) -> None:
    with pytest.raises(InvalidParameter, match=f"field '{name}' is missing"):
        check_rows(SCHEMA, batch(without(name)), Limits())


def test_an_automatic_key_is_left_out_of_inserts_and_given_in_upserts() -> None:
    automatic = Field(id=100, name="pk", type=DataType.INT64, primary=True, auto_id=True)
    schema = Schema(fields=(automatic, VECTOR))
    given_key = batch({"pk": [1], "v": [[1, 2]]}, schema)
    no_key = batch({"v": [[1, 2]]}, schema)
    check_rows(schema, no_key, Limits())
    check_rows(schema, given_key, Limits(), upsert=True)
    with pytest.raises(InvalidParameter, match="has autoID: leave it out"):
        check_rows(schema, given_key, Limits())
    with pytest.raises(InvalidParameter, match="an upsert needs the primary key"):
        check_rows(schema, no_key, Limits(), upsert=True)


def test_no_rows_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="no rows"):
        check_rows(SCHEMA, batch(GOOD).slice(0, 0), Limits())
    with pytest.raises(TooLarge, match="at most 10 may be written"):
        check_rows(SCHEMA, batch(GOOD), Limits(insert_size=10))


@given(st.lists(st.floats(width=32), min_size=2, max_size=40).filter(lambda v: len(v) % 2 == 0))
def test_exactly_the_vectors_with_infinite_or_missing_numbers_are_refused(values: list[float]) -> None:
    schema = Schema(fields=(KEY, VECTOR))
    matrix = np.array(values, np.float32).reshape(-1, 2)
    rows = batch({"pk": list(range(len(matrix))), "v": matrix.tolist()}, schema)
    if np.isfinite(matrix).all():
        check_rows(schema, rows, Limits())
    else:
        row = int(np.flatnonzero(~np.isfinite(matrix).all(axis=1))[0])
        with pytest.raises(InvalidParameter, match=f"field 'v', row {row}:"):
            check_rows(schema, rows, Limits())


def search(**changes: Any) -> Search:
    values: dict[str, Any] = {
        "database": "default",
        "collection": "c",
        "queries": np.zeros((1, 2), np.float32),
        "limit": 10,
    }
    return Search(**values | changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"limit": 0}, r"limit \(topk\) is 0; it must be in \[1, 16384\]"),
        ({"limit": 16385}, "is 16385"),
        ({"offset": -1}, "offset is -1"),
        ({"limit": 16384, "offset": 1}, "16384 = 16385|1 \\+ 16384"),
        ({"round_decimal": 7}, r"-1 or in \[0, 6\]"),
        ({"queries": np.zeros((0, 2), np.float32)}, "nq .* is 0"),
        ({"queries": np.zeros((16385, 2), np.float32)}, "nq .* is 16385"),
    ],
)
def test_a_search_out_of_bounds_is_refused(changes: dict[str, Any], expected: str) -> None:
    check_search(search(), Limits())
    with pytest.raises(InvalidParameter, match=expected):
        check_search(search(**changes), Limits())


def test_query_vectors_must_fit_the_field_and_the_index() -> None:
    check_vectors(search(metric="l2"), VECTOR, Metric.L2)
    check_vectors(search(), VECTOR, Metric.COSINE)
    for changes, expected in (
        ({"queries": np.zeros((1, 3), np.float32)}, "dimension 3; field 'v' has dimension 2"),
        ({"queries": np.array([[0, np.nan]], np.float32)}, "query vector 0: element 1 is nan"),
        ({"metric": "IP"}, "was built with L2"),
        ({"metric": "MANHATTAN"}, "must be one of L2, IP"),
        ({"query_type": DataType.INT8_VECTOR}, "INT8_VECTOR; field 'v' is FLOAT_VECTOR"),
    ):
        with pytest.raises(InvalidParameter, match=expected):
            check_vectors(search(**changes), VECTOR, Metric.L2)
    binary = Field(id=9, name="b", type=DataType.BINARY_VECTOR, dim=8)
    bits = np.zeros((1, 1), np.uint8)
    check_vectors(search(query_type=DataType.BINARY_VECTOR, queries=bits), binary, Metric.HAMMING)
    with pytest.raises(InvalidParameter, match="dimension 16; field 'b' has dimension 8"):
        check_vectors(
            search(query_type=DataType.BINARY_VECTOR, queries=bits.repeat(2, axis=1)), binary, Metric.HAMMING
        )
    sparse = Field(id=9, name="s", type=DataType.SPARSE_FLOAT_VECTOR)
    with pytest.raises(Unimplemented):
        check_vectors(search(query_type=DataType.SPARSE_FLOAT_VECTOR), sparse, None)


def test_the_field_to_search_may_be_left_out_where_there_is_one() -> None:
    assert vector_field(SCHEMA, "") is VECTOR
    two = Schema(fields=(KEY, VECTOR, Field(id=102, name="w", type=DataType.FLOAT_VECTOR, dim=2)))
    with pytest.raises(InvalidParameter, match="vector fields v, w"):
        vector_field(two, "")
    with pytest.raises(InvalidParameter, match="must be a vector field"):
        vector_field(SCHEMA, "t")
    with pytest.raises(FieldNotFound):
        vector_field(SCHEMA, "nope")


def test_the_window_of_a_query_is_bounded() -> None:
    def query(**changes: Any) -> Query:
        return Query(database="default", collection="c", expression="a > 1", **changes)

    check_query(query(), Limits())
    check_query(query(limit=16000, offset=384), Limits())
    for changes in ({"limit": 0}, {"limit": -3}, {"limit": 1, "offset": -1}, {"limit": 16384, "offset": 1}):
        with pytest.raises(InvalidParameter):
            check_query(query(**changes), Limits())


def test_an_answer_above_the_output_size_is_refused() -> None:
    check_output(100, Limits(output_size=100))
    with pytest.raises(TooLarge, match="ask for fewer rows"):
        check_output(101, Limits(output_size=100))
