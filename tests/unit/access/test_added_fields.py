"""Fields for collections that have rows, and the names of users, roles and groups."""

from typing import Any

import pytest

from elanus.access.validation import check_added, check_name, check_sizes
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter
from elanus.model.limits import Limits
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

LIMITS = Limits(fields=3)
SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        Field(id=101, name="v", type=DataType.FLOAT_VECTOR, dim=2),
        Field(id=102, name="$meta", type=DataType.JSON, dynamic=True),
    ),
    dynamic=True,
)


def field(**more: Any) -> Field:
    return Field(**{"id": 0, "name": "n", "type": DataType.INT64, "nullable": True, **more})


@pytest.mark.parametrize(
    "added",
    [
        field(),
        field(nullable=False, default=7),
        field(type=DataType.VARCHAR, max_length=5, default="five5"),
    ],
)
def test_a_field_that_old_rows_have_a_value_for_is_added(added: Field) -> None:
    check_added(added, SCHEMA, LIMITS)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"nullable": False}, "nullable or give it a default"),
        ({"nullable": False, "type": DataType.FLOAT_VECTOR, "dim": 2}, "a vector"),
        ({"primary": True}, "the primary key"),
        ({"auto_id": True}, "generated"),
        ({"partition_key": True, "nullable": False, "default": 1}, "the partition key"),
        ({"clustering_key": True}, "the clustering key"),
        ({"type": DataType.VARCHAR, "max_length": 2, "default": "long"}, "default of field"),
    ],
)
def test_a_field_that_old_rows_have_no_value_for_is_not(more: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidParameter, match=why):
        check_added(field(**more), SCHEMA, LIMITS)


def test_dynamic_fields_do_not_count_and_a_full_schema_takes_no_more() -> None:
    full = Schema(fields=(*SCHEMA.fields, field(id=103)))
    with pytest.raises(InvalidParameter, match="at most 3"):
        check_added(field(name="m"), full, LIMITS)


def test_a_vector_is_no_clustering_key() -> None:
    wrong = field(type=DataType.FLOAT_VECTOR, dim=2, nullable=False, clustering_key=True)
    with pytest.raises(ElanusError) as caught:
        check_added(wrong, SCHEMA, LIMITS)
    assert caught.value.code is Code.COLLECTION_VECTOR_CLUSTERING_KEY_NOT_ALLOWED


def test_sizes_stay_below_the_protocols_limits() -> None:
    check_sizes({"max_length": "65535", "max_capacity": "4096", "mmap.enabled": "true"}, LIMITS)
    for wrong in ({"max_length": "65536"}, {"max_capacity": "4097"}):
        with pytest.raises(InvalidParameter, match="must be in"):
            check_sizes(wrong, LIMITS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("user", "ann.b-c_1"), ("role", "r$1"), ("role", "_r"), ("privilege group", "g_1"), ("object", "a$b")],
)
def test_names_that_the_protocol_allows(kind: str, name: str) -> None:
    check_name(kind, name, LIMITS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("user", "_ann"), ("user", "a" * 33), ("role", "r-1"), ("privilege group", "g$"), ("object", "1a")],
)
def test_names_that_it_does_not(kind: str, name: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        check_name(kind, name, LIMITS)
    groups = Code.PRIVILEGE_GROUP_INVALID_NAME
    assert caught.value.code is (groups if kind == "privilege group" else Code.PARAMETER_INVALID)
