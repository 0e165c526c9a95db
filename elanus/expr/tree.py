"""The untyped syntax tree. Every node knows where it stands: text[pos:end]."""

import msgspec


class Syntax(msgspec.Struct):
    pos: int
    end: int


class Name(Syntax):
    text: str


class Path(Syntax):
    """`base[key]...`; a key is a string or a position, a bare word a sub-field of a struct."""

    base: Name
    keys: list["str | int | Name"]


class Number(Syntax):
    value: int | float


class Boolean(Syntax):
    value: bool


class String(Syntax):
    """A quoted string. `body` is what stands between the quotes, escapes and all."""

    body: str
    raw: bool


class List(Syntax):
    items: list[Syntax]


class Integers(Syntax):
    """A list of plain integers."""

    values: list[int]


class Template(Syntax):
    name: str


class Unary(Syntax):
    """`op` is one of + - ~ not exists."""

    op: str
    operand: Syntax


class Binary(Syntax):
    """`op` is the operator in lower case, `&&` and `||` excepted: those are Logic."""

    op: str
    left: Syntax
    right: Syntax


class Logic(Syntax):
    """`and` or `or` over two or more operands; a chain is one node however long it is."""

    op: str
    operands: list[Syntax]


class Chain(Syntax):
    """`low < middle <= high`, or the same with > and >=."""

    first: Syntax
    first_op: str
    middle: Syntax
    last_op: str
    last: Syntax


class IsNull(Syntax):
    operand: Syntax
    negated: bool


class Call(Syntax):
    name: str
    arguments: list[Syntax]
    options: dict[str, Syntax]
