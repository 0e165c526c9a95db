"""Messages: position, what was expected, what was found; and no text gets past them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.expr import Limits, parse
from elanus.model.codes import Code
from elanus.model.errors import InvalidExpression, Unimplemented
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

FIELDS = (
    Field(id=100, name="id", type=DataType.INT64, primary=True),
    Field(id=101, name="color", type=DataType.VARCHAR),
    Field(id=102, name="rank", type=DataType.INT32),
    Field(id=103, name="ready", type=DataType.BOOL),
    Field(id=104, name="j", type=DataType.JSON),
    Field(id=105, name="a", type=DataType.ARRAY, element_type=DataType.VARCHAR),
)
SCHEMA = Schema(fields=FIELDS)
DYNAMIC = Schema(
    fields=(*FIELDS, Field(id=106, name="$meta", type=DataType.JSON, dynamic=True)), dynamic=True
)


def refusal(text: str, limits: Limits | None = None) -> InvalidExpression:
    with pytest.raises(InvalidExpression) as caught:
        parse(text, SCHEMA, limits=limits or Limits())
    return caught.value


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("rank >", 6, "expected a value after '>' at position 6, found end of expression"),
        ("rank > )", 7, "expected a value after '>' at position 7, found ')'"),
        (
            "(rank > 1",
            9,
            "the '(' at position 0 is not closed: expected ')' at position 9, found end of expression",
        ),
        ("rank in [1, 2", 13, "the '[' at position 8 is not closed: expected ']'"),
        ("rank <> 1", 6, "inequality is written '!='"),
        ("rank === 1", 7, "equality is written '=='"),
        ("color == blue", 9, "if blue is a string, write it in quotes: 'blue'"),
        ("rank = 1", 5, "equality is written '=='"),
        ("rank == 1 rank", 10, "expected an operator after '1' at position 10, found 'rank'"),
        ("rank # 1", 5, "unexpected character '#' at position 5"),
        ("color == 'red", 9, "the string that starts at position 9 has no closing '"),
        ("rank == 12x", 8, "'12x' at position 8 is not a number"),
        (
            "colour == 'red'",
            0,
            "field 'colour' does not exist and the dynamic field is off; did you mean 'color'?",
        ),
        ("id > 1 and rnk == 1", 11, "did you mean 'rank'?"),
        (
            "rank == 1.5",
            0,
            "float 1.5 does not fit INT32 field 'rank'; expected an integer, in 'rank == 1.5'",
        ),
        ("ready", 0, "write ready == true"),
        ("not rank == 1", 4, "'not' binds tighter than a comparison: write not (a == b)"),
        ("not (rank == 1) == true", 0, "'not' binds tighter than '=='"),
        ("json_contain(j, 1)", 0, "there is no function 'json_contain'; did you mean 'json_contains'?"),
        ("rank == {x}", 8, "no value was given for template parameter 'x'"),
        ("color is  null", 6, "a null test is 'is null' or 'is not null'"),
        ("color == null", 9, "write 'is null' or 'is not null'"),
        ("color =~ '('", 9, "not a regular expression (RE2)"),
        ("9 < rank < 5", 0, "no value is between 9 and 5"),
        ("rank == 9223372036854775808", 8, "an integer must be at most 9223372036854775807"),
        (r"color == '\q'", 9, r"\q is not an escape"),
    ],
)
def test_a_message_says_where_and_what_was_expected(text: str, position: int, message: str) -> None:
    error = refusal(text)
    assert message in str(error)
    assert message in error.message
    assert error.position == position
    assert error.text == text
    assert error.code is Code.QUERY_PLAN


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "(" * 100_000 + "true" + ")" * 100_000,
        "[" * 100_000,
        "not " * 100_000 + "true",
        "!" * 100_000 + "true",
        "-" * 100_000 + "1",
        "1 + " * 100_000 + "1 == 1",
        "2 ** " * 100_000 + "1 == 1",
        "array_length(" * 100_000,
        "rank == 1 or (rank == 2 and " * 1000 + "true" + ")" * 1000,
        "rank == " * 100_000 + "1",
        "1 < " * 100_000 + "1",
        ("(1 + " * 100 + "1" + " + 1)" * 100 + " + 1") + " == 1 == " * 100 + "1",
    ],
)
def test_deep_nesting_is_an_error_and_not_a_stack_overflow(text: str) -> None:
    with pytest.raises(InvalidExpression):
        parse(text, SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        "not " * 90 + "(rank == 1)",
        "(" * 90 + "rank == 1" + ")" * 90,
        "rank == 1 or (rank == 2 and (" * 20 + "rank == 3" + "))" * 20,
        "1 + " * 90 + "1 == rank",
    ],
)
def test_nesting_up_to_the_limit_fits_the_stack_of_a_busy_thread(text: str) -> None:
    def below(frames: int) -> frozenset[int]:
        return below(frames - 1) if frames else parse(text, SCHEMA).fields

    assert below(200) == {102}


def test_a_long_chain_of_or_is_not_deep() -> None:
    text = " or ".join(f"rank == {i}" for i in range(5000))
    assert parse(text, SCHEMA).fields == {102}


def test_the_limits_are_parameters() -> None:
    assert "at most 10" in refusal("rank == 1 or rank == 2", Limits(max_chars=10)).message
    assert "more than 3 deep" in refusal("((((rank == 1))))", Limits(max_depth=3)).message


def test_a_template_value_that_nests_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidExpression, match="nests too deep"):
        parse("a == {x}", SCHEMA, {"x": endless})  # type: ignore[dict-item]


@pytest.mark.parametrize("value", [None, object(), 1 << 63, float("nan"), float("inf"), {"a": 1}, [None]])
def test_a_template_value_without_a_place_in_the_language_is_refused(value: object) -> None:
    with pytest.raises(InvalidExpression, match="cannot be used"):
        parse("j['x'] == {x}", SCHEMA, {"x": value})  # type: ignore[dict-item]


WORDS = r"""
id color rank ready j a $meta null 1 -1 1.5 0x1p3 08 'x' "y%" r'\' true False [ ] ( ) { } , == != < <= > >=
+ - * / % ** << >> & | ^ ~ ! && || and or not in like exists =~ !~ = is_null array_length( json_contains(
text_match( j['x'] a[0] [1,2,3] {t} $ ISO'x' 9223372036854775808 1e400 '\ud800' 99999999999999999999
"""
PIECES = st.sampled_from([*WORDS.split(), "is null", "is not null", "not in"])


@settings(max_examples=800, deadline=None)
@given(st.lists(PIECES, max_size=14).map(" ".join))
def test_any_sequence_of_tokens_is_a_plan_or_a_clear_refusal(text: str) -> None:
    _plan_or_refusal(text)


@settings(max_examples=400, deadline=None)
@given(st.text(st.characters(codec=None), max_size=40))
def test_any_text_is_a_plan_or_a_clear_refusal(text: str) -> None:
    _plan_or_refusal(text)


def test_a_string_without_quotes_is_guessed_where_fields_are_dynamic() -> None:
    with pytest.raises(InvalidExpression, match="if blue is a string, write it in quotes: 'blue'"):
        parse("shade == blue", DYNAMIC)


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("id 1.'\"\\x()[]{}$=<>&|!~-*+a%un0,"), max_size=30))
def test_any_noise_of_the_languages_own_characters_is_a_plan_or_a_clear_refusal(text: str) -> None:
    _plan_or_refusal(text)


def _plan_or_refusal(text: str) -> None:
    for schema in (SCHEMA, DYNAMIC):
        try:
            plan = parse(text, schema, {"t": 1})
        except (InvalidExpression, Unimplemented):
            continue
        assert hash(plan) == hash(parse(text, schema, {"t": 1}))
