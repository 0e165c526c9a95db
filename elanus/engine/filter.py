"""Filters: a plan over the columns of a snapshot -> the rows where it is TRUE."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import pyarrow as pa

from elanus.engine import filter_array, filter_column, filter_json
from elanus.engine.filter_bounds import Bounds, possible
from elanus.engine.filter_column import known
from elanus.engine.filter_pattern import like, search
from elanus.engine.filter_truth import (
    Bools,
    Truth,
    conjunction,
    constant,
    disjunction,
    negate,
    truth,
)
from elanus.engine.json_column import ABSENT, JsonPaths, Shredded, shred
from elanus.engine.scalar_index import ScalarIndex
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
    Plan,
    Predicate,
    Range,
    Regex,
    Value,
)


class Columns(Protocol):
    """A snapshot's columns, all of `rows` rows.

    It may know more: `json(field_id, path) -> Shredded` (else documents are parsed), `scalar_index(field_id,
    path) -> ScalarIndex | None` and `bounds(field_id) -> ColumnStats | None`, both over these very rows.
    """

    @property
    def rows(self) -> int: ...
    def column(self, field_id: int) -> pa.Array | pa.ChunkedArray: ...


def evaluate(plan: Plan, columns: Columns) -> Bools:
    """(n,) bool, True only where the filter is TRUE: neither FALSE nor NULL."""
    return Filter(columns).truth(plan.root).true


class Filter:
    """Evaluates predicates over one snapshot; a column or path that is used twice is read once."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.rows = columns.rows
        self._paths = JsonPaths()
        self._shredded: Callable[[int, tuple[str | int, ...]], Shredded] | None = getattr(
            columns, "json", None
        )
        self._index: Callable[..., ScalarIndex | None] | None = getattr(columns, "scalar_index", None)
        self._bounds: Bounds | None = getattr(columns, "bounds", None)
        self._arrays: dict[int, pa.Array] = {}

    def truth(self, predicate: Predicate) -> Truth:
        answered = self._answered(predicate)
        return self._scanned(predicate) if answered is None else answered

    def _answered(self, predicate: Predicate) -> Truth | None:
        """The truth where it costs no scan."""
        return self._decided(predicate) or self._indexed(predicate)

    def _decided(self, predicate: Predicate) -> Truth | None:
        """What the bounds of the values say, where they say the same of every row."""
        if self._bounds is None or isinstance(predicate, (And, Or, Not, Always)):
            return None
        may = possible(predicate, self._bounds, self.rows)
        if may.null or (may.true and may.false):
            return None
        return constant(may.true, self.rows)

    def _indexed(self, predicate: Predicate) -> Truth | None:
        if self._index is None:
            return None
        match predicate:
            case IsNull(field_id):
                found = self._index(field_id, None)
            case Compare(left=operand) | Range(value=operand) | In(value=operand) | Contains(array=operand):
                found = self._index_of(operand)
            case Like(value=operand) | Regex(value=operand):
                found = self._index_of(operand)
            case _:
                return None
        return None if found is None else found.truth(predicate)

    def _index_of(self, operand: Value) -> ScalarIndex | None:
        assert self._index is not None
        match operand:
            case Column(field_id):
                return self._index(field_id, None)
            case Json(field_id, path):
                return self._index(field_id, path)
        return None

    def _scanned(self, predicate: Predicate) -> Truth:
        match predicate:
            case Always(value):
                return constant(value, self.rows)
            case Not(child):
                return negate(self.truth(child))
            case And(children):
                return self._all(children)
            case Or(children):
                return self._any(children)
            case Compare(op, left, right):
                return self._compare(op, left, right)
            case CompareColumns(op, left, right):
                first, second = self.array(left.field_id), self.array(right.field_id)
                both = conjunction(self._known(first), self._known(second)).known
                return truth(filter_column.compare_arrays(first, op, second), both)
            case Range():
                return self._range(predicate)
            case In(value, values):
                vector = self.vector(value)
                if isinstance(vector, Shredded):
                    return truth(filter_json.member(vector, values), vector.known)
                return truth(filter_column.contained(vector, values), self._valid(value, vector))
            case Like(value, pattern):
                return self._match(value, pattern, like=True)
            case Regex(value, pattern):
                return self._match(value, pattern, like=False)
            case IsNull(field_id):
                return Truth(~self._known(self.array(field_id)).true, None)
            case Exists(value):
                return Truth(np.asarray(self._json(value).tags != ABSENT), None)
            case Contains(array, values, all):
                if isinstance(array, Json):
                    shredded = self._json(array)
                    return truth(filter_json.contains(shredded, values, all), shredded.known)
                lists = self.array(array.field_id)
                return truth(filter_array.contains(lists, values, all), known(lists))

    def array(self, field_id: int) -> pa.Array:
        """The column in one piece."""
        found = self._arrays.get(field_id)
        if found is None:
            found = self.columns.column(field_id)
            if isinstance(found, pa.ChunkedArray):
                found = (
                    found.chunk(0)
                    if found.num_chunks == 1
                    else pa.concat_arrays(found.chunks or [_none(found)])
                )
            self._arrays[field_id] = found
        return found

    def vector(self, value: Value) -> pa.Array | Shredded:
        """The operand's value a row: typed (null: absent), or by JSON type."""
        match value:
            case Column(field_id):
                return self.array(field_id)
            case Element(field_id, index):
                return filter_array.element(self.array(field_id), index)
            case Json():
                return self._json(value)
            case Length(Json() as path):
                return self._json(path).lengths()
            case Length(of):
                return pa.array(filter_array.bounds(self.array(of.field_id))[1])
            case Arithmetic(operand=operand):
                return self.vector(operand)

    def _all(self, children: tuple[Predicate, ...]) -> Truth:
        """What needs no scan first: it may leave nothing to scan for."""
        answers = [self._answered(child) for child in children]
        result = constant(True, self.rows)
        for answer in answers:
            result = result if answer is None else conjunction(result, answer)
        for child, answer in zip(children, answers, strict=True):
            if answer is None and not result.is_false:
                result = conjunction(result, self._scanned(child))
        return result

    def _any(self, children: tuple[Predicate, ...]) -> Truth:
        result = self.truth(children[0])
        for child in children[1:]:
            if result.is_true:
                break
            result = disjunction(result, self.truth(child))
        return result

    def _compare(self, op: str, value: Value, right: Constant) -> Truth:
        vector = self.vector(value)
        if isinstance(vector, Shredded):
            if isinstance(value, Arithmetic):
                return truth(filter_json.compare_arithmetic(vector, value, op, right), vector.known)
            return truth(filter_json.compare(vector, op, right), vector.known)
        valid = self._valid(value, vector)
        if isinstance(value, Arithmetic):
            results = filter_column.arithmetic(filter_column.numbers(vector), value)
            found = filter_column.compare_numbers(results, op, right.value)
            return truth(_present(found, vector), valid)
        if right.kind is Kind.LIST:
            equal = filter_array.equal(vector, right)
            return truth(equal if op == "==" else ~equal, valid)
        return truth(_present(filter_column.compare(vector, op, right), vector), valid)

    def _range(self, predicate: Range) -> Truth:
        low = self._compare(">=" if predicate.low_inclusive else ">", predicate.value, predicate.low)
        high = self._compare("<=" if predicate.high_inclusive else "<", predicate.value, predicate.high)
        return Truth(low.true & high.true, low.known)

    def _match(self, value: Column | Element | Json, pattern: str, like: bool) -> Truth:
        vector = self.vector(value)
        if isinstance(vector, Shredded):
            return truth(_matches(vector.strings, pattern, like), vector.known)
        return truth(_matches(vector, pattern, like), self._valid(value, vector))

    def _json(self, value: Json) -> Shredded:
        if self._shredded is not None:
            found = self._shredded(value.field_id, value.path)
        else:
            found = self._paths.get(
                value.field_id, value.path, lambda: shred(self.array(value.field_id), value.path)
            )
        assert len(found.tags) == self.rows, "a cache of another snapshot"
        return found

    def _known(self, array: pa.Array) -> Truth:
        valid = known(array)
        return constant(True, self.rows) if valid is None else Truth(valid, valid)

    def _valid(self, value: Value, vector: pa.Array) -> Bools | None:
        """Where the operand is not NULL. An element beyond the end of its array is no match, and not NULL."""
        operand = value.operand if isinstance(value, Arithmetic) else value
        if isinstance(operand, Element):
            return known(self.array(operand.field_id))
        if isinstance(operand, Length):
            return known(self.array(operand.of.field_id))
        return known(vector)


def _present(found: Bools, vector: pa.Array) -> Bools:
    valid = known(vector)
    return found if valid is None else found & valid


def _matches(strings: pa.Array, pattern: str, wildcard: bool) -> Bools:
    return like(strings, pattern) if wildcard else search(strings, pattern)


def _none(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([], column.type)
