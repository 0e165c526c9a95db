"""Filters over the machine's collections: those of the reference, and of the fields it does not know."""

from typing import Any

from hypothesis import strategies as st

from tests.machine.samples import LETTERS, TAGS
from tests.reference import everywhere
from tests.reference_filters import ANY_OP, OPERATORS, TERMS, Row, Term, Truth, junction, negation, quoted

Filter = Term
EVERYTHING = Term("", everywhere)


def compare(name: str, op: str, value: Any) -> Term:
    """Of a field without nulls."""
    return Term(f"{name} {op} {quoted(value)}", lambda row: OPERATORS[op](row[name], value))


def member(name: str, values: list[Any], negated: bool) -> Term:
    word = "not in" if negated else "in"
    return Term(f"{name} {word} {quoted(values)}", lambda row: (row[name] in values) != negated)


def added(name: str, op: str, value: Any) -> Term:
    """Before the field is there, its name stands for a dynamic key that is missing: no match, not NULL."""

    def truth(row: Row) -> Truth:
        if name not in row:
            return op == "!="
        return None if row[name] is None else OPERATORS[op](row[name], value)

    return Term(f"{name} {op} {quoted(value)}", truth)


def words_contain(kind: str, values: list[str]) -> Term:
    choose = all if kind == "_all" else any
    given = quoted(values) if kind else quoted(values[0])
    return Term(
        f"array_contains{kind}(words, {given})", lambda row: choose(v in row["words"] for v in values)
    )


def word(index: int, op: str, value: str) -> Term:
    return Term(
        f"words[{index}] {op} {quoted(value)}",
        lambda row: index < len(row["words"]) and OPERATORS[op](row["words"][index], value),
    )


tags = st.sampled_from(TAGS)
letters = st.sampled_from(LETTERS)
some_letters = st.lists(letters, min_size=1, max_size=3)
ranks = st.integers(-1, 10)
tagged = st.one_of(
    st.builds(compare, st.just("tag"), st.just("=="), tags),
    st.builds(member, st.just("tag"), st.lists(tags, max_size=3), st.just(False)),
)
"""Of a partition key they choose the partitions that are read."""
leaves = st.one_of(
    TERMS,
    TERMS,
    TERMS,
    st.builds(compare, st.just("tag"), ANY_OP, tags),
    st.builds(member, st.just("tag"), st.lists(tags, max_size=3), st.booleans()),
    st.builds(compare, st.just("rank"), ANY_OP, ranks),
    st.builds(member, st.just("rank"), st.lists(ranks, max_size=4), st.booleans()),
    st.builds(added, st.just("late"), ANY_OP, ranks),
    st.builds(added, st.just("later"), ANY_OP, letters),
    st.builds(words_contain, st.just(""), st.lists(letters, min_size=1, max_size=1)),
    st.builds(words_contain, st.sampled_from(("_all", "_any")), some_letters),
    st.builds(word, st.integers(0, 3), ANY_OP, letters),
)
mixed = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(negation, inner),
        st.builds(junction, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"])),
    ),
    max_leaves=4,
)
filters: st.SearchStrategy[Filter] = st.one_of(
    mixed,
    mixed,
    tagged,
    st.builds(lambda one, other: junction([one, other], "and"), tagged, leaves),
)
