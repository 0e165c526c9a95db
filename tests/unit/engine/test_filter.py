"""What a filter selects; the JSON and arithmetic cases marked so were measured on real Milvus 2.3.5."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from elanus.engine import json_column
from elanus.engine.filter import evaluate
from elanus.engine.json_column import JsonPaths, shred
from elanus.expr import parse
from elanus.model.columns import arrow_type
from elanus.model.errors import CorruptError
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

BIG = (1 << 53) + 1


class Table:
    """Columns in memory; `split` cuts each into chunks of that many rows."""

    def __init__(self, schema: Schema, columns: Mapping[str, list[Any]], split: int = 0) -> None:
        self.schema = schema
        self.rows = len(next(iter(columns.values())))
        self._columns: dict[int, pa.Array | pa.ChunkedArray] = {}
        for name, values in columns.items():
            field = schema.field(name)
            if field.type is DataType.JSON:
                values = [None if v is None else json.dumps(v).encode() for v in values]
            array = pa.array(values, arrow_type(field))
            if split:
                pieces = [array.slice(i, split) for i in range(0, self.rows, split)]
                self._columns[field.id] = pa.chunked_array(pieces, array.type)
            else:
                self._columns[field.id] = array

    def column(self, field_id: int) -> pa.Array | pa.ChunkedArray:
        return self._columns[field_id]

    def find(self, text: str) -> list[int]:
        found = evaluate(parse(text, self.schema), self)
        assert found.dtype == np.bool_
        assert found.shape == (self.rows,)
        return [int(row) for row in np.flatnonzero(found)]


def table(type: DataType, values: list[Any], element: DataType = DataType.NONE, split: int = 0) -> Table:
    """`x` of the type, and the primary key `id`, which is the row number."""
    schema = Schema(
        fields=(
            Field(id=100, name="id", type=DataType.INT64, primary=True),
            Field(id=101, name="x", type=type, element_type=element, nullable=True),
        )
    )
    return Table(schema, {"id": list(range(len(values))), "x": values}, split)


MEASURED = [
    {"x": 1},
    {"x": 2},
    {},
    {"x": "1"},
    {"x": 1.0},
    {"x": True},
    {"x": None},
    {"x": [1]},
    {"x": BIG},
    {"x": {"y": 1}},
    {"x": 1.5},
    {"x": -7},
    {"x": "ab%c"},
    {"x": False},
    {"x": BIG - 1},
    {"x": [1, 2, 3, "a", [4]]},
    {"x": [1.0, 2.5]},
]
EVERY = set(range(len(MEASURED)))
MILVUS_JSON: dict[str, set[int]] = {
    'j["x"] == 1': {0, 4},
    'j["x"] != 1': EVERY - {0, 4},
    'not (j["x"] == 1)': EVERY - {0, 4},
    'not (j["x"] != 1)': {0, 4},
    'j["x"] in [1]': {0, 4},
    'j["x"] not in [1]': EVERY - {0, 4},
    'not (j["x"] in [1])': EVERY - {0, 4},
    'j["x"] in ["1"]': {3},
    'j["x"] in [true]': {5},
    'j["x"] == "1"': {3},
    'j["x"] != "1"': EVERY - {3},
    'j["x"] == true': {5},
    'j["x"] != true': EVERY - {5},
    'j["x"] == 1.0': {0, 4},
    'j["x"] == 1.5': {10},
    'j["x"] > 1': {1, 8, 10, 14},
    'j["x"] >= 1': {0, 1, 4, 8, 10, 14},
    'not (j["x"] > 1)': EVERY - {1, 8, 10, 14},
    'j["x"] < "2"': {3},
    '0 < j["x"] < 1000': {0, 1, 4, 10},
    f'j["x"] == {BIG}': {8},
    f'j["x"] == {BIG - 1}': {14},
    f'j["x"] > {BIG - 1}': {8},
    f'j["x"] == {BIG}.0': {8, 14},
    'j["x"][0] == 1': {7, 15, 16},
    'j["x"]["y"] == 1': {9},
    'j["x"] == [1]': {7},
    'j["x"] != [1]': {15, 16},
    'exists j["y"]': set(),
    'json_contains(j["x"], 1)': {7, 15},
    'json_contains(j["x"], 1.0)': {7, 15, 16},
    'json_contains(j["x"], 2.5)': {16},
    'json_contains(j["x"], "a")': {15},
    'json_contains(j["x"], [4])': {15},
    'json_contains_all(j["x"], [1,2])': {15},
    'json_contains_any(j["x"], ["a", 2])': {15},
    'not json_contains(j["x"], 1)': EVERY - {7, 15},
    'array_length(j["x"]) == 1': {7},
    'array_length(j["x"]) != 1': EVERY - {7},
    'j["x"] like "ab%"': {12},
    'j["x"] + 1 == 2': {0, 4},
    'j["x"] + 1 != 2': EVERY - {0, 4},
    'j["x"] / 2 == 0': {0},
    'j["x"] / 2 == 1': {1},
    'j["x"] * 2 == 3': {10},
}
OURS_JSON: dict[str, set[int]] = {
    # Milvus 2.3.5 answers an error to the first two.
    'j["x"] in [1.0, 2]': {0, 1, 4},
    '0 < j["x"] < 2.5': {0, 1, 4, 10},
    # JSON null counts as absent, so that `is null` and `exists` are opposites; 2.3.5 has no `is null`.
    'exists j["x"]': EVERY - {2, 6},
    'j["x"] is null': {2, 6},
    'j["x"] is not null': EVERY - {2, 6},
    # 2.3.5 takes the remainder of large integers through a double; here it is exact.
    'j["x"] % 2 == 1': {0, 4, 8, 10},
    'j["x"] % 2 == -1': {11},
    'j["x"] like "ab\\%c"': {12},
    'j["x"] =~ "b.c$"': {12},
    'j["x"] !~ "b.c$"': EVERY - {12},
    'j["x"] + 1 > 2.5': {1, 8, 14},
    'array_length(j["x"]) >= 2': {15, 16},
    'j["x"] in [1, "1", true]': {0, 3, 4, 5},
    'j["x"] in []': set(),
    'j["x"][3] == "a"': {15},
    'j["x"][4][0] == 4': {15},
}


@pytest.mark.parametrize("split", [0, 5])
@pytest.mark.parametrize(("text", "rows"), [*MILVUS_JSON.items(), *OURS_JSON.items()])
def test_json_values_compare_by_their_own_type(text: str, rows: set[int], split: int) -> None:
    assert set(table(DataType.JSON, MEASURED, split=split).find(_renamed(text))) == rows


def _renamed(text: str) -> str:
    return text.replace('j["', 'x["')


def test_a_json_column_that_is_null_makes_null() -> None:
    rows = table(DataType.JSON, [{"a": 1}, None, {}])
    assert rows.find("x['a'] == 1") == [0]
    assert rows.find("x['a'] != 1") == [2]
    assert rows.find("not (x['a'] == 1)") == [2]
    assert rows.find("x['a'] not in [1]") == [2]
    assert rows.find("x is null") == [1]
    assert rows.find("not exists x['a']") == [1, 2]


def test_json_keys_of_every_spelling_are_found() -> None:
    documents = [{'q"\\': 1}, {"ключ": 1}, [5, {"a": 1}], "text", 7, {"a": {"b": [1, {"c": 1}]}}, {"": 1}]
    rows = table(DataType.JSON, documents)
    assert rows.find(r"""x['q"\\'] == 1""") == [0]
    assert rows.find("x['ключ'] == 1") == [1]
    assert rows.find("x[0] == 5") == [2]
    assert rows.find("x[1]['a'] == 1") == [2]
    assert rows.find("x == 'text'") == [3]
    assert rows.find("x == 7") == [4]
    assert rows.find("x['a']['b'][1]['c'] == 1") == [5]
    assert rows.find("x[''] == 1") == [6]
    assert rows.find("array_length(x) == 2") == [2]


def test_json_integers_beyond_64_bits_are_floats() -> None:
    rows = table(DataType.JSON, [{"a": 1 << 70}, {"a": (1 << 63) - 1}, {"a": -(10**400)}])
    assert rows.find("x['a'] > 9223372036854775806") == [0, 1]
    assert rows.find("x['a'] == 1180591620717411303424.0") == [0]
    assert rows.find("x['a'] < 0") == [2]


def test_the_least_recently_used_path_is_forgotten() -> None:
    paths = JsonPaths(max_paths=2)
    column = pa.array([b'{"a": 1, "b": 2, "c": 3}'], pa.large_binary())
    first = paths.get(1, ("a",), lambda: shred(column, ("a",)))
    paths.get(1, ("b",), lambda: shred(column, ("a",)))
    assert paths.get(1, ("a",), lambda: shred(column, ("a",))) is first
    paths.get(1, ("c",), lambda: shred(column, ("a",)))
    assert paths.get(1, ("a",), lambda: shred(column, ("a",))) is first


def test_a_row_that_is_not_json_is_reported_as_corrupt() -> None:
    with pytest.raises(CorruptError, match="row 1"):
        json_column.shred(pa.array([b"{}", b"{"], pa.large_binary()), ("a",))


NUMBERS = [0, 100, 30, 127, -128, -7, 7, None]


@pytest.mark.parametrize("type", [DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64])
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("x + 100 > 120", [1, 2, 3]),
        ("x + 100 == 200", [1]),
        ("x + 100 == -56", []),
        ("x * 2 == 200", [1]),
        ("x % 4 == 3", [3, 6]),
        ("x % 4 == -3", [5]),
        ("x % -4 == -3", [5]),
        ("x % -1 == 0", [0, 1, 2, 3, 4, 5, 6]),
        ("x / 2 == -3", [5]),
        ("x / 2 == -4", []),
        ("x / 2 == 3", [6]),
        ("x / -1 == 7", [5]),
        ("x + 1.5 == 8.5", [6]),
        ("x / 2.0 == 3.5", [6]),
        ("x - 7 == 0", [6]),
        ("x > 9000000000000000000", []),
        ("x < 9000000000000000000", [0, 1, 2, 3, 4, 5, 6]),
        ("x != 9000000000000000000", [0, 1, 2, 3, 4, 5, 6]),
        ("x >= -9223372036854775808", [0, 1, 2, 3, 4, 5, 6]),
        ("x in [9000000000000000000, 30]", [2]),
        ("x in [1,2,3,4,5,6,7,8,9,10,127,9000000000000000000]", [3, 6]),
        ("x not in [0, 7]", [1, 2, 3, 4, 5]),
        ("x not in []", [0, 1, 2, 3, 4, 5, 6]),
        ("-8 < x <= 30", [0, 2, 5, 6]),
        ("x is null", [7]),
        ("x == id", [0]),
        ("x > id", [1, 2, 3, 6]),
    ],
)
def test_integers_are_exact_and_calculate_in_64_bits(type: DataType, text: str, rows: list[int]) -> None:
    assert table(type, NUMBERS).find(text) == rows
    assert table(type, NUMBERS, split=3).find(text) == rows


def test_64_bit_integers_never_pass_through_a_double() -> None:
    rows = table(DataType.INT64, [BIG, BIG - 1, (1 << 63) - 1, -(1 << 63)])
    assert rows.find(f"x == {BIG}") == [0]
    assert rows.find(f"x in [{BIG}]") == [0]
    assert rows.find(f"x > {BIG - 1}") == [0, 2]
    assert rows.find("x == 9223372036854775807") == [2]
    # The sum wraps around, as it does in Milvus.
    assert rows.find("x * 2 == -2") == [2]
    assert rows.find("x + 1 == -9223372036854775808") == [2]
    assert rows.find("x / -1 == -9223372036854775808") == [3]


def test_a_float_field_compares_with_the_nearest_float() -> None:
    single, double = table(DataType.FLOAT, [0.1, 0.2, 1, None]), table(DataType.DOUBLE, [0.1, 0.2, 1, None])
    for rows in (single, double):
        assert rows.find("x == 0.1") == [0]
        assert rows.find("x in [0.1, 1]") == [0, 2]
        assert rows.find("x > 0.1") == [1, 2]
        assert rows.find("x >= 0.1") == [0, 1, 2]
        assert rows.find("x < 1e300") == [0, 1, 2]
        assert rows.find("0.1 < x < 1") == [1]
    assert double.find("x + 1 == 1.1") == [0]
    assert single.find("x + 1 == 1.1") == []


TEXTS = ["a", "B", "é", "a%c", "a_c", "abc", "a\nc", "aé", "", "a\\c", "xabc", "😀", "ｆ", None]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("x == 'a'", [0]),
        ("x != 'a'", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("x < 'a'", [1, 8]),
        # By bytes of UTF-8: what is beyond the basic plane comes last.
        ("x >= 'ｆ'", [11, 12]),
        ("'a' < x <= 'abc'", [3, 4, 5, 6, 9]),
        ("x in ['a', 'é', 'no']", [0, 2]),
        ("x not in ['a', 'é', 'no']", [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("x like 'a%'", [0, 3, 4, 5, 6, 7, 9]),
        ("x like '%c'", [3, 4, 5, 6, 9, 10]),
        ("x like '%ab%'", [5, 10]),
        ("x like 'a%c'", [3, 4, 5, 6, 9]),
        ("x like 'a_c'", [3, 4, 5, 6, 9]),
        ("x like '_'", [0, 1, 2, 11, 12]),
        ("x like 'a_'", [7]),
        ("x like '%'", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("x like '%%'", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
        ("x like '_%'", [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]),
        ("x like ''", [8]),
        ("x like 'abc'", [5]),
        (r"x like 'a\%c'", [3]),
        (r"x like 'a\_c'", [4]),
        (r"x like r'a\\c'", [9]),
        (r"x like 'a\\\\c'", [9]),
        ("not x like 'a%'", [1, 2, 8, 10, 11, 12]),
        ("x =~ '^a.?c$'", [3, 4, 5, 9]),
        ("x =~ '(?i)b'", [1, 5, 10]),
        ("x !~ 'a'", [1, 2, 8, 11, 12]),
        ("x like '.%'", []),
    ],
)
def test_strings_compare_by_bytes_and_match_by_characters(text: str, rows: list[int]) -> None:
    assert table(DataType.VARCHAR, TEXTS).find(text) == sorted(rows)
    assert table(DataType.VARCHAR, TEXTS, split=4).find(text) == sorted(rows)


LISTS = [[], [0], [0, 1], [0, 1, 2], None, [1, 0]]


@pytest.mark.parametrize("split", [0, 2])
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        # Measured: an element that is not there matches neither == nor !=, and is not NULL.
        ("x[0] == 0", [1, 2, 3]),
        ("x[1] != 1", [5]),
        ("not (x[1] == 1)", [0, 1, 5]),
        ("x[1] + 1 == 2", [2, 3]),
        ("x[2] not in [2]", [0, 1, 2, 5]),
        ("x[0] in [1]", [5]),
        ("x[99999999999] == 1", []),
        ("0 < x[0] <= 1", [5]),
        ("x == [0, 1]", [2]),
        ("x == []", [0]),
        ("x != [0, 1]", [0, 1, 3, 5]),
        ("array_contains(x, 1)", [2, 3, 5]),
        ("not array_contains(x, 1)", [0, 1]),
        ("array_contains_all(x, [0, 1])", [2, 3, 5]),
        ("array_contains_all(x, [])", [0, 1, 2, 3, 5]),
        ("array_contains_any(x, [2, 7])", [3]),
        ("array_contains_any(x, [])", []),
        ("array_length(x) == 2", [2, 5]),
        ("array_length(x) != 2", [0, 1, 3]),
        ("1 <= array_length(x) < 3", [1, 2, 5]),
        ("x is null", [4]),
    ],
)
def test_arrays(text: str, rows: list[int], split: int) -> None:
    assert table(DataType.ARRAY, LISTS, DataType.INT64, split).find(text) == rows


def test_arrays_of_strings() -> None:
    rows = table(DataType.ARRAY, [["a", "bc"], [], None, ["bc"]], DataType.VARCHAR)
    assert rows.find("x[0] like 'b%'") == [3]
    assert rows.find("array_contains_any(x, ['bc'])") == [0, 3]
    assert rows.find("x == ['a', 'bc']") == [0]
    assert rows.find("x[1] > 'a'") == [0]


def test_bools() -> None:
    rows = table(DataType.BOOL, [True, False, None])
    assert rows.find("x == true") == [0]
    assert rows.find("x != true") == [1]
    assert rows.find("x in [true]") == [0]
    assert rows.find("x in [true, false]") == [0, 1]
    assert rows.find("x not in [true]") == [1]


@pytest.mark.parametrize("left", [0, 1, 2])
@pytest.mark.parametrize("right", [0, 1, 2])
def test_and_or_and_not_know_null(left: int, right: int) -> None:
    """Row values: 0 false, 1 true, 2 null; by the rules of SQL."""
    schema = Schema(
        fields=(
            Field(id=100, name="id", type=DataType.INT64, primary=True),
            Field(id=101, name="a", type=DataType.INT8, nullable=True),
            Field(id=102, name="b", type=DataType.INT8, nullable=True),
        )
    )
    values = [0, 1, None]
    rows = Table(schema, {"id": [0], "a": [values[left]], "b": [values[right]]})
    both, either = "a == 1 and b == 1", "a == 1 or b == 1"
    assert bool(rows.find(both)) == (left == 1 and right == 1)
    assert bool(rows.find(f"not ({both})")) == (left == 0 or right == 0)
    assert bool(rows.find(either)) == (left == 1 or right == 1)
    assert bool(rows.find(f"not ({either})")) == (left == 0 and right == 0)
    assert bool(rows.find("a == b")) == (left == right != 2)
    assert bool(rows.find("not (a == b)")) == (left != right and 2 not in (left, right))


def test_no_rows() -> None:
    for type in (DataType.INT64, DataType.VARCHAR, DataType.JSON, DataType.BOOL):
        assert table(type, []).find("x is null or id > 1") == []
    assert (
        table(DataType.JSON, []).find("x['a'] + 1 == 1 or json_contains(x, 1) or array_length(x) == 1") == []
    )
    assert (
        table(DataType.ARRAY, [], DataType.INT64).find("x[0] == 1 or array_contains(x, 1) or x == [1]") == []
    )
    assert table(DataType.VARCHAR, []).find("x like 'a_%' or x in ['a'] or true") == []


def test_constant_filters() -> None:
    rows = table(DataType.INT64, [1, 2])
    assert rows.find("") == [0, 1]
    assert rows.find("1 == 1") == [0, 1]
    assert rows.find("false") == []


def test_slices_of_arrays_are_read_where_they_begin() -> None:
    whole = table(DataType.ARRAY, LISTS, DataType.INT64)
    part = table(DataType.ARRAY, LISTS[2:], DataType.INT64)
    part._columns[101] = whole.column(101)[2:]
    for text in ("x[0] == 0", "array_contains(x, 1)", "x == [0, 1]", "array_length(x) == 2"):
        assert part.find(text) == [row - 2 for row in whole.find(text) if row >= 2]
