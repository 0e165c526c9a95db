"""FieldData to columns and back, for every type that is stored."""

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.access.protocol import messages
from elanus.access.requests import Rows
from elanus.access.translate.results import field_data, fields_data, ids
from elanus.access.translate.rows import to_batch
from elanus.model.errors import InvalidParameter
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

# Any below: protobuf messages have no static types, and values are of any type.

_FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
_JSON = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=3), max_size=3)
VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.BOOL: st.booleans(),
    DataType.INT8: st.integers(-128, 127),
    DataType.INT16: st.integers(-(1 << 15), (1 << 15) - 1),
    DataType.INT32: st.integers(-(1 << 31), (1 << 31) - 1),
    DataType.INT64: st.integers(-(1 << 63), (1 << 63) - 1),
    DataType.FLOAT: _FLOAT,
    DataType.DOUBLE: st.floats(allow_nan=False, allow_infinity=False),
    DataType.VARCHAR: st.text(max_size=8),
    DataType.JSON: _JSON.map(lambda v: json.dumps(v).encode()),
    DataType.ARRAY: st.lists(st.integers(-128, 127), max_size=4),
    DataType.FLOAT_VECTOR: st.lists(_FLOAT, min_size=3, max_size=3),
}
KINDS = {
    DataType.BOOL: "bool_data",
    DataType.INT8: "int_data",
    DataType.INT16: "int_data",
    DataType.INT32: "int_data",
    DataType.INT64: "long_data",
    DataType.DOUBLE: "double_data",
    DataType.VARCHAR: "string_data",
    DataType.JSON: "json_data",
}


def make_field(type: DataType, **more: Any) -> Field:
    if type is DataType.FLOAT_VECTOR:
        more["dim"] = 3
    if type is DataType.ARRAY:
        more |= {"max_capacity": 4, "element_type": DataType.INT8}
    return Field(id=100, name="f", type=type, **more)


def as_sent(field: Field, values: list[Any], valid: list[bool] | None = None) -> Any:
    """What a client sends: null rows are left out, `valid_data` says which."""
    message = messages.FieldData(type=int(field.type), field_name=field.name, valid_data=valid or [])
    if field.type is DataType.FLOAT_VECTOR:
        message.vectors.dim = field.dim
        message.vectors.float_vector.data.append(np.array(values, "<f4").tobytes())
    elif field.type is DataType.ARRAY:
        for value in values:
            message.scalars.array_data.data.add().int_data.data.extend(value)
    elif field.type is DataType.FLOAT:
        message.scalars.float_data.data.append(np.array(values, "<f4").tobytes())
    else:
        getattr(message.scalars, KINDS[field.type]).data.extend(values)
    return message


def with_field(field: Field) -> Schema:
    return Schema(fields=(field,))


@given(st.data(), st.sampled_from(sorted(VALUES)))
def test_values_of_every_type_come_back_as_they_were_sent(data: st.DataObject, type: DataType) -> None:
    field = make_field(type)
    values = data.draw(st.lists(VALUES[type], min_size=1, max_size=5))
    batch = to_batch([as_sent(field, values)], len(values), with_field(field))
    assert batch.column("100").to_pylist() == values
    sent_back = field_data(batch.column("100"), field)
    again = to_batch([sent_back], len(values), with_field(field))
    assert again.equals(batch)


@given(st.data(), st.sampled_from(sorted(t for t in VALUES if not t.is_vector)))
def test_null_rows_keep_their_place_whether_or_not_clients_send_a_filler(
    data: st.DataObject, type: DataType
) -> None:
    field = make_field(type, nullable=True)
    values = data.draw(st.lists(VALUES[type], min_size=1, max_size=6))
    valid = data.draw(st.lists(st.booleans(), min_size=len(values), max_size=len(values)))
    expected = [v if ok else None for v, ok in zip(values, valid, strict=True)]
    compact = [v for v, ok in zip(values, valid, strict=True) if ok]
    for sent in (values, compact):
        batch = to_batch([as_sent(field, sent, valid)], len(values), with_field(field))
        assert batch.column("100").to_pylist() == expected
        answered = field_data(batch.column("100"), field)
        assert list(answered.valid_data) == valid
        assert to_batch([answered], len(values), with_field(field)).equals(batch)


def test_vectors_are_not_copied_out_of_the_message() -> None:
    field = make_field(DataType.FLOAT_VECTOR)
    message = as_sent(field, [[1, 2, 3]] * 1000)
    column = to_batch([message], 1000, with_field(field)).column("100")
    assert column.flatten().buffers()[1].size == 1000 * 3 * 4
    assert column.flatten().to_numpy(zero_copy_only=True).base is not None


@pytest.mark.parametrize(
    ("field", "message", "expected"),
    [
        (make_field(DataType.INT64), {"field_name": "g", "type": 5}, "field 'g' does not exist"),
        (make_field(DataType.INT64), {"field_name": "f", "type": 21}, "came as VARCHAR; it must be INT64"),
        (
            make_field(DataType.INT64),
            {"field_name": "f", "type": 5},
            "has 0 values for 2 rows; each row needs one, since",
        ),
        (make_field(DataType.INT64), {"field_name": "$meta", "type": 23}, "has no dynamic fields"),
        (
            make_field(DataType.INT64, nullable=True),
            {"field_name": "f", "type": 5, "valid_data": [True]},
            "has 1 entries; num_rows says 2",
        ),
    ],
)
def test_columns_that_do_not_fit_the_schema_are_refused(
    field: Field, message: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InvalidParameter, match=expected):
        to_batch([messages.FieldData(**message)], 2, with_field(field))


def test_an_unknown_field_is_named_with_the_nearest_known_one() -> None:
    schema = Schema(fields=(Field(id=100, name="colour", type=DataType.INT64),))
    with pytest.raises(InvalidParameter, match="did you mean 'colour'"):
        to_batch([messages.FieldData(field_name="color", type=5)], 0, schema)


def test_a_field_given_twice_is_refused() -> None:
    field = make_field(DataType.INT64)
    with pytest.raises(InvalidParameter, match="given twice"):
        to_batch([as_sent(field, [1]), as_sent(field, [2])], 1, with_field(field))


def test_a_vector_of_the_wrong_dimension_is_refused() -> None:
    field = make_field(DataType.FLOAT_VECTOR)
    wrong = messages.FieldData(field_name="f", type=101)
    wrong.vectors.dim = 2
    with pytest.raises(InvalidParameter, match="dimension 2; it must be 3"):
        to_batch([wrong], 1, with_field(field))
    wrong.vectors.dim = 3
    wrong.vectors.float_vector.data.append(b"\0" * 16)
    with pytest.raises(InvalidParameter, match="16 bytes of vectors; 1 vectors of dimension 3 are 12"):
        to_batch([wrong], 1, with_field(field))


def test_rows_without_a_vector_are_counted() -> None:
    field = make_field(DataType.FLOAT_VECTOR)
    with pytest.raises(InvalidParameter, match="has 1 vectors of dimension 3 for 2 rows; each row needs one"):
        to_batch([as_sent(field, [[1, 2, 3]])], 2, with_field(field))


def test_a_narrow_integer_out_of_range_is_refused_with_its_row() -> None:
    field = make_field(DataType.INT8, nullable=True)
    with pytest.raises(InvalidParameter, match=r"row 2: 300 is out of range for int8.*\[-128, 127\]"):
        to_batch([as_sent(field, [1, 300], [True, False, True])], 3, with_field(field))


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)) | st.lists(st.text(max_size=5), min_size=1))
def test_keys_keep_their_order(keys: list[Any]) -> None:
    arrow = pa.array(keys, pa.large_string() if keys and isinstance(keys[0], str) else pa.int64())
    message = ids(arrow)
    assert list(message.int_id.data or message.str_id.data) == keys


def test_the_dynamic_field_is_trimmed_to_the_keys_that_were_asked_for() -> None:
    dynamic = Field(id=101, name="$meta", type=DataType.JSON, dynamic=True)
    column = pa.array([b'{"a": 1, "b": {"c": [1, 2]}, "d": 3}', b'{"b": 5}', None], pa.large_binary())
    rows = Rows(
        names=("a", "b"),
        columns=pa.RecordBatch.from_arrays([column], names=["101"]),
        schema=Schema(fields=(dynamic,), dynamic=True),
        dynamic=("a", "b"),
    )
    (trimmed,) = fields_data(rows, trim=True)
    assert trimmed.is_dynamic
    assert [json.loads(v) for v in trimmed.scalars.json_data.data] == [
        {"a": 1, "b": {"c": [1, 2]}},
        {"b": 5},
        {},
    ]
    (whole,) = fields_data(rows, trim=False)
    assert json.loads(whole.scalars.json_data.data[0])["d"] == 3


def test_infinite_floats_reach_validation_unchanged() -> None:
    field = make_field(DataType.FLOAT)
    column = to_batch([as_sent(field, [math.inf])], 1, with_field(field)).column("100")
    assert column.to_pylist() == [math.inf]
