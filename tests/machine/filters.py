"""Random filters, each as the text for the server and as a test in Python with three-valued logic."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.reference import Condition, Values

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
WORDS = ("", "a", "ab", "abc", "b", "äb", "zz")
INTEGERS = ("i8", "i16", "i32", "i64")
FLOATS = ("f", "d")
NULLABLE = ("b", "i32", "d", "s")


@dataclass(frozen=True)
class Filter:
    text: str
    test: Condition

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"


EVERYTHING = Filter("", lambda values: True)


def column(name: str, text: str, test: Callable[[Any], bool]) -> Filter:
    """A predicate on one column: NULL where the column is."""

    def evaluate(values: Values) -> bool | None:
        value = values[name]
        return None if value is None else test(value)

    return Filter(text, evaluate)


def negate(inner: Filter) -> Filter:
    def evaluate(values: Values) -> bool | None:
        truth = inner.test(values)
        return None if truth is None else not truth

    return Filter(f"not ({inner.text})", evaluate)


def both(left: Filter, right: Filter) -> Filter:
    def evaluate(values: Values) -> bool | None:
        truths = (left.test(values), right.test(values))
        return False if False in truths else None if None in truths else True

    return Filter(f"({left.text}) and ({right.text})", evaluate)


def either(left: Filter, right: Filter) -> Filter:
    def evaluate(values: Values) -> bool | None:
        truths = (left.test(values), right.test(values))
        return True if True in truths else None if None in truths else False

    return Filter(f"({left.text}) or ({right.text})", evaluate)


operators = st.sampled_from(sorted(COMPARE))
small = st.integers(-8, 8)


def quoted(text: str) -> str:
    return f'"{text}"'


@st.composite
def comparisons(draw: st.DrawFn) -> Filter:
    name, op = draw(st.sampled_from(INTEGERS + FLOATS)), draw(operators)
    constant: int | float = draw(small)
    if name in FLOATS and draw(st.booleans()):
        constant = constant / 4
    if draw(st.booleans()):
        return column(name, f"{name} {op} {constant}", lambda v: COMPARE[op](v, constant))
    return column(name, f"{constant} {op} {name}", lambda v: COMPARE[op](constant, v))


@st.composite
def ranges(draw: st.DrawFn) -> Filter:
    name, low, width = draw(st.sampled_from(INTEGERS + FLOATS)), draw(small), draw(st.integers(1, 6))
    return column(name, f"{low} <= {name} < {low + width}", lambda v: low <= v < low + width)


@st.composite
def calculations(draw: st.DrawFn) -> Filter:
    name, op, constant = draw(st.sampled_from(INTEGERS)), draw(operators), draw(small)
    kind, operand = draw(st.sampled_from("+-*%")), draw(st.integers(1, 5))
    calculate: dict[str, Callable[[int], int]] = {
        "+": lambda v: v + operand,
        "-": lambda v: v - operand,
        "*": lambda v: v * operand,
        "%": lambda v: int(math.fmod(v, operand)),
    }
    return column(
        name,
        f"{name} {kind} {operand} {op} {constant}",
        lambda v: COMPARE[op](calculate[kind](v), constant),
    )


@st.composite
def memberships(draw: st.DrawFn) -> Filter:
    name = draw(st.sampled_from((*INTEGERS, "s")))
    wanted: list[Any] = draw(st.lists(st.sampled_from(WORDS) if name == "s" else small, max_size=5))
    listed = ", ".join(quoted(w) if name == "s" else str(w) for w in wanted)
    if draw(st.booleans()):
        return column(name, f"{name} not in [{listed}]", lambda v: v not in wanted)
    return column(name, f"{name} in [{listed}]", lambda v: v in wanted)


@st.composite
def texts(draw: st.DrawFn) -> Filter:
    word = draw(st.sampled_from(WORDS))
    match draw(st.sampled_from(("compare", "starts", "ends", "inside", "one"))):
        case "compare":
            op = draw(operators)
            return column("s", f"s {op} {quoted(word)}", lambda v: COMPARE[op](v, word))
        case "starts":
            return column("s", f's like "{word}%"', lambda v: v.startswith(word))
        case "ends":
            return column("s", f's like "%{word}"', lambda v: v.endswith(word))
        case "inside":
            return column("s", f's like "%{word}%"', lambda v: word in v)
    return column("s", f's like "{word}_"', lambda v: len(v) == len(word) + 1 and v.startswith(word))


@st.composite
def nulls(draw: st.DrawFn) -> Filter:
    name = draw(st.sampled_from(NULLABLE))
    if draw(st.booleans()):
        return Filter(f"{name} is null", lambda values: values[name] is None)
    return Filter(f"{name} is not null", lambda values: values[name] is not None)


@st.composite
def booleans(draw: st.DrawFn) -> Filter:
    wanted = draw(st.booleans())
    return column("b", f"b == {str(wanted).lower()}", lambda v: v is wanted)


@st.composite
def pairs(draw: st.DrawFn) -> Filter:
    left, right, op = draw(st.sampled_from(INTEGERS)), draw(st.sampled_from(INTEGERS)), draw(operators)

    def evaluate(values: Values) -> bool | None:
        if values[left] is None or values[right] is None:
            return None
        return COMPARE[op](values[left], values[right])

    return Filter(f"{left} {op} {right}", evaluate)


@st.composite
def dynamics(draw: st.DrawFn) -> Filter:
    """A missing key, or a value of another type, is no match and not NULL."""
    name = draw(st.sampled_from(("extra", '$meta["extra"]')))
    op = draw(operators)
    constant: int | str = draw(st.one_of(small, st.sampled_from(WORDS)))
    text = f"{name} {op} {quoted(constant) if isinstance(constant, str) else constant}"

    def evaluate(values: Values) -> bool | None:
        value = values.get("extra")
        if type(value) is not type(constant):
            return op == "!="
        return COMPARE[op](value, constant)

    return Filter(text, evaluate)


leaves = st.one_of(
    comparisons(),
    ranges(),
    calculations(),
    memberships(),
    texts(),
    nulls(),
    booleans(),
    pairs(),
    dynamics(),
)
filters: st.SearchStrategy[Filter] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(negate, inner), st.builds(both, inner, inner), st.builds(either, inner, inner)
    ),
    max_leaves=4,
)
