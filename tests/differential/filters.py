"""Random filters over the fields of `samples.schema`, as text.

Of what Milvus 2.3.5 can do: `walks.NEWER` has what came later.
"""

import json
from collections.abc import Callable
from random import Random

from tests.differential.samples import SMALL, WORDS

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
INTEGERS = ("i8", "i16", "i32", "i64")
FLOATS = ("f", "d")
NUMBERS = INTEGERS + FLOATS
PATHS = ('j["k"]', 'j["n"]', 'j["s"]', 'j["o"]["p"]', 'j["nope"]', "extra", '$meta["extra"]')
NEVER_NULL = ('j["n"]', 'j["s"]', 'j["l"]', 'j["nope"]', "extra", '$meta["extra"]')
DEPTH = 2


def text(random: Random, depth: int = DEPTH) -> str:
    if depth and random.random() < 0.4:
        inner = text(random, depth - 1)
        kind = random.choice(("not", "and", "or"))
        if kind == "not":
            return f"not ({inner})"
        return f"({inner}) {kind} ({text(random, depth - 1)})"
    return random.choice(LEAVES)(random)


def compare(random: Random) -> str:
    name, op = random.choice(NUMBERS), random.choice(OPERATORS)
    constant = number(random) if name in FLOATS else str(random.choice(SMALL))
    return f"{name} {op} {constant}" if random.random() < 0.7 else f"{constant} {op} {name}"


def between(random: Random) -> str:
    name, low = random.choice((*NUMBERS, 'j["n"]')), random.choice(SMALL)
    left, right = random.choice(("<", "<=")), random.choice(("<", "<="))
    return f"{low} {left} {name} {right} {low + random.randrange(1, 5)}"


def calculate(random: Random) -> str:
    name, kind = random.choice(NUMBERS), random.choice("+-*/%")
    if name in FLOATS and kind == "%":
        kind = "+"
    operand = random.choice((1, 2, 3))
    return f"{name} {kind} {operand} {random.choice(('==', '!='))} {random.choice(SMALL)}"


def member(random: Random) -> str:
    name = random.choice((*INTEGERS, "s"))
    values = [random.choice(WORDS if name == "s" else SMALL) for _ in range(random.randrange(1, 4))]
    return f"{name} {random.choice(('in', 'not in'))} {json.dumps(values, ensure_ascii=False)}"


def words(random: Random) -> str:
    word = random.choice(WORDS[:8])
    if random.random() < 0.5:
        return f's like "{word}%"'
    return f's {random.choice(OPERATORS)} "{word}"'


def flag(random: Random) -> str:
    return f"b {random.choice(('==', '!='))} {random.choice(('true', 'false'))}"


def columns(random: Random) -> str:
    return f"{random.choice(NUMBERS)} {random.choice(OPERATORS)} {random.choice(NUMBERS)}"


def path(random: Random) -> str:
    name, op = random.choice(PATHS), random.choice(OPERATORS)
    if random.random() < 0.4:
        return f'{name} {op} "{random.choice(WORDS)}"'
    if random.random() < 0.2:
        return f"{name} {random.choice(('==', '!='))} {random.choice(('true', 'false'))}"
    return f"{name} {op} {number(random)}"


def path_member(random: Random) -> str:
    name = random.choice(PATHS)
    values = [random.choice((*SMALL, *WORDS[1:5])) for _ in range(random.randrange(1, 4))]
    kind = type(values[0])
    values = [value for value in values if isinstance(value, kind)]
    return f"{name} {random.choice(('in', 'not in'))} {json.dumps(values)}"


def exists(random: Random) -> str:
    return f"exists {random.choice(NEVER_NULL)}"


def path_words(random: Random) -> str:
    name = random.choice(('j["s"]', 'j["k"]', "extra"))
    return f'{name} like "{random.choice(WORDS[1:5])}%"'


def contains(random: Random) -> str:
    kind = random.choice(("json_contains", "json_contains_all", "json_contains_any"))
    values = [random.choice((*SMALL, "a", "b")) for _ in range(2)]
    wanted = json.dumps(values[0] if kind == "json_contains" else values)
    return f'{kind}(j["l"], {wanted})'


def array_contains(random: Random) -> str:
    name = random.choice(("ai", "ws"))
    kind = random.choice(("array_contains", "array_contains_all", "array_contains_any"))
    values = [random.choice(SMALL if name == "ai" else WORDS) for _ in range(2)]
    return f"{kind}({name}, {json.dumps(values[0] if kind == 'array_contains' else values)})"


def array_length(random: Random) -> str:
    if random.random() < 0.3:
        # Only what a missing list is not.
        return f'array_length(j["l"]) == {random.randrange(1, 4)}'
    name = random.choice(("ai", "ws"))
    return f"array_length({name}) {random.choice(('==', '!='))} {random.randrange(4)}"


def array_item(random: Random) -> str:
    place, op = random.randrange(3), random.choice(OPERATORS)
    if random.random() < 0.5:
        return f"ai[{place}] {op} {random.choice(SMALL)}"
    return f'ws[{place}] {op} "{random.choice(WORDS)}"'


def number(random: Random) -> str:
    return str(random.choice((*SMALL, 0.5, -2.25, 1.0)))


LEAVES: tuple[Callable[[Random], str], ...] = (
    compare,
    between,
    calculate,
    member,
    words,
    flag,
    columns,
    path,
    path_member,
    path_words,
    exists,
    contains,
    array_contains,
    array_length,
    array_item,
)
