"""Privileges: levels, objects and the built-in groups."""

import pytest

from elanus.model.errors import InvalidParameter
from elanus.model.privileges import (
    BUILT_IN_GROUPS,
    LEVEL_GROUPS,
    PRIVILEGES,
    TABLE,
    Level,
    ObjectType,
    check_known,
    check_on_object,
    level_of,
    object_of,
    object_type,
)


def test_every_privilege_is_there_once_and_no_call_needs_two() -> None:
    calls = [c for p in TABLE for c in p.calls]
    assert len(TABLE) == len(PRIVILEGES)
    assert len(calls) == len(set(calls))
    assert not PRIVILEGES.keys() & BUILT_IN_GROUPS.keys()


def test_larger_groups_hold_the_smaller_ones_and_only_privileges_of_their_level() -> None:
    for level in Level:
        read, write, admin = (LEVEL_GROUPS[f"{level}{size}"] for size in ("ReadOnly", "ReadWrite", "Admin"))
        assert read < write < admin
        assert {level_of(p) for p in admin} == {level}


def test_reading_is_in_every_group_of_collections_and_dropping_in_that_of_database_admins() -> None:
    assert "Search" in LEVEL_GROUPS["CollectionReadOnly"]
    assert "Insert" not in LEVEL_GROUPS["CollectionReadOnly"]
    assert "Insert" in LEVEL_GROUPS["CollectionReadWrite"]
    assert "DropCollection" in LEVEL_GROUPS["DatabaseAdmin"]
    assert "DropCollection" not in LEVEL_GROUPS["DatabaseReadWrite"]
    assert "ManageOwnership" in LEVEL_GROUPS["ClusterAdmin"]


def test_a_privilege_is_granted_on_its_kind_of_object() -> None:
    check_on_object("Search", ObjectType.COLLECTION, frozenset())
    check_on_object("CreateCollection", ObjectType.GLOBAL, frozenset())
    check_on_object("*", ObjectType.USER, frozenset())
    check_on_object("mine", ObjectType.GLOBAL, frozenset(["mine"]))
    with pytest.raises(InvalidParameter, match="granted on Collection"):
        check_on_object("Search", ObjectType.GLOBAL, frozenset())
    with pytest.raises(InvalidParameter, match="'Serach'"):
        check_known("Serach", frozenset())


def test_objects_of_groups_are_global_but_for_the_oldest_two() -> None:
    assert object_of("ReadOnly") is ObjectType.COLLECTION
    assert object_of("CollectionAdmin") is object_of("mine") is ObjectType.GLOBAL
    with pytest.raises(InvalidParameter, match="Global, Collection, User"):
        object_type("Table")
