"""Tokens to syntax tree: precedence climbing, so that a message can say what was expected where."""

from dataclasses import dataclass

from elanus.expr import tree
from elanus.expr.literals import floating, integer, unescape
from elanus.expr.tokens import BOOL, END, FLOAT, INT, INTS, NAME, OP, STRING, tokenize
from elanus.model.errors import InvalidExpression, Unimplemented


@dataclass(frozen=True)
class Limits:
    """Bounds of a filter: its text in characters, and how deep it nests (parser frames, tree levels)."""

    max_chars: int = 16 << 20
    max_depth: int = 100


# How tightly an operator binds; all are left-associative.
_BINARY = {
    "or": 1,
    "and": 2,
    "|": 3,
    "^": 4,
    "&": 5,
    "==": 6,
    "!=": 6,
    "<": 7,
    "<=": 7,
    ">": 7,
    ">=": 7,
    "in": 9,
    "not in": 9,
    "<<": 10,
    ">>": 10,
    "+": 11,
    "-": 11,
    "*": 12,
    "/": 12,
    "%": 12,
    "**": 14,
    "!~": 15,
    "=~": 16,
    "like": 17,
}
_CHAIN = 8
_UNARY = 13
_EXISTS = 18
_UP = frozenset({"<", "<="})
_DOWN = frozenset({">", ">="})
_PREFIX = frozenset({"+", "-", "~", "not"})


def parse_tree(text: str, limits: Limits) -> tree.Syntax:
    """The syntax tree of a whole filter. Raises InvalidExpression, Unimplemented."""
    if len(text) > limits.max_chars:
        raise InvalidExpression(
            f"the expression has {len(text)} characters; at most {limits.max_chars} are allowed", text, None
        )
    parser = Parser(text, limits)
    whole = parser.expression(0)
    parser.expect_end()
    return whole


class Parser:
    def __init__(self, text: str, limits: Limits) -> None:
        self.text = text
        self.kinds, self.texts, self.starts, self.ends = tokenize(text)
        self.i = 0
        self.depth = 0
        self.max_depth = limits.max_depth

    def expression(self, floor: int) -> tree.Syntax:
        """Everything from here that binds tighter than `floor`."""
        self.depth += 1
        if self.depth > self.max_depth:
            raise self.error(f"nested more than {self.max_depth} deep")
        left = self.prefix()
        steps = 0
        while self.kinds[self.i] == OP:
            op = self.texts[self.i]
            width = 1
            if op == "not" and self.texts[self.i + 1] == "in" and self.kinds[self.i + 1] == OP:
                op, width = "not in", 2
            power = _BINARY.get(op)
            if power is None or power <= floor:
                break
            self.i += width
            if power <= 2:
                left = self.logic(left, op, power)
                continue
            steps += 1
            if steps > self.max_depth:
                raise self.error(f"more than {self.max_depth} operators in a row")
            if op in _UP or op in _DOWN:
                left = self.relation(left, op)
            else:
                right = self.expression(power)
                left = tree.Binary(left.pos, right.end, op, left, right)
        self.depth -= 1
        return left

    def logic(self, left: tree.Syntax, op: str, power: int) -> tree.Syntax:
        right = self.expression(power)
        if isinstance(left, tree.Logic) and left.op == op:
            left.operands.append(right)
            left.end = right.end
            return left
        return tree.Logic(left.pos, right.end, op, [left, right])

    def relation(self, left: tree.Syntax, op: str) -> tree.Syntax:
        right = self.expression(_CHAIN)
        if self.kinds[self.i] == OP:
            last_op = self.texts[self.i]
            if last_op in (_UP if op in _UP else _DOWN):
                self.i += 1
                last = self.expression(_CHAIN)
                return tree.Chain(left.pos, last.end, left, op, right, last_op, last)
        return tree.Binary(left.pos, right.end, op, left, right)

    def prefix(self) -> tree.Syntax:
        if self.kinds[self.i] == OP:
            op = self.texts[self.i]
            start = self.starts[self.i]
            if op in _PREFIX or op == "exists":
                self.i += 1
                operand = self.expression(_EXISTS if op == "exists" else _UNARY)
                return tree.Unary(start, operand.end, op, operand)
        return self.primary()

    def primary(self) -> tree.Syntax:
        kind, text, start, end = (
            self.kinds[self.i],
            self.texts[self.i],
            self.starts[self.i],
            self.ends[self.i],
        )
        if kind == OP:
            if text == "(":
                return self.parenthesis()
            if text == "[":
                return self.list()
            if text == "{":
                return self.template()
            if text == "$":
                raise Unimplemented(f"elements of a struct, $[field], at position {start} are not built")
        elif kind == NAME:
            self.i += 1
            if self.texts[self.i] == "(" and self.kinds[self.i] == OP:
                return self.call(text, start)
            if self.kinds[self.i] == STRING and text in ("ISO", "iso", "INTERVAL", "interval"):
                raise Unimplemented(f"{text.upper()} values (Timestamptz) at position {start} are not built")
            return self.null_test(self.path(tree.Name(start, end, text)))
        elif kind != END:
            return self.literal()
        raise self.error(f"expected a value{self.after()}", self.other_spelling())

    def literal(self) -> tree.Syntax:
        kind, text, start, end = (
            self.kinds[self.i],
            self.texts[self.i],
            self.starts[self.i],
            self.ends[self.i],
        )
        self.i += 1
        if kind == STRING:
            quote = min(i for i in (text.find('"'), text.find("'")) if i >= 0)
            return tree.String(start, end, text[quote + 1 : -1], text[0] in "rR")
        if kind == INTS:
            return tree.Integers(start, end, [int(item) for item in text.split(",")])
        if kind == BOOL:
            return tree.Boolean(start, end, text == "true")
        try:
            return tree.Number(start, end, integer(text) if kind == INT else floating(text))
        except (ValueError, OverflowError) as error:
            raise InvalidExpression(
                f"{text!r} at position {start} is not a number: {error}", self.text, start
            ) from error

    def parenthesis(self) -> tree.Syntax:
        opened = self.starts[self.i]
        self.i += 1
        inside = self.expression(0)
        self.close(")", "(", opened)
        return inside

    def list(self) -> tree.Syntax:
        opened = self.starts[self.i]
        self.i += 1
        items: list[tree.Syntax] = []
        while not self.at("]"):
            following = self.texts[self.i + 1] if self.i + 1 < len(self.texts) else ""
            if self.kinds[self.i] in (INT, FLOAT, STRING) and following in (",", "]"):
                items.append(self.literal())
            else:
                items.append(self.expression(0))
            if not self.at(","):
                break
            self.i += 1
        self.close("]", "[", opened)
        return tree.List(opened, self.ends[self.i - 1], items)

    def template(self) -> tree.Syntax:
        opened = self.starts[self.i]
        self.i += 1
        name = self.texts[self.i]
        if self.kinds[self.i] != NAME:
            raise self.error("expected the name of a template parameter after '{'")
        self.i += 1
        self.close("}", "{", opened)
        return tree.Template(opened, self.ends[self.i - 1], name)

    def path(self, base: tree.Name) -> tree.Syntax:
        keys: list[str | int | tree.Name] = []
        while self.at("["):
            opened = self.starts[self.i]
            self.i += 1
            key = self.expression(0)
            if isinstance(key, tree.Name):
                keys.append(key)
            elif isinstance(key, tree.Number) and isinstance(key.value, int):
                keys.append(key.value)
            elif isinstance(key, tree.String):
                keys.append(self.key(key))
            else:
                raise InvalidExpression(
                    f"expected a quoted key or a position in '[ ]' at position {key.pos},"
                    f" found {self.text[key.pos : key.end]!r}",
                    self.text,
                    key.pos,
                )
            self.close("]", "[", opened)
        return tree.Path(base.pos, self.ends[self.i - 1], base, keys) if keys else base

    def key(self, literal: tree.String) -> str:
        try:
            return literal.body if literal.raw else unescape(literal.body)
        except ValueError as error:
            raise InvalidExpression(
                f"the key at position {literal.pos} cannot be read: {error}", self.text, literal.pos
            ) from error

    def null_test(self, operand: tree.Syntax) -> tree.Syntax:
        if self.at("is null") or self.at("is not null"):
            self.i += 1
            return tree.IsNull(
                operand.pos, self.ends[self.i - 1], operand, self.texts[self.i - 1] == "is not null"
            )
        return operand

    def call(self, name: str, start: int) -> tree.Syntax:
        opened = self.starts[self.i]
        self.i += 1
        arguments: list[tree.Syntax] = []
        options: dict[str, tree.Syntax] = {}
        while not self.at(")"):
            if self.kinds[self.i] == NAME and self.texts[self.i + 1] == "=" and self.kinds[self.i + 1] == OP:
                option = self.texts[self.i]
                self.i += 2
                options[option] = self.expression(0)
            else:
                arguments.append(self.expression(0))
            if not self.at(","):
                break
            self.i += 1
        self.close(")", "(", opened)
        return tree.Call(start, self.ends[self.i - 1], name, arguments, options)

    def at(self, op: str) -> bool:
        return self.texts[self.i] == op and self.kinds[self.i] == OP

    def close(self, closing: str, opening: str, opened: int) -> None:
        if not self.at(closing):
            raise self.error(f"the '{opening}' at position {opened} is not closed: expected '{closing}'")
        self.i += 1

    def expect_end(self) -> None:
        if self.kinds[self.i] == END:
            return
        hint = ""
        if self.at("="):
            hint = "; equality is written '=='"
        elif self.texts[self.i] in ("is", "IS"):
            hint = "; a null test is 'is null' or 'is not null', with one blank, all lower or all upper case"
        raise self.error(f"expected an operator{self.after()}", hint)

    def other_spelling(self) -> str:
        """A hint where the two operators that meet here are one of another language."""
        before, here = self.texts[self.i - 1] if self.i else "", self.texts[self.i]
        if (before, here) == ("<", ">"):
            return "; inequality is written '!='"
        if (before, here) == ("==", "="):
            return "; equality is written '=='"
        return ""

    def after(self) -> str:
        if self.i == 0:
            return ""
        return f" after {self.text[self.starts[self.i - 1] : self.ends[self.i - 1]]!r}"

    def error(self, expected: str, hint: str = "") -> InvalidExpression:
        start = self.starts[self.i]
        found = "end of expression"
        if self.kinds[self.i] != END:
            found = repr(self.text[start : self.ends[self.i]])
        message = f"{expected} at position {start}, found {found}{hint}"
        return InvalidExpression(message, self.text, start)
