"""One example or more for each rule of the filter language."""

import pytest

from elanus.expr import Plan, parse
from elanus.expr.plan import (
    Always,
    And,
    Arithmetic,
    Column,
    Compare,
    CompareColumns,
    Constant,
    Contains,
    Element,
    Exists,
    In,
    IsNull,
    Json,
    Kind,
    Length,
    Like,
    Not,
    Or,
    Predicate,
    Range,
    Regex,
    Values,
)
from elanus.model.errors import InvalidExpression, Unimplemented
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

FIELDS = (
    Field(id=100, name="id", type=DataType.INT64, primary=True),
    Field(id=101, name="i8", type=DataType.INT8),
    Field(id=102, name="f", type=DataType.FLOAT),
    Field(id=103, name="d", type=DataType.DOUBLE),
    Field(id=104, name="s", type=DataType.VARCHAR, nullable=True),
    Field(id=105, name="b", type=DataType.BOOL),
    Field(id=106, name="ai", type=DataType.ARRAY, element_type=DataType.INT64),
    Field(id=107, name="texts", type=DataType.ARRAY, element_type=DataType.VARCHAR),
    Field(id=108, name="j", type=DataType.JSON, nullable=True),
    Field(id=109, name="vec", type=DataType.FLOAT_VECTOR, dim=2),
    Field(id=110, name="t", type=DataType.TIMESTAMPTZ),
    Field(id=111, name="größe", type=DataType.INT64),
)
STATIC = Schema(fields=FIELDS)
DYNAMIC = Schema(
    fields=(*FIELDS, Field(id=112, name="$meta", type=DataType.JSON, dynamic=True)), dynamic=True
)
ID = Column(100, DataType.INT64)
S = Column(104, DataType.VARCHAR)
F = Column(102, DataType.FLOAT)
AI = Column(106, DataType.ARRAY, DataType.INT64)


def root(text: str, **templates: object) -> Predicate:
    return parse(text, STATIC, templates).root  # type: ignore[arg-type]


def integer(value: int) -> Constant:
    return Constant(Kind.INT, value)


def eq(value: int) -> Compare:
    return Compare("==", ID, integer(value))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("id == 1 or id == 2 and id == 3", "id == 1 or (id == 2 and id == 3)"),
        ("not (id == 1) and id == 2", "(not (id == 1)) and id == 2"),
        ("not s like 'x%'", "not (s like 'x%')"),
        ("not s =~ 'x'", "not (s =~ 'x')"),
        ("id == -2 ** 2", "id == -4"),
        ("id == 2 ** 3 ** 2", "id == 64"),
        ("id == 2 + 3 * 4", "id == 14"),
        ("id == 7 - 3 - 2", "id == 2"),
        ("id + 1 == 2 * 3", "id + 1 == 6"),
        ("1 + id == 2", "id + 1 == 2"),
        ("3 < id", "id > 3"),
        ("id not in [1]", "not (id in [1])"),
        ("not (id in [1])", "not (not (id not in [1]))"),
        ("s !~ 'x'", "not (s =~ 'x')"),
        ("id == 1 && !(id == 2)", "id == 1 and not (id == 2)"),
        ("id == 1 || id == 2", "id == 1 OR id == 2"),
        ("9 > id >= 5", "5 <= id < 9"),
        ("+id == 1", "id == 1"),
        ("id in [1, 2,]", "id in [1,2]"),
        ("id == 0x10", "id == 16"),
        ("id == 010", "id == 8"),
        ("id == 0b11", "id == 3"),
        ("d == .5", "d == 5e-1"),
        ("d == 1.", "d == 1"),
        ("d == 0x1.8p3", "d == 12.0"),
        ("s == 'a'", 's == u8"a"'),
        (r"s == '\x41\102\u0043\U00000044\n'", 's == "ABCD\\n"'),
        (r"s == r'\n'", r"s == '\\n'"),
        ("b == true", "b == True"),
        ("b == false", "b == FALSE"),
        ("gr\\u00f6ße == 1", "größe == 1"),
        ("7 / 2 == 3 and id == 1", "id == 1"),
        ("-7 / 2 == -3 and -7 % 4 == -3 and id == 1", "id == 1"),
        ("id == 1 and id == 1", "id == 1"),
        ("id == 1 or (id == 2 or id == 3)", "id == 1 or id == 2 or id == 3"),
        ("JSON_CONTAINS(j['a'], 1)", "json_contains(j['a'], 1)"),
    ],
)
def test_two_spellings_are_one_plan(left: str, right: str) -> None:
    assert parse(left, STATIC) == parse(right, STATIC)


@pytest.mark.parametrize(
    ("text", "plan"),
    [
        ("id == 1", eq(1)),
        ("id > -9223372036854775808", Compare(">", ID, integer(-(1 << 63)))),
        ("f > 1", Compare(">", F, Constant(Kind.FLOAT, 1.0))),
        ("id == 1 and id == 2 and id == 3", And((eq(1), eq(2), eq(3)))),
        ("id == 1 or id == 2", Or((eq(1), eq(2)))),
        ("not (id == 1)", Not(eq(1))),
        ("5 <= id < 9", Range(ID, integer(5), True, integer(9), False)),
        ("id in [3, 1]", In(ID, Values(ints=(3, 1)))),
        ("f in [1, 2.5]", In(F, Values(floats=(1.0, 2.5)))),
        ("s like 'a%'", Like(S, "a%")),
        (r"s like 'a\%'", Like(S, r"a\%")),
        (r"s like 'a\\%'", Like(S, r"a\%")),
        (r"s like r'a\%'", Like(S, r"a\%")),
        (r"s =~ '\.json$'", Regex(S, r"\.json$")),
        ("s is null", IsNull(104)),
        ("s IS NOT NULL", Not(IsNull(104))),
        ("j is null", IsNull(108)),
        ("j['a'] is null", Not(Exists(Json(108, ("a",))))),
        ("j['a'] is not null", Exists(Json(108, ("a",)))),
        ("exists j['a'][0]['b']", Exists(Json(108, ("a", 0, "b")))),
        ("j['a'] == 1", Compare("==", Json(108, ("a",)), integer(1))),
        ("j['a'] in [1, 2.5]", In(Json(108, ("a",)), Values(floats=(1.0, 2.5)))),
        ("j['a'] in [1, 'x', true]", In(Json(108, ("a",)), Values(bools=(True,), ints=(1,), strings=("x",)))),
        ("ai[2] == 1", Compare("==", Element(106, 2, DataType.INT64), integer(1))),
        ("ai == [1]", Compare("==", AI, Constant(Kind.LIST, (integer(1),)))),
        ("array_length(ai) > 1", Compare(">", Length(AI), integer(1))),
        ("array_contains(ai, 1)", Contains(AI, Values(ints=(1,)), False)),
        ("array_contains_all(ai, [1, 2])", Contains(AI, Values(ints=(1, 2)), True)),
        (
            "json_contains_any(j['a'], [1, 2.5])",
            Contains(Json(108, ("a",)), Values(ints=(1,), floats=(2.5,)), False),
        ),
        ("i8 + 1 == 2", Compare("==", Arithmetic("+", Column(101, DataType.INT8), 1, True), integer(2))),
        ("f * 2 == 2", Compare("==", Arithmetic("*", F, 2.0, False), Constant(Kind.FLOAT, 2.0))),
        ("id < i8", CompareColumns("<", ID, Column(101, DataType.INT8))),
        ("", Always(True)),
        (" \n", Always(True)),
        ("true", Always(True)),
        ("1 == 2", Always(False)),
        ("true and id == 1", eq(1)),
        ("false and id == 1", Always(False)),
        ("true or id == 1", Always(True)),
        ("id == 1 or false", eq(1)),
        ("not true", Always(False)),
    ],
)
def test_a_filter_becomes_its_plan(text: str, plan: Predicate) -> None:
    assert root(text) == plan


@pytest.mark.parametrize(
    "text",
    [
        "not id == 1",
        "not id in [1]",
        "a & 1 == 1",
        "id & 1 == 1",
        "id << 1 == 2",
        "~id == 1",
        "-id == 1",
        "id + 1 in [1]",
        "id == 1 == true",
        "id > 1 > b",
        "b",
        "not b",
        "b and id == 1",
        "b > true",
        "b == 1",
        "id",
        "1",
        "'a'",
        "[1]",
        "i8 > 3.5",
        "i8 == 3.0",
        "i8 in [3.0]",
        "id == 'a'",
        "s == 1",
        "s in [1]",
        "id in 1",
        "id in [i8]",
        "id in s",
        "1 in [1]",
        "ai in [1]",
        "ai > [1]",
        "ai == ['a']",
        "ai + 1 == 2",
        "ai like 'a'",
        "ai['a'] == 1",
        "ai[0][0] == 1",
        "ai[0] is null",
        "ai[0] == 1.5",
        "texts[0] == 1",
        "array_contains(ai, 'x')",
        "array_contains_all(ai, 1)",
        "array_contains(ai)",
        "array_length(id) == 1",
        "array_length(ai) == 1.5",
        "id[0] == 1",
        "id + i8 == 1",
        "10 - id == 1",
        "12 / id == 1",
        "(id + 1) * 2 == 6",
        "id + 1 + 2 == 6",
        "id / 0 == 1",
        "id % 0 == 1",
        "id % 2.0 == 1",
        "f % 2 == 1",
        "id ** 2 == 4",
        "id / 2 == 1.5",
        "s + 'a' == 'b'",
        "1 / 0 == 1",
        "9223372036854775807 + 1 == id",
        "j['a'] == j['b']",
        "j['a'] == id",
        "j['a'] > [1]",
        "j['a'] > true",
        "id < s",
        "b < b",
        "s == texts[0]",
        "9 < id < 5",
        "5 < id < 5",
        "5 < id <= 5",
        "1 < id > 3",
        "1 < id + 1 < 3",
        "i8 < id < 3",
        "1 < j['a'] < 'x'",
        "exists id",
        "exists j",
        "vec == 1",
        "vec is null",
        "s is  null",
        "s Is null",
        "id == 1 And id == 2",
        "s is nothing",
        "id == null",
        "NULL == 1",
        "id = 1",
        "id == 1 id",
        "id ==",
        "(id == 1",
        "id == 1)",
        "id == 9223372036854775808",
        "id == -9223372036854775809",
        "d == 1e999",
        "id == 09",
        "id == 1a",
        "s == 'a",
        "s == 'a\nb'",
        r"s == '\q'",
        r"s == '\xff'",
        r"s == '\ud800'",
        "s like 1",
        "s like s",
        r"s like 'a\\'",
        "id like '1%'",
        "s =~ '('",
        "nosuch(1) == 1",
        "Json_contains(j, 1)",
        "nosuch == 1",
        "$meta['a'] == 1",
        "id == {x}",
        "1 == {one}",
        "{one} == id == 1",
        "{one} + 1 == id",
        "id in {one}",
        "s like {one}",
        "id == {name}",
    ],
)
def test_what_the_language_does_not_allow_is_refused(text: str) -> None:
    with pytest.raises(InvalidExpression):
        root(text, one=1, name="a")


@pytest.mark.parametrize(
    "text",
    [
        "text_match(s, 'a', minimum_should_match=2)",
        "phrase_match(s, 'a', 1)",
        "random_sample(0.1)",
        "id > 1 and RANDOM_SAMPLE(0.1)",
        "st_within(s, 'POINT(1 1)')",
        "element_filter(st, $[x] > 1)",
        "match_any(j, $[x] > 1)",
        "t == ISO '2025-01-01T00:00:00Z'",
        "t + INTERVAL 'P1D' > ISO '2025-01-01T00:00:00Z'",
        "array_length(j[sub]) == 1",
        "t == 1",
    ],
)
def test_what_is_known_but_not_built_says_so(text: str) -> None:
    with pytest.raises(Unimplemented):
        root(text)


def test_a_name_that_is_no_field_is_a_key_of_the_dynamic_field() -> None:
    plans = [parse(text, DYNAMIC) for text in ("color == 'red'", "$meta['color'] == 'red'")]
    assert plans[0] == plans[1]
    assert plans[0].root == Compare("==", Json(112, ("color",)), Constant(Kind.STRING, "red"))
    assert plans[0].fields == {112}
    assert parse("a['b'][1] == 1", DYNAMIC).root == Compare("==", Json(112, ("a", "b", 1)), integer(1))
    assert parse("exists color", DYNAMIC).root == Exists(Json(112, ("color",)))


def test_template_values_stand_for_literals() -> None:
    assert root("id == {x}", x=1) == eq(1)
    assert root("id in {x}", x=[1, 2]) == In(ID, Values(ints=(1, 2)))
    assert root("id in [{x}, 2]", x=1) == In(ID, Values(ints=(1, 2)))
    assert root("{lo} <= id < {hi}", lo=1, hi=3) == Range(ID, integer(1), True, integer(3), False)
    assert root("s like {p}", p="a%") == Like(S, "a%")
    assert root("s =~ {p}", p="a+") == Regex(S, "a+")
    assert root("f > {x}", x=1) == Compare(">", F, Constant(Kind.FLOAT, 1.0))
    assert root("i8 + {x} == 2", x=1) == root("i8 + 1 == 2")
    assert root("json_contains_all(j['a'], {x})", x=[1, 2]) == root("json_contains_all(j['a'], [1, 2])")
    assert root("s == {x}", x="'; or true") == Compare("==", S, Constant(Kind.STRING, "'; or true"))


def test_plans_of_1_and_true_and_1_0_differ() -> None:
    plans: set[Plan] = {parse(f"j['a'] == {value}", STATIC) for value in ("1", "1.0", "true", "'1'")}
    plans |= {parse(f"json_contains(j['a'], {value})", STATIC) for value in ("1", "1.0", "true", "'1'")}
    assert len(plans) == 8


def test_a_plan_knows_its_fields() -> None:
    assert parse("id > 1 and (s like 'a%' or array_length(ai) == 1)", STATIC).fields == {100, 104, 106}


def test_a_plan_that_names_its_keys_gives_them() -> None:
    keys = {
        text: parse(text, STATIC).primary_keys()
        for text in ("id == 4", "id in [3, 1, 3]", "4 == id", "id in []")
    }
    assert {text: array.to_pylist() for text, array in keys.items() if array is not None} == {
        "id == 4": [4],
        "id in [3, 1, 3]": [3, 1],
        "4 == id": [4],
        "id in []": [],
    }
    for text in ("id > 4", "not (id == 4)", "id == 4 or s == 'a'", "i8 == 4", "id + 1 == 4", ""):
        assert parse(text, STATIC).primary_keys() is None


def test_a_long_list_is_the_same_plan_as_its_pieces() -> None:
    numbers = [0, -5, 10**17, 7, 8, 9, 10, 11, 12]
    assert root(f"id in {numbers}") == In(ID, Values(ints=tuple(numbers)))
    assert root(f"id in [ {', '.join(map(str, numbers))} , ]") == In(ID, Values(ints=tuple(numbers)))
    assert root("id in [1,2,3,4,5,6,7,8,010]") == In(ID, Values(ints=(1, 2, 3, 4, 5, 6, 7, 8, 8)))


def test_empty_and_starts_with_are_comparisons_of_text() -> None:
    assert root("empty(s)") == root("s == ''")
    assert root("STARTS_WITH(s, 'a')") == root("s like 'a%'")
    assert root(r"starts_with(s, '50%_\\')") == root(r"s like '50\%\_\\\\%'")
    for wrong in (
        "empty(id)",
        "empty(s, 'a')",
        "starts_with(s)",
        "starts_with(s, 1)",
        "starts_with(id, 'a')",
    ):
        with pytest.raises(InvalidExpression):
            root(wrong)
