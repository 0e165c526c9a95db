"""Random filters over random rows, against the slow evaluator of `tests.reference_filters`."""

import json
import math
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine.filter import evaluate
from elanus.expr import parse
from elanus.model.columns import arrow_type
from elanus.model.errors import InvalidExpression
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from tests.reference_filters import (
    ANY_OP,
    FILTERS,
    FLOATS,
    INTEGERS,
    JSON_VALUES,
    ROWS,
    Row,
    Term,
    calculated,
    is_number,
    json_compare,
)

SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        Field(id=101, name="small", type=DataType.INT8, nullable=True),
        Field(id=102, name="large", type=DataType.INT64, nullable=True),
        Field(id=103, name="single", type=DataType.FLOAT, nullable=True),
        Field(id=104, name="double", type=DataType.DOUBLE, nullable=True),
        Field(id=105, name="text", type=DataType.VARCHAR, nullable=True),
        Field(id=106, name="flag", type=DataType.BOOL, nullable=True),
        Field(id=107, name="list", type=DataType.ARRAY, element_type=DataType.INT64, nullable=True),
        Field(id=108, name="doc", type=DataType.JSON, nullable=True),
        Field(id=109, name="$meta", type=DataType.JSON, dynamic=True),
    ),
    dynamic=True,
)


class Table:
    def __init__(self, rows: list[Row], split: int) -> None:
        self.rows = len(rows)
        self._columns: dict[int, pa.Array | pa.ChunkedArray] = {}
        for field in SCHEMA.fields:
            values = [row[field.name] for row in rows]
            if field.type is DataType.JSON:
                values = [None if v is None else json.dumps(v).encode() for v in values]
            array = pa.array(values, arrow_type(field))
            pieces = [array.slice(0, split), array.slice(split)]
            self._columns[field.id] = pa.chunked_array(pieces, array.type) if split else array

    def column(self, field_id: int) -> pa.Array | pa.ChunkedArray:
        return self._columns[field_id]


@settings(max_examples=600, deadline=None)
@given(st.lists(ROWS, max_size=8), FILTERS, st.integers(0, 3))
def test_a_random_filter_selects_what_the_rules_say(rows: list[Row], filter: Term, split: int) -> None:
    rows = [{"id": number - 1, **row} for number, row in enumerate(rows)]
    found = evaluate(parse(filter.text, SCHEMA, filter.values), Table(rows, split))
    assert found.tolist() == [filter.truth(row) is True for row in rows]


JSON_OPERANDS = st.sampled_from([-3, -2, 2, 3, 0.5, -1.5])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(JSON_VALUES, max_size=6),
    st.sampled_from("+-*/%"),
    JSON_OPERANDS,
    ANY_OP,
    st.one_of(INTEGERS, FLOATS),
)
def test_json_arithmetic_is_exact_for_integers(
    values: list[Any], op: str, operand: float, compare: str, wanted: float
) -> None:
    rows = [{**dict.fromkeys(SCHEMA.by_name), "id": i, "$meta": {"a": v}} for i, v in enumerate(values)]
    text = f"a {op} {operand!r} {compare} {wanted!r}"
    if op == "%" and isinstance(operand, float):
        try:
            parse(text, SCHEMA)
        except InvalidExpression:
            return
        raise AssertionError("a remainder by a float was accepted")

    def result(value: Any) -> int | float | None:
        if not is_number(value):
            return None
        if isinstance(value, int) and isinstance(operand, int):
            return calculated(op, value, operand)
        left = float(value)
        if op == "%":
            return math.fmod(math.trunc(left), operand)
        return {"+": left + operand, "-": left - operand, "*": left * operand, "/": left / operand}[op]

    found = evaluate(parse(text, SCHEMA), Table(rows, 0))
    assert found.tolist() == [json_compare(result(value), compare, wanted) for value in values]
