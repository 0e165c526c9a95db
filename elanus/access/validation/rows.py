"""Rows of an insert or upsert, value by value; their shape was settled when they were translated."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from elanus.model.columns import as_floats, as_matrix
from elanus.model.errors import InvalidParameter, TooLarge
from elanus.model.limits import UNLIMITED, Limits
from elanus.model.properties import KEYS_GIVEN
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

_SHOWN = 32
"""Characters of a wrong value that a message shows."""


def check_rows(
    schema: Schema, rows: pa.RecordBatch, limits: Limits, *, upsert: bool = False, takes_keys: bool = False
) -> None:
    """`rows` has a column per field that the client sent, named by field id; `takes_keys`: generated keys may
    be given.

    Raises InvalidParameter with field and row, TooLarge for a request above the insert size.
    """
    if rows.num_rows == 0:
        raise InvalidParameter("there are no rows to write; give at least one")
    if limits.insert_size != UNLIMITED and rows.nbytes > limits.insert_size:
        raise TooLarge(
            f"the rows have {rows.nbytes} bytes; at most {limits.insert_size} may be written at once"
        )
    present = set(rows.schema.names)
    for field in schema.fields:
        if field.key not in present:
            _check_absent(field, upsert)
        elif field.auto_id and not (upsert or takes_keys):
            raise InvalidParameter(
                f"field {field.name!r} has autoID: leave it out, its values are generated "
                f"(or set the collection's property {KEYS_GIVEN})"
            )
        else:
            _check_column(rows.column(field.key), field, schema, limits)


def _check_absent(field: Field, upsert: bool) -> None:
    if field.dynamic or field.nullable or field.default is not None or (field.auto_id and not upsert):
        return
    why = "an upsert needs the primary key of each row" if field.primary else "it has no default"
    raise InvalidParameter(f"field {field.name!r} is missing from the rows; {why}")


def _check_column(column: pa.Array, field: Field, schema: Schema, limits: Limits) -> None:
    if column.null_count and not field.nullable and field.default is None:
        row = _first(pc.is_null(column))
        raise InvalidParameter(f"field {field.name!r}, row {row} is null; the field is not nullable")
    check = _CHECKS.get(field.type)
    if check is not None:
        check(column, field, schema, limits)


def _first(wrong: pa.Array) -> int | None:
    """The first row of a boolean mask that is true."""
    row = pc.index(wrong, True).as_py()
    return None if row < 0 else int(row)


def _check_floats(column: pa.Array, field: Field, schema: Schema, limits: Limits) -> None:
    row = _first(pc.fill_null(pc.invert(pc.is_finite(column)), False))
    if row is not None:
        raise InvalidParameter(
            f"field {field.name!r}, row {row} is {column[row]}; it must be a finite number"
        )


def _check_vectors(column: pa.Array, field: Field, schema: Schema, limits: Limits) -> None:
    values = as_floats(as_matrix(column, field.type), field.type).reshape(-1)
    # The sum of finite float32 in float64 is finite: one pass without a mask for the usual case.
    with np.errstate(invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return
    position = int(np.flatnonzero(~np.isfinite(values))[0])
    row, element = divmod(position, field.dim)
    raise InvalidParameter(
        f"field {field.name!r}, row {row}: element {element} is {values[position]}; "
        "it must be a finite number"
    )


def _check_texts(column: pa.Array, field: Field, schema: Schema, limits: Limits) -> None:
    lengths = pc.binary_length(column)
    row = _first(pc.fill_null(pc.greater(lengths, field.max_length), False))
    if row is not None:
        raise InvalidParameter(
            f"field {field.name!r}, row {row}: {_shown(column[row].as_py())} has {lengths[row]} bytes; "
            f"max_length is {field.max_length}"
        )


def _check_json(column: pa.Array, field: Field, schema: Schema, limits: Limits) -> None:
    lengths = pc.binary_length(column)
    row = _first(pc.fill_null(pc.greater(lengths, limits.json_length), False))
    if row is not None:
        raise InvalidParameter(
            f"field {field.name!r}, row {row} has {lengths[row]} bytes of JSON; "
            f"at most {limits.json_length} are allowed"
        )
    static = frozenset(f.name for f in schema.fields) if field.dynamic else frozenset()
    decode = _object.decode if field.dynamic else _anything.decode
    texts = column.to_pylist()
    try:
        values: list[Any] = [decode(text) for text in texts if text is not None]
    except _NOT_JSON:
        row = next(i for i, text in enumerate(texts) if text is not None and _is_wrong(text, decode))
        what = "a JSON object" if field.dynamic else "JSON"
        raise InvalidParameter(
            f"field {field.name!r}, row {row}: {_shown(texts[row])} is not {what}"
        ) from None
    for row, value in enumerate(values if static else ()):
        if not static.isdisjoint(value):
            name = next(key for key in value if key in static)
            raise InvalidParameter(
                f"row {row}: the dynamic field has a key {name!r}, which is the name of a field; "
                "give it as that field"
            )


# Any: a JSON value may be anything.
_object = msgspec.json.Decoder(dict[str, Any])
_anything = msgspec.json.Decoder(Any)
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _is_wrong(text: bytes, decode: Callable[[bytes], Any]) -> bool:
    try:
        decode(text)
    except _NOT_JSON:
        return True
    return False


def _check_arrays(column: pa.LargeListArray, field: Field, schema: Schema, limits: Limits) -> None:
    lengths = pc.list_value_length(column)
    row = _first(pc.fill_null(pc.greater(lengths, field.max_capacity), False))
    if row is not None:
        raise InvalidParameter(
            f"field {field.name!r}, row {row} has {lengths[row]} elements; "
            f"max_capacity is {field.max_capacity}"
        )
    check = _CHECKS.get(field.element_type)
    if check is None:
        return
    elements = column.flatten()
    try:
        check(elements, field, schema, limits)
    except InvalidParameter as error:
        # The position is that of the element in all rows' elements; say which row it is in.
        raise InvalidParameter(f"{error.message} (counted over the elements of all rows)") from None


def _shown(value: str | bytes) -> str:
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."


_CHECKS: dict[DataType, Callable[[Any, Field, Schema, Limits], None]] = {
    DataType.FLOAT: _check_floats,
    DataType.DOUBLE: _check_floats,
    DataType.VARCHAR: _check_texts,
    DataType.JSON: _check_json,
    DataType.ARRAY: _check_arrays,
    DataType.FLOAT_VECTOR: _check_vectors,
    DataType.FLOAT16_VECTOR: _check_vectors,
    DataType.BFLOAT16_VECTOR: _check_vectors,
}
