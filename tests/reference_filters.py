"""Random filters over a few fields, and a slow evaluator that knows nothing of vectors.

A value is True, False or None (NULL). The model is written from the rules, row by row.
"""

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

Row = dict[str, Any]
Truth = bool | None
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
INTEGERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([127, -128, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63)])
)
FLOATS = st.sampled_from([0.0, 0.1, 0.5, -1.5, 2.0, 3.0, 1e10])
TEXTS = st.text("ab%_é\n\\", max_size=3)
LISTS = st.lists(st.integers(-2, 2), max_size=3)
JSON_VALUES = st.one_of(st.none(), st.booleans(), INTEGERS, FLOATS, TEXTS, LISTS)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b"]), JSON_VALUES, max_size=2)
ROWS = st.fixed_dictionaries(
    {
        "small": st.none() | st.integers(-128, 127) | st.integers(-3, 3),
        "large": st.none() | INTEGERS,
        "single": st.none() | FLOATS.map(lambda x: float(np.float32(x))),
        "double": st.none() | FLOATS,
        "text": st.none() | TEXTS,
        "flag": st.none() | st.booleans(),
        "list": st.none() | LISTS,
        "doc": st.none() | DOCUMENTS,
        "$meta": DOCUMENTS,
    }
)


@dataclass(frozen=True)
class Term:
    """A filter as text with the values of its templates, and its truth for one row by the rules."""

    text: str
    truth: Callable[[Row], Truth]
    values: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Term({self.text!r}, {dict(self.values)})" if self.values else f"Term({self.text!r})"


def quoted(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(quoted, value)) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else repr(value)


def null_if(missing: bool, truth: Callable[[], bool]) -> Truth:
    return None if missing else truth()


def column(name: str, op: str, value: Any) -> Term:
    given = float(np.float32(value)) if name == "single" else value
    return Term(
        f"{name} {op} {quoted(value)}",
        lambda row: null_if(row[name] is None, lambda: OPERATORS[op](row[name], given)),
    )


def mirrored(name: str, op: str, value: int) -> Term:
    return Term(
        f"{value} {op} {name}",
        lambda row: null_if(row[name] is None, lambda: OPERATORS[op](value, row[name])),
    )


def chain(name: str, low: Any, high: Any, low_op: str, high_op: str) -> Term:
    def truth(row: Row) -> Truth:
        value = row[name]
        return null_if(
            value is None, lambda: OPERATORS[low_op](low, value) and OPERATORS[high_op](value, high)
        )

    return Term(f"{quoted(low)} {low_op} {name} {high_op} {quoted(high)}", truth)


def member(name: str, values: list[Any], negated: bool) -> Term:
    given = [float(np.float32(v)) for v in values] if name == "single" else values
    word = "not in" if negated else "in"
    return Term(
        f"{name} {word} {quoted(values)}",
        lambda row: null_if(row[name] is None, lambda: (row[name] in given) != negated),
    )


def wrapped(value: int) -> int:
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def calculated(op: str, left: int, right: int) -> int:
    if op in "/%":
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return wrapped(quotient if op == "/" else left - quotient * right)
    return wrapped({"+": left + right, "-": left - right, "*": left * right}[op])


def arithmetic(name: str, op: str, operand: int, compare: str, value: int) -> Term:
    def truth(row: Row) -> Truth:
        left = row[name]
        return null_if(left is None, lambda: OPERATORS[compare](calculated(op, left, operand), value))

    return Term(f"{name} {op} {operand} {compare} {value}", truth)


def like(pattern: str, negated: bool) -> Term:
    expression, characters = "", iter(pattern)
    for c in characters:
        wild = {"%": ".*", "_": "."}.get(c)
        expression += wild or re.escape(next(characters) if c == "\\" else c)
    match = re.compile(expression, re.DOTALL).fullmatch
    text = f"text like {json.dumps(pattern, ensure_ascii=False)}"
    return Term(
        f"not ({text})" if negated else text,
        lambda row: null_if(row["text"] is None, lambda: bool(match(row["text"])) != negated),
    )


def null_test(name: str, negated: bool) -> Term:
    return Term(f"{name} is {'not ' * negated}null", lambda row: (row[name] is None) != negated)


def element(index: int, op: str, value: int) -> Term:
    def truth(row: Row) -> Truth:
        items = row["list"]
        return null_if(items is None, lambda: index < len(items) and OPERATORS[op](items[index], value))

    return Term(f"list[{index}] {op} {value}", truth)


def contains(kind: str, values: list[int]) -> Term:
    choose = all if kind == "all" else any
    return Term(
        f"array_contains_{kind}(list, {values})",
        lambda row: null_if(row["list"] is None, lambda: choose(v in row["list"] for v in values)),
    )


def length(op: str, value: int) -> Term:
    return Term(
        f"array_length(list) {op} {value}",
        lambda row: null_if(row["list"] is None, lambda: OPERATORS[op](len(row["list"]), value)),
    )


def json_contains(path: str, kind: str, values: list[int]) -> Term:
    """Of integers: only an integer is found as one."""
    name, key = PATHS[path]
    choose = all if kind == "_all" else any

    def truth(row: Row) -> Truth:
        items = row[name] if row[name] is None else row[name].get(key)
        if row[name] is None:
            return None
        if not isinstance(items, list):
            return False
        return choose(any(type(i) is int and i == v for i in items) for v in values)

    given = quoted(values) if kind else quoted(values[0])
    return Term(f"json_contains{kind}({path}, {given})", truth)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def json_compare(found: Any, op: str, value: Any) -> bool:
    if op == "!=":
        return not json_compare(found, "==", value)
    if is_number(found) and is_number(value):
        if isinstance(found, float) or isinstance(value, float):
            found, value = float(found), float(value)
        return OPERATORS[op](found, value)
    return type(found) is type(value) and OPERATORS[op](found, value)


PATHS = {
    "doc['a']": ("doc", "a"),
    "doc['b']": ("doc", "b"),
    "a": ("$meta", "a"),
    "$meta['b']": ("$meta", "b"),
}


def json_column(path: str, op: str, value: Any) -> Term:
    name, key = PATHS[path]
    return Term(
        f"{path} {op} {quoted(value)}",
        lambda row: null_if(row[name] is None, lambda: json_compare(row[name].get(key), op, value)),
    )


def json_member(path: str, values: list[Any], negated: bool) -> Term:
    name, key = PATHS[path]
    if any(isinstance(v, float) for v in values):
        values = [float(v) if is_number(v) else v for v in values]

    def truth(row: Row) -> Truth:
        if row[name] is None:
            return None
        return any(json_compare(row[name].get(key), "==", v) for v in values) != negated

    return Term(f"{path} {'not in' if negated else 'in'} {quoted(values)}", truth)


def exists(path: str, spelling: str) -> Term:
    name, key = PATHS[path]
    there = spelling in ("exists", "is not null")
    text = f"exists {path}" if spelling == "exists" else f"{path} {spelling}"
    return Term(text, lambda row: ((row[name] or {}).get(key) is not None) == there)


def columns(left: str, op: str, right: str) -> Term:
    return Term(
        f"{left} {op} {right}",
        lambda row: null_if(None in (row[left], row[right]), lambda: OPERATORS[op](row[left], row[right])),
    )


def template(value: Any) -> str:
    """One name for one value, so that a filter of several terms has no name twice."""
    return f"t{zlib.crc32(repr(value).encode())}"


def templated(name: str, op: str, value: Any) -> Term:
    plain, slot = column(name, op, value), template(value)
    return Term(f"{name} {op} {{{slot}}}", plain.truth, {slot: value})


def templated_member(name: str, values: list[Any], negated: bool) -> Term:
    plain, slot = member(name, values, negated), template(values)
    return Term(f"{name} {'not in' if negated else 'in'} {{{slot}}}", plain.truth, {slot: values})


def negation(term: Term) -> Term:
    def truth(row: Row) -> Truth:
        inner = term.truth(row)
        return None if inner is None else not inner

    return Term(f"not ({term.text})", truth, term.values)


def junction(terms: list[Term], op: str) -> Term:
    def truth(row: Row) -> Truth:
        found = [term.truth(row) for term in terms]
        absorbing = op == "or"
        if absorbing in [f for f in found if f is not None]:
            return absorbing
        return None if None in found else not absorbing

    values = {name: value for term in terms for name, value in term.values.items()}
    return Term(f" {op} ".join(f"({term.text})" for term in terms), truth, values)


ANY_OP = st.sampled_from(list(OPERATORS))
EQUALITY = st.sampled_from(["==", "!="])
WHOLE = st.sampled_from(["small", "large", "id"])
NUMBER = st.sampled_from(["single", "double"])
LESS = st.sampled_from(["<", "<="])
PATH = st.sampled_from(list(PATHS))
PATTERNS = st.lists(st.sampled_from(["a", "b", "é", "%", "_", r"\%", r"\_", r"\\", "\n"]), max_size=4).map(
    "".join
)
ANY_OR_ALL = st.sampled_from(["_all", "_any"])
SMALL = st.integers(-3, 3)
NONZERO = st.sampled_from([-3, -2, -1, 1, 2, 3, (1 << 63) - 1])
JSON_SCALARS = st.one_of(INTEGERS, FLOATS, TEXTS)
TERMS = st.one_of(
    st.builds(column, WHOLE, ANY_OP, INTEGERS),
    st.builds(column, NUMBER, ANY_OP, FLOATS),
    st.builds(column, st.just("text"), ANY_OP, TEXTS),
    st.builds(column, st.just("flag"), EQUALITY, st.booleans()),
    st.builds(mirrored, WHOLE, ANY_OP, INTEGERS),
    st.builds(chain, WHOLE, SMALL, SMALL.map(lambda n: n + 7), LESS, LESS),
    st.builds(chain, st.just("text"), st.just("a"), st.sampled_from(["b", "é", "ab"]), LESS, LESS),
    st.builds(member, WHOLE, st.lists(INTEGERS, max_size=12), st.booleans()),
    st.builds(member, NUMBER, st.lists(FLOATS, max_size=4), st.booleans()),
    st.builds(member, st.just("text"), st.lists(TEXTS, max_size=4), st.booleans()),
    st.builds(arithmetic, WHOLE, st.sampled_from("+-*/%"), NONZERO, ANY_OP, INTEGERS),
    st.builds(like, PATTERNS, st.booleans()),
    st.builds(null_test, st.sampled_from(["small", "text", "list", "doc", "flag"]), st.booleans()),
    st.builds(element, st.integers(0, 3), ANY_OP, st.integers(-2, 2)),
    st.builds(contains, st.sampled_from(["all", "any"]), LISTS),
    st.builds(length, ANY_OP, st.integers(0, 3)),
    st.builds(json_column, PATH, ANY_OP, JSON_SCALARS),
    st.builds(json_column, PATH, EQUALITY, st.booleans()),
    st.builds(json_member, PATH, st.lists(JSON_SCALARS | st.booleans(), max_size=4), st.booleans()),
    st.builds(json_contains, PATH, st.just(""), st.lists(SMALL, min_size=1, max_size=1)),
    st.builds(json_contains, PATH, ANY_OR_ALL, st.lists(SMALL, min_size=1, max_size=3)),
    st.builds(columns, WHOLE, ANY_OP, WHOLE),
    st.builds(templated, WHOLE, ANY_OP, INTEGERS),
    st.builds(templated, st.just("text"), ANY_OP, TEXTS),
    st.builds(templated_member, WHOLE, st.lists(INTEGERS, min_size=1, max_size=4), st.booleans()),
    st.builds(exists, PATH, st.sampled_from(["exists", "is null", "is not null"])),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        st.builds(negation, inner),
        st.builds(junction, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"])),
    ),
    max_leaves=6,
)
