"""Rule 9, trimming: the log keeps what a manifest or a view still starts from; marks are pairs."""

import threading
from typing import Any

import pytest

from elanus.model.nouns import Mark
from elanus.model.timestamps import Position, from_ms
from elanus.runtime.standalone import Instance
from elanus.storage import codec, keys
from tests.rules.stage import (
    MOMENT,
    SECONDS,
    Barrier,
    Stage,
    channel,
    count,
    delete,
    flush,
    insert,
    make,
    once,
    read,
    served_at_floor,
    touches,
    wait_for,
)

LOG = "dml_0"


def trim(instance: Instance) -> None:
    instance.tails[LOG].wait(instance.broker.end_offset(LOG), SECONDS)
    instance.proxy._data.trim(LOG)  # type: ignore[attr-defined]


def fill(instance: Instance, name: str) -> None:
    """So many records that the log goes on in new files."""
    for i in range(12):
        insert(instance, name, list(range(1000 * i, 1000 * i + 100)))


@pytest.fixture
def small(stage: Stage) -> dict[str, Any]:
    return {"elanus__log__fileBytes": 4096}


def test_a_log_keeps_the_records_of_every_channel_that_are_not_sealed(
    stage: Stage, small: dict[str, Any]
) -> None:
    instance = stage.open(**small)
    make(instance, "a", load=False)
    make(instance, "b", load=False)
    insert(instance, "a", [1])
    fill(instance, "b")
    flush(instance, "b")
    trim(instance)
    assert instance.broker.start_offset(LOG) == 0
    instance = stage.reopen(**small)
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance, "a") == [(1, 0)]
    flush(instance, "a")
    served_at_floor(instance, "a")
    trim(instance)
    assert instance.broker.start_offset(LOG) > 0
    instance = stage.reopen(**small)
    assert read(instance, "a") == [(1, 0)]
    assert instance.proxy.row_count("", "b") == 1200


def test_a_log_keeps_what_the_view_in_force_starts_from(stage: Stage, small: dict[str, Any]) -> None:
    """The channel is sealed further, but the view that says so is still being prepared."""
    instance = stage.open(**small)
    make(instance, "a")
    fill(instance, "a")
    preparing = Barrier()
    stage.hooks.before_open = once(preparing.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    flush(instance, "a")
    preparing.wait()
    (view,) = instance.catalog.views(instance.proxy.collection("", "a").id)
    trim(instance)
    assert instance.broker.start_offset(LOG) <= view.start_offset
    preparing.let_go()
    served_at_floor(instance, "a")
    trim(instance)
    assert instance.broker.start_offset(LOG) > view.start_offset


def test_an_idle_channel_lets_the_log_be_trimmed(stage: Stage, small: dict[str, Any]) -> None:
    small |= {"elanus__serve__refreshOffsets": 1}
    instance = stage.open(**small)
    make(instance, "a")
    insert(instance, "a", [1])
    flush(instance, "a")
    make(instance, "b", load=False)
    fill(instance, "b")
    flush(instance, "b")
    trim(instance)
    start = instance.manifests.start(channel(instance, "a"))[1]
    assert start == instance.manifests.mark(LOG)
    (view,) = instance.catalog.views(instance.proxy.collection("", "a").id)
    wait_for(lambda: instance.catalog.views(instance.proxy.collection("", "a").id) != [view])
    trim(instance)
    assert instance.broker.start_offset(LOG) > 0
    instance = stage.reopen(**small)
    delete(instance, "a", "id in [1]")
    insert(instance, "a", [2])
    assert read(instance, "a") == [(2, 0)]


def test_a_mark_carries_the_clock_to_where_it_is(stage: Stage) -> None:
    """The broker's clock ran ahead and stepped back: whoever starts at the mark knows how far it had been."""
    times = iter([2_000_000_000_000] * 100)
    stage.hooks.clock = lambda: next(times, 1_700_000_000_000)
    instance = stage.open()
    make(instance, "a")
    insert(instance, "a", [1])
    flush(instance, "a")
    trim(instance)
    mark = instance.manifests.mark(LOG)
    assert mark == instance.tails[LOG].position
    assert mark.ts >= from_ms(2_000_000_000_000)
    times = iter([])
    instance = stage.reopen()
    assert instance.tails[LOG].position.ts >= mark.ts
    delete(instance, "a", "id in [1]")
    assert read(instance) == []


def test_a_channel_made_while_the_mark_moves_keeps_its_records(stage: Stage) -> None:
    """The catalogue is read, the channel appears, a row is acknowledged, the mark moves."""
    instance = stage.open()
    make(instance, "a")
    insert(instance, "a", [1])
    flush(instance, "a")
    collections = instance.catalog.collections
    created: list[Any] = []

    def then_another() -> Any:
        found = collections()
        if not created:
            instance.catalog.collections = collections  # type: ignore[method-assign]
            created.append(stage.do(make, instance, "b"))
            wait_for(lambda: any(c.name == "b" for c in collections()))
            insert(instance, "b", [7])
            instance.tails[LOG].wait(instance.broker.end_offset(LOG), SECONDS)
        return found

    instance.catalog.collections = then_another  # type: ignore[method-assign]
    trim(instance)
    created[0].result(SECONDS)
    assert read(instance, "b") == [(7, 0)]
    assert read(stage.reopen(), "b") == [(7, 0)]


def test_a_channel_dropped_while_the_mark_moves_does_not_hold_it_up_for_ever(stage: Stage) -> None:
    instance = stage.open()
    make(instance, "a")
    make(instance, "b")
    insert(instance, "b", [7])
    position = instance._data_node.position

    def then_drop(*arguments: Any) -> Position:
        here = position(*arguments)
        instance._data_node.position = position  # type: ignore[method-assign]
        instance.proxy.drop_collection("", "b")
        return here

    instance._data_node.position = then_drop  # type: ignore[method-assign, assignment]
    trim(instance)
    trim(instance)
    assert instance.manifests.mark(LOG) == instance.tails[LOG].position
    stage.reopen()


def test_the_start_of_a_channel_reads_the_mark_before_the_manifest(stage: Stage) -> None:
    """Sealed and marked in between, the mark must not carry a reader of the old manifest past the seal."""
    instance = stage.open()
    make(instance, "a")
    insert(instance, "a", [1])
    of = channel(instance)

    looks: list[str] = []
    me = threading.get_ident()

    def sealed_and_marked() -> None:
        flush(instance, "a")
        flush(instance, "a")
        end = instance.tails[LOG].position
        instance.meta.txn([], {keys.mark(LOG): codec.encode(Mark(offset=end.offset, ts=end.ts))})

    def second_look(key: str) -> bool:
        if threading.get_ident() == me:
            looks.append(key)
        return len(set(looks) & {keys.mark(LOG), keys.manifest(of.id)}) == 2

    stage.hooks.before_get = once(sealed_and_marked, second_look)
    pointer, start = instance.manifests.start(of)
    assert instance.manifests.mark(LOG) > start
    assert start == Position(pointer.floor_offset, pointer.floor_ts)


def test_a_start_that_was_read_is_not_trimmed_away_before_the_channel_is_followed(
    stage: Stage, small: dict[str, Any]
) -> None:
    """It takes its start, the log grows, the catalogue is read, the channel appears, the log is cut."""
    instance = stage.open(**small)
    make(instance, "a")
    insert(instance, "a", [1])
    starting = Barrier()
    stage.hooks.before_txn = once(starting.hold, touches(keys.COLLECTIONS))
    creating = stage.do(make, instance, "b")
    starting.wait()
    fill(instance, "a")
    flush(instance, "a")
    served_at_floor(instance, "a")
    node, collections, adopting = instance._data_node, instance.catalog.collections, Barrier()
    buffer = node._buffer

    def held(*arguments: Any) -> Any:
        made = buffer(*arguments)
        adopting.hold()
        return made

    def then_the_channel_appears() -> Any:
        found = collections()
        instance.catalog.collections = collections  # type: ignore[method-assign]
        starting.let_go()
        wait_for(lambda: len(collections()) == 2)
        adopting.reached(MOMENT)
        return found

    node._buffer = held  # type: ignore[method-assign, assignment]
    instance.catalog.collections = then_the_channel_appears  # type: ignore[method-assign]
    trim(instance)
    assert instance.broker.start_offset(LOG) > 1
    adopting.let_go()
    creating.result(SECONDS)
    insert(instance, "b", [1])
    assert count(instance, "b") == 1
    assert count(stage.reopen(**small), "b") == 1
