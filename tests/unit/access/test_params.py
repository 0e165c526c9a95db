"""Key-value pairs as the many clients send them."""

import json
from typing import Any

import numpy as np
import pytest

from elanus.access.protocol import messages
from elanus.access.requests import Grouping, Page
from elanus.access.translate import params
from elanus.access.translate.placeholders import queries
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.types import ConsistencyLevel, DataType

# Any below: protobuf messages of the private pool have no static types.


@pytest.mark.parametrize(
    "sent",
    [
        {"topk": "5", "metric_type": "L2", "params": '{"nprobe": 16}'},
        {"topk": "5", "metric_type": "L2", "params": '{"nprobe": "16"}'},
        {"topk": "5", "metric_type": "L2", "nprobe": "16"},
        {"limit": "5", "params": '{"nprobe": 16, "metric_type": "L2"}'},
        {"topk": "5", "metric_type": "L2", "nprobe": "16", "params": '{"nprobe": 16}', "round_decimal": "-1"},
    ],
)
def test_search_parameters_mean_the_same_wherever_a_client_puts_them(sent: dict[str, str]) -> None:
    found = params.search_params(sent)
    assert (found.limit, found.metric, found.index, found.round_decimal) == (5, "L2", {"nprobe": 16}, -1)


def test_an_empty_metric_type_leaves_it_to_the_index() -> None:
    assert params.search_params({"topk": "1", "metric_type": "", "params": ""}).metric == ""


def test_range_parameters_stay_numbers() -> None:
    found = params.search_params({"topk": "1", "params": '{"radius": 0.5, "range_filter": "1e3"}'})
    assert found.index == {"radius": 0.5, "range_filter": 1000.0}


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"topk": "many"},
        {"topk": "1", "params": "{"},
        {"topk": "1", "params": "[1]"},
        {"topk": "1", "iterator": "x"},
    ],
)
def test_search_parameters_that_cannot_be_read_are_refused(sent: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter):
        params.search_params(sent)


@pytest.mark.parametrize("key", ["group_by_fields", "order_by_fields", "json_path", "rank_group_scorer"])
def test_parameters_that_would_change_the_answer_are_refused_by_name(key: str) -> None:
    with pytest.raises(Unimplemented, match=key):
        params.search_params({"topk": "1", key: "x"})
    with pytest.raises(Unimplemented, match=key):
        params.search_params({"topk": "1", "params": json.dumps({key: "x"})})


def test_growing_rows_are_ignored_where_that_is_asked_for() -> None:
    assert not params.search_params({"topk": "1", "ignore_growing": "False"}).ignore_growing
    assert params.search_params({"topk": "1", "ignore_growing": "true"}).ignore_growing


def test_a_grouped_search_says_by_what_and_how_many() -> None:
    found = params.search_params(
        {"topk": "1", "group_by_field": "g", "params": '{"group_size": 3, "strict_group_size": true}'}
    )
    assert (found.group, found.index) == (Grouping(field="g", size=3, strict=True), {})


def test_a_page_of_an_iterator_has_the_size_of_its_batch_and_goes_on_beyond_a_score() -> None:
    sent = {"topk": "9", "search_iter_v2": "True", "search_iter_batch_size": "4"}
    first = params.search_params(sent)
    assert (first.limit, first.iterator, first.page) == (4, True, Page())
    bound = float(np.float32(0.1))
    later = params.search_params(sent | {"search_iter_last_bound": str(bound), "search_iter_id": "t"})
    assert later.page == Page(token="t", last_bound=bound)
    with pytest.raises(InvalidParameter, match="search_iter_last_bound"):
        params.search_params(sent | {"search_iter_last_bound": "near"})


class _Request:
    def __init__(self, guarantee: int, level: int = 0, default: bool = False) -> None:
        self.guarantee_timestamp = guarantee
        self.consistency_level = level
        self.use_default_consistency = default


@pytest.mark.parametrize(
    ("request_", "level"),
    [
        (_Request(0), ConsistencyLevel.STRONG),
        (_Request(1), ConsistencyLevel.EVENTUALLY),
        (_Request(2), ConsistencyLevel.BOUNDED),
        (_Request(5 << 18), ConsistencyLevel.STRONG),
        (_Request(5 << 18, level=1), ConsistencyLevel.SESSION),
        (_Request(1, level=4), ConsistencyLevel.CUSTOMIZED),
        (_Request(1, level=2), ConsistencyLevel.BOUNDED),
        (_Request(1, level=3, default=True), None),
    ],
)
def test_a_client_that_knows_no_levels_says_by_the_timestamp_what_it_wants(
    request_: _Request, level: ConsistencyLevel | None
) -> None:
    assert params.consistency(request_) == level


def test_the_time_of_a_write_is_no_session_of_an_iterator() -> None:
    assert params.session(_Request(7 << 18), iterator=True) == 0
    assert params.session(_Request((7 << 18) + 1), iterator=True) == (7 << 18) + 1
    assert params.session(_Request((7 << 18) + 1), iterator=False) == 0
    assert params.session(_Request(2), iterator=True) == 0


def test_a_key_given_twice_must_say_the_same() -> None:
    pair = messages.KeyValuePair
    assert params.pairs([pair(key="a", value="1"), pair(key="a", value="1")]) == {"a": "1"}
    with pytest.raises(InvalidParameter, match="given twice"):
        params.pairs([pair(key="a", value="1"), pair(key="a", value="2")])


def test_template_values_become_python_values() -> None:
    value, array = messages.TemplateValue, messages.TemplateArrayValue
    sent: dict[str, Any] = {
        "b": value(bool_val=True),
        "i": value(int64_val=-5),
        "f": value(float_val=0.5),
        "s": value(string_val="x"),
        "l": value(array_val=array(long_data={"data": [1, 2]})),
        "n": value(array_val=array(array_data={"data": [array(double_data={"data": [0.5]})]})),
        "j": value(array_val=array(json_data={"data": [b'{"a": 1}', b'"x"']})),
        "e": value(array_val=array()),
    }
    expected = {
        "b": True,
        "i": -5,
        "f": 0.5,
        "s": "x",
        "l": [1, 2],
        "n": [[0.5]],
        "j": [{"a": 1}, "x"],
        "e": [],
    }
    assert params.templates(sent) == expected
    with pytest.raises(Unimplemented, match="'x' holds bytes"):
        params.templates({"x": value(bytes_val=b"1")})
    with pytest.raises(InvalidParameter, match="'x' has no value"):
        params.templates({"x": value()})


def test_the_consistency_level_is_the_collections_unless_the_request_says_so() -> None:
    assert params.consistency(messages.SearchRequest(use_default_consistency=True)) is None
    assert params.consistency(messages.SearchRequest(consistency_level=3)) is ConsistencyLevel.EVENTUALLY
    with pytest.raises(InvalidParameter, match="consistency_level is 9"):
        params.consistency(messages.QueryRequest(consistency_level=9))


def placeholder(type: int, *values: bytes) -> bytes:
    group = messages.PlaceholderGroup(placeholders=[{"tag": "$0", "type": type, "values": values}])
    data: bytes = group.SerializeToString()
    return data


@pytest.mark.parametrize("rows", [1, 3])
def test_query_vectors_are_read_as_a_matrix(rows: int) -> None:
    matrix = np.arange(rows * 4, dtype="<f4").reshape(rows, 4)
    type, found = queries(placeholder(101, *(row.tobytes() for row in matrix)))
    assert type is DataType.FLOAT_VECTOR
    np.testing.assert_array_equal(found, matrix)


def test_query_vectors_that_cannot_be_read_are_refused() -> None:
    for group, expected in (
        (b"\xff", "not a PlaceholderGroup"),
        (b"", "0 placeholders"),
        (placeholder(101), "no query vectors"),
        (placeholder(101, b"abc"), "no multiple of 4"),
        (placeholder(101, b""), "no multiple of 4"),
        (placeholder(101, b"abcd", b"abcdefgh"), "query vector 1 has 8 bytes"),
    ):
        with pytest.raises(InvalidParameter, match=expected):
            queries(group)
    for type in (21, 104, 301):
        with pytest.raises(Unimplemented):
            queries(placeholder(type, b"abcd"))
