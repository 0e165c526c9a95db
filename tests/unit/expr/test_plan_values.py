"""What a filter says about one field: a set of values outside of which no row passes, or nothing."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.engine.filter import evaluate
from elanus.expr import parse
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        Field(id=101, name="k", type=DataType.INT64),
        Field(id=102, name="t", type=DataType.VARCHAR),
        Field(id=103, name="x", type=DataType.INT64),
    )
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("k == 3", {3}),
        ("3 == k", {3}),
        ("k in [1, 2]", {1, 2}),
        ("k == 1 or k == 2", {1, 2}),
        ("k == 1 and x > 5", {1}),
        ("k in [1, 2] and k in [2, 3]", {2}),
        ("k == 1 or x == 1", None),
        ("k != 1", None),
        ("not (k == 1)", None),
        ("k > 1", None),
        ("x == 1", None),
        ("k + 1 == 3", None),
        ("k in []", set()),
        ("(k == 1 and x == 2) or (k in [4, 5] and x == 3)", {1, 4, 5}),
    ],
)
def test_equality_lists_and_their_combinations_bound_a_field(text: str, values: set[int] | None) -> None:
    assert parse(text, SCHEMA).values_of(101) == values


def test_texts_are_bounded_too() -> None:
    assert parse('t in ["a", "b"] and k == 1', SCHEMA).values_of(102) == frozenset(["a", "b"])
    assert parse('t like "a%"', SCHEMA).values_of(102) is None


def test_templates_bind_before_the_field_is_bounded() -> None:
    assert parse("k in {ks}", SCHEMA, {"ks": [7, 8]}).values_of(101) == frozenset([7, 8])


LEAVES = st.sampled_from(
    ["k == 0", "k == 1", "k in [1, 2]", "k != 1", "k > 0", "x == 1", "x in [0, 2]", "k == x", "1 <= k <= 2"]
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)
N = 9


class Rows:
    """Every pair of small values of `k` and `x`."""

    rows = N
    cache: dict[str, Any] = {}  # noqa: RUF012  # what a reader of the engine has
    k = np.repeat(np.arange(3), 3)
    x = np.tile(np.arange(3), 3)

    def column(self, field_id: int) -> pa.Array:
        return pa.array({100: np.arange(N), 101: self.k, 103: self.x}[field_id])


@given(FILTERS)
def test_no_row_passes_whose_value_is_not_in_the_set(text: str) -> None:
    plan = parse(text, SCHEMA)
    values = plan.values_of(101)
    rows = Rows()
    passing = set(rows.k[evaluate(plan, rows)].tolist())
    assert values is None or passing <= values
