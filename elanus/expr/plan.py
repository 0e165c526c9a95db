"""Typed plans: immutable, hashable, compared by value; fields are known by id."""

from enum import StrEnum

import msgspec
import pyarrow as pa

from elanus.model.types import DataType


class Node(msgspec.Struct, frozen=True):
    pass


class Kind(StrEnum):
    """The type of a constant, so that 1, 1.0 and true are three plans."""

    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    STRING = "string"
    LIST = "list"


class Constant(Node, frozen=True):
    kind: Kind
    value: bool | int | float | str | tuple["Constant", ...]


class Values(Node, frozen=True):
    """A list of constants by kind, each in the order of the text."""

    bools: tuple[bool, ...] = ()
    ints: tuple[int, ...] = ()
    floats: tuple[float, ...] = ()
    strings: tuple[str, ...] = ()
    lists: tuple[Constant, ...] = ()

    def __len__(self) -> int:
        return len(self.bools) + len(self.ints) + len(self.floats) + len(self.strings) + len(self.lists)


# What a row has ---------------------------------------------------------------------------------------------


class Column(Node, frozen=True):
    """A declared field that is not JSON."""

    field_id: int
    type: DataType
    element_type: DataType = DataType.NONE


class Element(Node, frozen=True):
    """`array[index]`; `type` is the element's."""

    field_id: int
    index: int
    type: DataType


class Json(Node, frozen=True):
    """A value in a JSON field or in `$meta`; an empty path is the whole document."""

    field_id: int
    path: tuple[str | int, ...]


class Length(Node, frozen=True):
    """`array_length` of an ARRAY field or a JSON array."""

    of: Column | Json


class Arithmetic(Node, frozen=True):
    """`operand op constant`; int64 with wrap-around when `exact`, else float64."""

    op: str
    operand: Column | Element | Json | Length
    constant: int | float
    exact: bool


Operand = Column | Element | Json | Length
Value = Operand | Arithmetic


# Predicates -------------------------------------------------------------------------------------------------


class Always(Node, frozen=True):
    value: bool


class Not(Node, frozen=True):
    child: "Predicate"


class And(Node, frozen=True):
    children: tuple["Predicate", ...]


class Or(Node, frozen=True):
    children: tuple["Predicate", ...]


class Compare(Node, frozen=True):
    """`op` is one of == != < <= > >=."""

    op: str
    left: Value
    right: Constant


class CompareColumns(Node, frozen=True):
    op: str
    left: Column
    right: Column


class Range(Node, frozen=True):
    """`low <(=) value <(=) high`."""

    value: Operand
    low: Constant
    low_inclusive: bool
    high: Constant
    high_inclusive: bool


class In(Node, frozen=True):
    value: Operand
    values: Values


class Like(Node, frozen=True):
    """`pattern`: % any run, _ one character, a backslash makes the next character literal."""

    value: Column | Element | Json
    pattern: str


class Regex(Node, frozen=True):
    """RE2, found anywhere in the value."""

    value: Column | Element | Json
    pattern: str


class IsNull(Node, frozen=True):
    """The column's value is null."""

    field_id: int


class Exists(Node, frozen=True):
    """The path leads to a value other than JSON null."""

    value: Json


class Contains(Node, frozen=True):
    """The array has all (or any) of the values."""

    array: Column | Json
    values: Values
    all: bool


Predicate = (
    Always
    | Not
    | And
    | Or
    | Compare
    | CompareColumns
    | Range
    | In
    | Like
    | Regex
    | IsNull
    | Exists
    | Contains
)


class Plan(Node, frozen=True):
    """A filter, typed. `fields` are the columns it reads; `primary` is the primary key's field id."""

    root: Predicate
    fields: frozenset[int]
    primary: int

    @property
    def is_true(self) -> bool:
        """Every row passes."""
        return self.root == Always(True)

    @property
    def is_false(self) -> bool:
        """No row passes."""
        return self.root == Always(False)

    def primary_keys(self) -> pa.Array | None:
        """The exact set of keys (int64 or large_string) where the plan is `pk == x` or `pk in [...]`."""
        match self.root:
            case Compare("==", Column(field_id, type), Constant(_, value)) if field_id == self.primary:
                return _keys((value,), type)
            case In(Column(field_id, type), values) if field_id == self.primary:
                return _keys(dict.fromkeys(values.strings or values.ints), type)
        return None

    def values_of(self, field_id: int) -> frozenset[int | str] | None:
        """Values of an INT64 or VARCHAR field of which every row that passes has one; None: any may pass."""
        return _bound(self.root, field_id)


def _bound(node: Predicate, field_id: int) -> frozenset[int | str] | None:
    match node:
        case Always(False):
            return frozenset()
        case Compare("==", Column(found), Constant(Kind.INT | Kind.STRING, value)) if found == field_id:
            return frozenset([value])  # type: ignore[list-item]  # an INT or STRING constant holds one
        case In(Column(found), values) if found == field_id and not (values.floats or values.bools):
            return frozenset((*values.ints, *values.strings))
        case And(children):
            found_sets = [s for c in children if (s := _bound(c, field_id)) is not None]
            return frozenset.intersection(*found_sets) if found_sets else None
        case Or(children):
            all_sets = [_bound(c, field_id) for c in children]
            bounded = [s for s in all_sets if s is not None]
            return frozenset().union(*bounded) if len(bounded) == len(all_sets) else None
    return None


def _keys(values: object, type: DataType) -> pa.Array:
    arrow = pa.large_string() if type is DataType.VARCHAR else pa.int64()
    return pa.array(list(values), arrow)  # type: ignore[call-overload]  # a tuple or the keys of a dict
