"""Properties: which keys there are, which values they take, when they may change."""

import pytest

from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter, MissingParameter, Unimplemented
from elanus.model.properties import TABLE, Scope, boolean, check, check_change


def test_every_key_of_a_scope_is_there_once() -> None:
    keys = [(p.scope, p.key) for p in TABLE]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("value", ["-1", "0", "3600", "3155760000"])
def test_a_ttl_is_a_number_of_seconds_up_to_a_hundred_years(value: str) -> None:
    check(Scope.COLLECTION, {"collection.ttl.seconds": value})


@pytest.mark.parametrize(
    ("scope", "key", "value"),
    [
        (Scope.COLLECTION, "collection.ttl.seconds", "-2"),
        (Scope.COLLECTION, "collection.ttl.seconds", "3155760001"),
        (Scope.COLLECTION, "collection.ttl.seconds", "soon"),
        (Scope.COLLECTION, "mmap.enabled", "yes"),
        (Scope.COLLECTION, "load_priority", "urgent"),
        (Scope.DATABASE, "database.max.collections", "-1"),
        (Scope.DATABASE, "database.force.deny.ddl", "1"),
        (Scope.FIELD, "max_length", "0"),
        (Scope.INDEX, "mmap.enabled", ""),
    ],
)
def test_a_wrong_value_is_refused_with_the_key(scope: Scope, key: str, value: str) -> None:
    with pytest.raises(InvalidParameter, match=key.replace(".", r"\.")):
        check(scope, {key: value})


def test_what_is_not_built_is_refused_unless_it_is_switched_off() -> None:
    check(Scope.COLLECTION, {"cipher.enabled": "false"})
    with pytest.raises(Unimplemented, match="cipher"):
        check(Scope.COLLECTION, {"cipher.enabled": "true"})


def test_unknown_keys_are_kept_by_collections_and_refused_by_fields_and_indexes() -> None:
    check_change(Scope.COLLECTION, {"mine": "x"}, [])
    check_change(Scope.DATABASE, {}, ["mine"])
    for scope in (Scope.FIELD, Scope.INDEX):
        with pytest.raises(InvalidParameter, match="mine"):
            check_change(scope, {"mine": "x"}, [])


def test_a_call_alters_or_deletes() -> None:
    with pytest.raises(InvalidParameter, match="send two"):
        check_change(Scope.COLLECTION, {"a": "1"}, ["b"])
    with pytest.raises(MissingParameter):
        check_change(Scope.COLLECTION, {}, [])


def test_what_needs_a_released_collection_says_so() -> None:
    for scope in (Scope.COLLECTION, Scope.FIELD, Scope.INDEX):
        check_change(scope, {"mmap.enabled": "True"}, [], loaded=False)
        with pytest.raises(ElanusError) as caught:
            check_change(scope, {}, ["mmap.enabled"], loaded=True)
        assert caught.value.code is Code.COLLECTION_LOADED


@pytest.mark.parametrize(
    ("scope", "key"), [(Scope.FIELD, "dim"), (Scope.INDEX, "metric_type"), (Scope.COLLECTION, "max_field_id")]
)
def test_what_is_fixed_is_never_altered(scope: Scope, key: str) -> None:
    with pytest.raises(InvalidParameter, match="fixed"):
        check_change(scope, {key: "8"}, [])


def test_sizes_and_switches_are_altered_but_not_deleted() -> None:
    for scope, key in ((Scope.FIELD, "max_length"), (Scope.COLLECTION, "dynamicfield.enabled")):
        with pytest.raises(InvalidParameter, match="not deleted"):
            check_change(scope, {}, [key])


def test_booleans_come_in_any_case() -> None:
    assert [boolean(t) for t in ("true", "True", "TRUE", "false", "False")] == [True] * 3 + [False] * 2
