"""What `make differential` calls alike, without asking any server."""

import pytest

pytest.importorskip("pymilvus")

from tests.differential.answers import Hit, Refusal, alike, same_hits
from tests.differential.intended import reason_for
from tests.differential.replay import agree
from tests.differential.requests import Request

ASKED = Request("area", "query")


def test_numbers_are_alike_within_the_tolerance_and_booleans_are_no_numbers() -> None:
    assert alike([{"a": 1.0}], [{"a": 1.00001}])
    assert not alike([1.0], [1.1])
    assert not alike(True, 1)
    assert not alike({"a": 1}, {"a": 1, "b": 2})


def test_equal_distances_may_change_places_and_be_cut_differently() -> None:
    left = [[Hit(1, 0.5, {}), Hit(2, 0.5, {}), Hit(3, 1.0, {})]]
    right = [[Hit(2, 0.5, {}), Hit(1, 0.5, {}), Hit(4, 1.0, {})]]
    assert same_hits(left, right)
    assert not same_hits(left, [[Hit(5, 0.5, {}), *right[0][1:]]])
    assert not same_hits(left, [right[0][:2]])


def test_a_refusal_is_like_one_with_its_code_alone() -> None:
    assert agree(ASKED, Refusal(100, "one"), Refusal(100, "another"))
    assert not agree(ASKED, Refusal(100, "one"), Refusal(101, "one"))
    assert not agree(ASKED, Refusal(100, "one"), None)


def test_only_what_is_declared_has_a_reason() -> None:
    assert reason_for(ASKED, Refusal(100, "one"), Refusal(65535, "another"))
    assert reason_for(ASKED, Refusal(100, "one"), Refusal(101, "another")) is None
    assert reason_for(ASKED, [1], [2]) is None
