"""What index a client asks for, field by field."""

from typing import Any

import pytest

from elanus.access.index_params import AskedIndex, index_of
from elanus.model.errors import ElanusError, InvalidExpression, InvalidParameter, MissingParameter
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric


def field(id: int, type: DataType, **given: Any) -> Field:
    return Field(id=id, name=type.name.lower(), type=type, **given)


SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        field(101, DataType.FLOAT_VECTOR, dim=12),
        field(102, DataType.BINARY_VECTOR, dim=16),
        field(103, DataType.INT8_VECTOR, dim=8),
        field(104, DataType.VARCHAR, max_length=9),
        field(105, DataType.DOUBLE),
        field(106, DataType.ARRAY, element_type=DataType.FLOAT, max_capacity=3),
        field(107, DataType.JSON),
        Field(id=108, name="$meta", type=DataType.JSON, dynamic=True),
    ),
    dynamic=True,
)


def asked(name: str, **given: str) -> AskedIndex:
    return index_of(SCHEMA.field(name), given, SCHEMA)


def test_an_index_without_a_type_is_the_one_that_suits_the_field() -> None:
    assert asked("float_vector") == AskedIndex("HNSW", Metric.COSINE, {"M": 18, "efConstruction": 240})
    assert asked("binary_vector") == AskedIndex("BIN_IVF_FLAT", Metric.HAMMING, {"nlist": 1024})
    assert asked("id", index_type="AUTOINDEX").type == "HYBRID"
    assert asked("varchar").metric is None
    assert asked("varchar", index_type="marisa-trie").type == "Trie"
    assert asked("array", index_type="INVERTED") == AskedIndex("INVERTED", None, {})


def test_a_json_index_names_its_path_and_what_it_holds() -> None:
    found = asked("json", index_type="INVERTED", json_path="json['a']['b']", json_cast_type="double")
    assert found.params == {"json_path": ["a", "b"], "json_cast_type": "DOUBLE"}
    found = asked(
        "$meta", params='{"index_type": "INVERTED", "json_path": "color", "json_cast_type": "varchar"}'
    )
    assert found.params == {"json_path": ["color"], "json_cast_type": "VARCHAR"}


@pytest.mark.parametrize(
    ("name", "given", "error", "message"),
    [
        (
            "float_vector",
            {"index_type": "BIN_FLAT", "metric_type": "HAMMING"},
            InvalidParameter,
            "BINARY_VECTOR",
        ),
        (
            "float_vector",
            {"index_type": "FLAT", "metric_type": "JACCARD"},
            InvalidParameter,
            "COSINE, IP, L2",
        ),
        ("float_vector", {"index_type": "STL_SORT"}, InvalidParameter, "not known"),
        ("float_vector", {"index_type": "IVF_PQ"}, MissingParameter, "needs m, a divisor of dim .12."),
        ("float_vector", {"index_type": "IVF_PQ", "m": "5"}, InvalidParameter, "must be a multiple"),
        ("int8_vector", {"index_type": "IVF_FLAT"}, InvalidParameter, "INT8_VECTOR"),
        ("varchar", {"index_type": "HNSW"}, InvalidParameter, "an index of vectors"),
        ("double", {"index_type": "BITMAP"}, InvalidParameter, "DOUBLE"),
        ("array", {"index_type": "BITMAP"}, InvalidParameter, "ARRAY of FLOAT"),
        ("id", {"index_type": "BITMAP"}, InvalidParameter, "primary key"),
        ("id", {"bitmap_cardinality_limit": "1001"}, InvalidParameter, "must be in .1, 1000"),
        ("json", {"index_type": "INVERTED", "json_path": "json['a']"}, MissingParameter, "json_cast_type"),
        (
            "json",
            {"json_path": "json['a']", "json_cast_type": "int"},
            InvalidParameter,
            "BOOL, DOUBLE, VARCHAR",
        ),
        (
            "json",
            {"json_path": "color", "json_cast_type": "double"},
            InvalidParameter,
            "no.* path of field 'json'",
        ),
        ("json", {"json_path": "id", "json_cast_type": "double"}, InvalidExpression, "expected a path"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_could(
    name: str, given: dict[str, str], error: type[ElanusError], message: str
) -> None:
    with pytest.raises(error, match=message):
        asked(name, **given)
