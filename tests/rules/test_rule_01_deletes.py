"""Rule 1: which rows a delete hides."""

from collections.abc import Sequence

import pytest

from elanus.model.records import Header, Kind
from tests.rules.stage import (
    Rows,
    Stage,
    count,
    delete,
    flush,
    insert,
    make,
    once,
    read,
    reload,
    upsert,
)


def everywhere(stage: Stage, expected: Rows) -> None:
    """The same rows from memory, from sealed files, after a load and after a crash."""
    instance = stage.open()
    assert read(instance) == expected
    flush(instance)
    reload(instance)
    assert read(instance) == expected
    assert read(stage.reopen()) == expected


@pytest.fixture
def stalled(stage: Stage) -> Stage:
    """The broker's clock stands still: all records share a millisecond."""
    stage.hooks.clock = lambda: 1_700_000_000_000
    return stage


def test_a_row_inserted_after_a_delete_of_its_key_lives(stalled: Stage) -> None:
    instance = stalled.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    delete(instance, "a", "id in [1, 2]")
    insert(instance, "a", [1], tag=2)
    assert read(instance) == [(1, 2)]
    stalled.close()
    everywhere(stalled, [(1, 2)])


def test_an_upsert_does_not_hide_its_own_rows(stalled: Stage) -> None:
    instance = stalled.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    upsert(instance, "a", [2, 3], tag=2)
    stalled.close()
    everywhere(stalled, [(1, 1), (2, 2), (3, 2)])


def test_an_upsert_is_seen_whole_at_any_moment(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1], tag=1)
    seen: list[Rows] = []

    def look(headers: Sequence[Header]) -> None:
        seen.append(read(instance))

    stage.hooks.after_append = look
    upsert(instance, "a", [1], tag=2)
    assert seen == [[(1, 2)]]
    assert count(instance) == 1


def test_a_key_that_comes_twice_in_an_upsert_keeps_its_last_row(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    upsert(instance, "a", [7, 8, 7], tag=1)
    assert count(instance) == 2


def test_duplicate_keys_of_inserts_are_kept_and_the_newest_is_shown(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1], tag=1)
    flush(instance)
    insert(instance, "a", [1], tag=2)
    assert count(instance) == 2
    assert read(instance) == [(1, 2)]


def is_delete(headers: Sequence[Header]) -> bool:
    return headers[0].kind is Kind.DELETE


def test_a_row_updated_while_a_delete_by_expression_reads_survives(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    flush(instance)
    stage.hooks.before_append = once(lambda: upsert(instance, "a", [1], tag=2), is_delete)
    delete(instance, "a", "tag == 1")
    assert read(instance) == [(1, 2)]
    stage.close()
    everywhere(stage, [(1, 2)])


def test_a_delete_by_expression_hides_on_every_channel_what_it_read_there(stage: Stage) -> None:
    instance = stage.open(rootCoord__dmlChannelNum=2)
    make(instance, shards=3)
    insert(instance, "a", list(range(50)), tag=1)
    insert(instance, "a", list(range(50, 60)), tag=2)
    delete(instance, "a", "tag == 1")
    expected = [(i, 2) for i in range(50, 60)]
    assert read(instance) == expected
    assert read(stage.reopen(rootCoord__dmlChannelNum=2)) == expected


def test_a_delete_by_expression_in_a_partition_leaves_the_others_alone(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    instance.proxy.create_partition("", "a", "p")
    instance.proxy.load("", "a", [], 1, [], False)
    insert(instance, "a", [1], tag=1)
    insert(instance, "a", [1], tag=1, partition="p")
    delete(instance, "a", "tag == 1", partition="p")
    assert read(instance, partitions=("p",)) == []
    assert read(instance, partitions=("_default",)) == [(1, 1)]
    stage.close()
    everywhere(stage, [(1, 1)])
