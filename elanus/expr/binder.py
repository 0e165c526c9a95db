"""Syntax tree + schema + templates -> typed predicates: names resolved, constants folded and cast."""

from collections.abc import Callable
from typing import cast, get_args

import pyarrow as pa
import pyarrow.compute as pc

from elanus.expr import constants, functions, tree
from elanus.expr.casts import fit, listed
from elanus.expr.literals import INT64_MAX, unescape, unescape_pattern
from elanus.expr.plan import (
    Always,
    And,
    Arithmetic,
    Column,
    Compare,
    CompareColumns,
    Constant,
    Element,
    Exists,
    In,
    IsNull,
    Json,
    Kind,
    Length,
    Like,
    Node,
    Not,
    Or,
    Predicate,
    Range,
    Regex,
)
from elanus.expr.scope import Scope
from elanus.model.errors import InvalidExpression
from elanus.model.types import DataType

_MIRROR = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "**"})
_PREDICATES = get_args(Predicate)
_OPERANDS = (Column, Element, Json, Length)


class Binder:
    """Binds one tree. `max_depth` bounds the tree's levels."""

    def __init__(self, scope: Scope, max_depth: int) -> None:
        self.scope = scope
        self.max_depth = max_depth
        self.depth = 0

    def condition(self, node: tree.Syntax) -> Predicate:
        """The predicate that `node` is. Raises InvalidExpression where it is none."""
        bound = self.bind(node)
        if isinstance(bound, Constant) and bound.kind is Kind.BOOL:
            return Always(bool(bound.value))
        if isinstance(bound, _PREDICATES):
            return cast(Predicate, bound)
        hint = ""
        if isinstance(bound, (Column, Element)) and bound.type is DataType.BOOL:
            hint = f"; write {self.scope.text[node.pos : node.end]} == true"
        raise self.scope.error(node, f"expected a condition such as a == b{hint}")

    def bind(self, node: tree.Syntax) -> Node:
        self.depth += 1
        if self.depth > self.max_depth:
            raise self.scope.error(node, f"nested more than {self.max_depth} deep")
        bound = self._bind(node)
        self.depth -= 1
        return bound

    def _bind(self, node: tree.Syntax) -> Node:
        match node:
            case tree.Number(value=value):
                if isinstance(value, int) and value > INT64_MAX:
                    raise self.scope.error(node, f"an integer must be at most {INT64_MAX}")
                return self._constant(node, value)
            case tree.String():
                return Constant(Kind.STRING, self._text(node))
            case tree.Name():
                return self.scope.name(node)
            case tree.Binary():
                return self._binary(node)
            case tree.Logic():
                return self._logic(node)
            case tree.Unary():
                return self._unary(node)
            case tree.Path():
                return self.scope.path(node)
            case tree.List(items=items):
                return Constant(Kind.LIST, tuple([self._item(item) for item in items]))
            case tree.Integers(values=values):
                return Constant(Kind.LIST, tuple([Constant(Kind.INT, value) for value in values]))
            case tree.Boolean(value=value):
                return Constant(Kind.BOOL, value)
            case tree.Template():
                return self.scope.template(node)
            case tree.Chain():
                return self._chain(node)
            case tree.IsNull():
                return self._is_null(node)
            case tree.Call():
                return functions.call(self.scope, node, self.bind)
        raise AssertionError(f"no rule for {type(node).__name__}")

    def _constant(self, node: tree.Syntax, value: object) -> Constant:
        try:
            return constants.of(value)
        except ValueError as error:
            raise self.scope.error(node, str(error)) from error

    def _text(self, node: tree.String, lenient: bool = False) -> str:
        try:
            return node.body if node.raw else unescape(node.body, lenient)
        except ValueError as error:
            raise self.scope.error(node, f"the string cannot be read: {error}") from error

    def _item(self, node: tree.Syntax) -> Constant:
        if type(node) is tree.String:
            return Constant(Kind.STRING, self._text(node))
        bound = self.bind(node)
        if isinstance(bound, Constant):
            return bound
        raise self.scope.error(node, "a list holds constants only")

    def _logic(self, node: tree.Logic) -> Node:
        absorbing = node.op == "or"
        children: dict[Predicate, None] = {}
        decided = False
        for operand in node.operands:
            child = self.condition(operand)
            if isinstance(child, Always):
                decided = decided or child.value is absorbing
            elif isinstance(child, Or if absorbing else And):
                children.update(dict.fromkeys(child.children))
            else:
                children[child] = None
        if decided or not children:
            return Always(absorbing if decided else not absorbing)
        if len(children) == 1:
            return next(iter(children))
        return Or(tuple(children)) if absorbing else And(tuple(children))

    def _unary(self, node: tree.Unary) -> Node:
        operand = node.operand
        if node.op == "-" and isinstance(operand, tree.Number):
            return self._constant(node, -operand.value)
        if node.op == "not":
            return negation(self._negated(node, operand))
        bound = self.bind(operand)
        if node.op == "exists":
            if not isinstance(bound, Json) or not bound.path:
                raise self.scope.error(node, "exists takes a key of a JSON field or of the dynamic field")
            return Exists(bound)
        if isinstance(bound, Constant) and bound.kind in constants.NUMBERS and node.op in "+-":
            return self._constant(node, -bound.value if node.op == "-" else bound.value)  # type: ignore[operator]
        if node.op == "+" and isinstance(bound, _OPERANDS) and self._is_number(bound):
            return bound
        raise self.scope.error(node, f"{node.op!r} cannot stand before this; expected a number")

    def _negated(self, node: tree.Unary, operand: tree.Syntax) -> Predicate:
        try:
            return self.condition(operand)
        except InvalidExpression as error:
            if isinstance(operand, tree.Name | tree.Path):
                error.args = (f"{error.message}; 'not' binds tighter than a comparison: write not (a == b)",)
                error.message = error.args[0]
            raise

    def _is_null(self, node: tree.IsNull) -> Node:
        bound = self.bind(node.operand)
        test: Predicate
        match bound:
            case Json(path=path) if path:
                return Exists(bound) if node.negated else Not(Exists(bound))
            case Column(type=type) if type.is_vector:
                raise self.scope.error(node, "a null test does not take a vector field")
            case Column() | Json():
                test = IsNull(bound.field_id)
            case _:
                raise self.scope.error(
                    node, "a null test takes a field or a JSON path, not an element of an array"
                )
        return Not(test) if node.negated else test

    def _binary(self, node: tree.Binary) -> Node:
        op = node.op
        if op in _MIRROR:
            return self._comparison(node)
        if op in _ARITHMETIC:
            return self._arithmetic(node)
        if op in ("in", "not in"):
            return self._in(node)
        if op in ("like", "=~", "!~"):
            return self._match(node)
        raise self.scope.error(node, f"{op!r} is not supported; expected a comparison, + - * / % or **")

    def _comparison(self, node: tree.Binary) -> Node:
        left, right, op = self.bind(node.left), self.bind(node.right), node.op
        if isinstance(left, Constant):
            if isinstance(right, Constant):
                return self._compare_constants(node, left, right)
            left, right, op = right, left, _MIRROR[op]
        if isinstance(left, _PREDICATES) or isinstance(right, _PREDICATES):
            hint = ""
            if isinstance(node.left, tree.Unary) and node.left.op == "not":
                hint = f"; 'not' binds tighter than {node.op!r}: write not (a {node.op} b)"
            raise self.scope.error(node, f"{node.op!r} cannot compare a condition{hint}")
        assert isinstance(left, (*_OPERANDS, Arithmetic))
        if isinstance(right, Constant):
            return Compare(op, left, fit(self.scope, node, op, left, right))
        if isinstance(left, Column) and isinstance(right, Column):
            self._check_columns(node, left, right)
            return CompareColumns(op, left, right)
        hint = self.scope.quoted(node.right) or self.scope.quoted(node.left)
        raise self.scope.error(
            node, f"two fields can be compared only where both are plain scalar fields{hint}"
        )

    def _check_columns(self, node: tree.Binary, left: Column, right: Column) -> None:
        numbers = left.type.is_number and right.type.is_number
        equals = node.op in ("==", "!=")
        same = left.type is right.type and left.type in (DataType.VARCHAR, DataType.BOOL)
        if not numbers and not (same and (equals or left.type is not DataType.BOOL)):
            names = f"{self.scope.called(left)} and {self.scope.called(right)}"
            raise self.scope.error(node, f"{node.op!r} cannot compare {names}")

    def _compare_constants(self, node: tree.Binary, left: Constant, right: Constant) -> Constant:
        self._refuse_templates(node)
        unordered = left.kind in (Kind.BOOL, Kind.LIST) and node.op not in ("==", "!=")
        if not constants.comparable(left, right) or unordered:
            raise self.scope.error(node, f"{node.op!r} cannot compare a {left.kind} with a {right.kind}")
        return Constant(Kind.BOOL, constants.COMPARISONS[node.op](left.value, right.value))

    def _refuse_templates(self, node: tree.Binary) -> None:
        if isinstance(node.left, tree.Template) or isinstance(node.right, tree.Template):
            raise self.scope.error(node, "a template parameter cannot stand between two constants")

    def _arithmetic(self, node: tree.Binary) -> Node:
        left, right, op = self.bind(node.left), self.bind(node.right), node.op
        if isinstance(left, Constant) and isinstance(right, Constant):
            self._refuse_templates(node)
            if left.kind not in constants.NUMBERS or right.kind not in constants.NUMBERS:
                raise self.scope.error(node, f"{op!r} takes numbers, found {left.kind} and {right.kind}")
            try:
                return constants.arithmetic(op, left.value, right.value)
            except ValueError as error:
                raise self.scope.error(node, str(error)) from error
        if isinstance(left, Constant):
            if op not in "+*":
                raise self.scope.error(node, f"a constant before {op!r} needs a constant after it")
            left, right = right, left
        if not isinstance(right, Constant):
            raise self.scope.error(node, "arithmetic takes one field and one constant")
        if isinstance(left, Arithmetic):
            raise self.scope.error(node, "arithmetic cannot be nested; fold the constants into one")
        if (
            not isinstance(left, _OPERANDS)
            or not self._is_number(left)
            or right.kind not in constants.NUMBERS
        ):
            raise self.scope.error(node, f"{op!r} takes a number field and a number")
        return self._operation(node, left, right)

    def _operation(
        self, node: tree.Binary, left: Column | Element | Json | Length, right: Constant
    ) -> Arithmetic:
        whole = not isinstance(left, (Column, Element)) or left.type.is_integer
        number = right.value
        assert isinstance(number, (int, float))
        if node.op == "**":
            raise self.scope.error(node, "'**' takes constants only")
        if node.op in "/%" and number == 0:
            raise self.scope.error(node, "division by zero")
        if node.op == "%" and (right.kind is not Kind.INT or not whole):
            raise self.scope.error(node, "'%' takes integers only")
        exact = whole and right.kind is Kind.INT
        return Arithmetic(node.op, left, number if exact else float(number), exact)

    def _is_number(self, value: Node) -> bool:
        if isinstance(value, (Column, Element)):
            return value.type.is_number
        return isinstance(value, (Json, Length))

    def _in(self, node: tree.Binary) -> Node:
        left, right = self.bind(node.left), self.bind(node.right)
        if not isinstance(left, _OPERANDS) or (isinstance(left, Column) and left.type is DataType.ARRAY):
            hint = ""
            if isinstance(node.left, tree.Unary) and node.left.op == "not":
                hint = "; write a not in [...]"
            raise self.scope.error(node.left, f"expected one field or JSON path before {node.op!r}{hint}")
        if not isinstance(right, Constant) or right.kind is not Kind.LIST:
            raise self.scope.error(node.right, f"expected a list of constants after {node.op!r}")
        found = In(left, listed(self.scope, node.right, left, right))
        return Not(found) if node.op == "not in" else found

    def _match(self, node: tree.Binary) -> Node:
        value = self.bind(node.left)
        if isinstance(value, (Column, Element)) and value.type is not DataType.VARCHAR:
            raise self.scope.error(node.left, f"{node.op!r} takes a string, not {self.scope.called(value)}")
        if not isinstance(value, (Column, Element, Json)):
            raise self.scope.error(node.left, f"expected a VARCHAR field or a JSON path before {node.op!r}")
        if node.op == "like":
            return Like(value, self._like_pattern(node))
        found = Regex(value, self._regular_expression(node))
        return Not(found) if node.op == "!~" else found

    def _like_pattern(self, node: tree.Binary) -> str:
        pattern = self._pattern(node, lambda literal: self._text(literal, lenient=True))
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            raise self.scope.error(node.right, "a pattern cannot end in a single backslash")
        return pattern

    def _regular_expression(self, node: tree.Binary) -> str:
        pattern = self._pattern(
            node, lambda literal: literal.body if literal.raw else unescape_pattern(literal.body)
        )
        try:
            pc.match_substring_regex(pa.scalar("", pa.large_string()), pattern)
        except (pa.ArrowInvalid, UnicodeEncodeError) as error:
            raise self.scope.error(node.right, f"not a regular expression (RE2): {error}") from error
        return pattern

    def _pattern(self, node: tree.Binary, read: Callable[[tree.String], str]) -> str:
        if isinstance(node.right, tree.String):
            return read(node.right)
        if isinstance(node.right, tree.Template):
            given = self.scope.template(node.right)
            if isinstance(given.value, str):
                return given.value
        raise self.scope.error(node.right, f"expected a quoted pattern after {node.op!r}")

    def _chain(self, node: tree.Chain) -> Node:
        value = self.bind(node.middle)
        if not isinstance(value, _OPERANDS) or (isinstance(value, Column) and value.type is DataType.ARRAY):
            raise self.scope.error(node.middle, "expected one field or JSON path between the bounds")
        first, last = self.bind(node.first), self.bind(node.last)
        for bound, where in ((first, node.first), (last, node.last)):
            if not isinstance(bound, Constant):
                raise self.scope.error(where, "the bounds of a range must be constants")
        assert isinstance(first, Constant)
        assert isinstance(last, Constant)
        low, low_op, high, high_op = first, node.first_op, last, node.last_op
        if node.first_op.startswith(">"):
            low, low_op, high, high_op = last, node.last_op, first, node.first_op
        low = fit(self.scope, node, low_op, value, low)
        high = fit(self.scope, node, high_op, value, high)
        if not constants.comparable(low, high):
            raise self.scope.error(
                node, f"the bounds are a {low.kind} and a {high.kind}; expected two of a kind"
            )
        closed = low_op.endswith("=") and high_op.endswith("=")
        if low.value > high.value or (low.value == high.value and not closed):  # type: ignore[operator]
            raise self.scope.error(node, f"no value is between {low.value!r} and {high.value!r}")
        return Range(value, low, low_op.endswith("="), high, high_op.endswith("="))


def negation(child: Predicate) -> Predicate:
    match child:
        case Always(value):
            return Always(not value)
        case Not(inner):
            return inner
    return Not(child)
