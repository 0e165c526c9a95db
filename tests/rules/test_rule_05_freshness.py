"""Rules 2 and 5: from where on a read is complete."""

import threading
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from elanus.model.timestamps import Position
from elanus.model.types import ConsistencyLevel
from elanus.workers import tail as tail_module
from elanus.workers.tail import LogTail
from tests.rules.memory_log import MemoryLog
from tests.rules.stage import MOMENT, SECONDS, Stage, held_polls, insert, make, read, wait_for

STRONG_LEVELS = [ConsistencyLevel.STRONG, ConsistencyLevel.SESSION, ConsistencyLevel.CUSTOMIZED]


@pytest.mark.parametrize("level", STRONG_LEVELS)
def test_a_strong_read_waits_for_what_was_acknowledged_before_it(
    stage: Stage, level: ConsistencyLevel
) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    assert read(instance, level=level) == [(1, 0)]
    with held_polls(stage):
        insert(instance, "a", [2])
        reading = stage.do(read, instance, "a", level)
        with pytest.raises(TimeoutError):
            reading.result(MOMENT)
        assert read(instance, level=ConsistencyLevel.EVENTUALLY) == [(1, 0)], "at once, at what is applied"
    assert reading.result(SECONDS) == [(1, 0), (2, 0)]


def test_a_bounded_read_waits_once_the_node_has_not_been_at_the_end_within_the_bound(stage: Stage) -> None:
    instance = stage.open(common__gracefulTime=1)
    make(instance)
    with held_polls(stage):
        insert(instance, "a", [2])
        reading = stage.do(read, instance, "a", ConsistencyLevel.BOUNDED)
        with pytest.raises(TimeoutError):
            reading.result(MOMENT)
    assert reading.result(SECONDS) == [(2, 0)]


def test_a_bounded_read_within_the_bound_is_answered_at_once(stage: Stage) -> None:
    instance = stage.open(common__gracefulTime=3_600_000)
    make(instance)
    tail = instance.tails["dml_0"]
    wait_for(lambda: tail._known_at > 0)
    with held_polls(stage):
        insert(instance, "a", [2])
        assert read(instance, level=ConsistencyLevel.BOUNDED) == []


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def monotonic(self) -> float:
        return self.now


@contextmanager
def followed(log: MemoryLog, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogTail]:
    monkeypatch.setattr(tail_module, "time", types.SimpleNamespace(monotonic=clock.monotonic))
    tail = LogTail(log, "log", batch=8, idle_seconds=0.001, catch_up_timeout_seconds=SECONDS)
    yield tail
    tail.stop()


def test_freshness_counts_from_the_start_of_the_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    log, clock = MemoryLog(), Clock(1000.0)
    known: list[float] = []

    def fetch() -> None:
        if clock.now == 1000.0:
            clock.now = 1010.0  # the first one takes ten seconds
        else:
            known.append(tail._known_at)

    log.before_poll = fetch
    with followed(log, clock, monkeypatch) as tail:
        tail.start(Position(0, 0))
        wait_for(lambda: bool(known))
    assert known[0] == 1000.0, "that fetch proves nothing about its end"


def test_nothing_is_known_of_the_end_before_it_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that has just booted the monotonic clock is near 0."""
    log, clock, gate = MemoryLog(), Clock(0.5), threading.Event()
    for _ in range(20):
        log.append_at(1)

    def first_poll_takes_a_while() -> None:
        gate.wait(SECONDS)

    log.before_poll = first_poll_takes_a_while
    tail = LogTail(log, "log", batch=8, idle_seconds=0.001, catch_up_timeout_seconds=SECONDS)
    monkeypatch.setattr(tail_module, "time", types.SimpleNamespace(monotonic=clock.monotonic))
    tail.start(Position(0, 0))
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(tail.fresh, 5.0, SECONDS)
        with pytest.raises(TimeoutError):
            asking.result(MOMENT)
        gate.set()
        assert asking.result(SECONDS).offset == 20
        tail.stop()


def test_strong_reads_of_collections_in_different_logs_wait_for_their_own_log(stage: Stage) -> None:
    instance = stage.open(rootCoord__dmlChannelNum=3)
    for name in "abc":
        make(instance, name)
        insert(instance, name, [1])
    assert [read(instance, name) for name in "abc"] == [[(1, 0)]] * 3
