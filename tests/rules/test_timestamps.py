"""The nouns Timestamp and Log: one clock for all consumers, exact hand-overs."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.model.errors import CorruptError, DeadlineExceeded, NotReady
from elanus.model.records import Kind
from elanus.model.timestamps import Position, from_ms
from elanus.workers.tail import LogTail
from tests.rules.memory_log import MemoryLog, Notes
from tests.rules.stage import SECONDS

APPENDS = st.lists(
    st.tuples(
        st.integers(0, 50),
        st.sampled_from([0, 1, 2, 9]),
        st.sampled_from([Kind.FLUSH, Kind.FENCE, Kind.DROP]),
    ),
    min_size=1,
    max_size=40,
)
"""(append time, which stalls and steps back; channel; kind)"""


@contextmanager
def tail_of(log: MemoryLog, start: Position, *followed: tuple[int, Position, Notes]) -> Iterator[LogTail]:
    tail = LogTail(log, "log", batch=3, idle_seconds=0.002, catch_up_timeout_seconds=SECONDS)
    tail.follow(followed)
    tail.start(start)
    try:
        yield tail
    finally:
        tail.stop()


@settings(max_examples=60)
@given(appends=APPENDS, data=st.data())
def test_every_consumer_computes_the_same_timestamps_from_wherever_it_starts(
    appends: list[tuple[int, int, Kind]], data: st.DataObject
) -> None:
    log = MemoryLog()
    for ms, channel, kind in appends:
        log.append_at(ms, channel, kind, floor=from_ms(data.draw(st.integers(0, 80))) * (kind is Kind.FENCE))
    assert log.ts == sorted(set(log.ts)), "in a log, timestamp order is offset order"
    start = data.draw(st.integers(0, len(appends)))
    here, there = Notes(), Notes()
    with tail_of(log, Position(0, 0), (1, Position(0, 0), here)) as tail:
        tail.wait(len(appends), SECONDS)
        tail.follow([(1, log.position(start), there)])
        assert tail.position == log.position(len(appends))
    assert here.applied == log.of_channel(1)
    assert there.applied == log.of_channel(1, start)


def test_a_consumer_with_a_wrong_pair_is_refused_loudly() -> None:
    log = MemoryLog()
    for _ in range(4):
        log.append_at(0)
    with tail_of(log, Position(0, 0)) as tail:
        tail.wait(4, SECONDS)
        with pytest.raises(CorruptError, match="one of the two pairs is wrong"):
            tail.follow([(1, Position(2, from_ms(7)), Notes())])


@pytest.mark.parametrize("seed", range(5))
def test_a_hand_over_while_the_log_grows_misses_nothing_and_doubles_nothing(seed: int) -> None:
    log, chance = MemoryLog(), random.Random(seed)
    for i in range(50):
        log.append_at(i // 7, 1 + i % 3)
    followers: list[tuple[int, Position, Notes]] = []
    done = threading.Event()

    def grow() -> None:
        for i in range(600):
            log.append_at(10 + i // 9, 1 + i % 3)
            if i % 20 == 0:
                done.wait(0.001)
        done.set()

    first = Notes()
    with tail_of(log, Position(0, 0), (1, Position(0, 0), first)) as tail:
        writer = threading.Thread(target=grow)
        writer.start()
        while not done.is_set():
            batch = [
                (channel, log.position(chance.randint(0, tail.position.offset)), Notes())
                for channel in chance.choices([1, 2, 3], k=2)
            ]
            tail.follow(batch)
            followers += batch
        writer.join()
        tail.wait(log.end_offset("log"), SECONDS)
    assert first.applied == log.of_channel(1)
    for channel, start, notes in followers:
        assert notes.applied == log.of_channel(channel, start.offset)


def test_a_channel_that_is_sealed_further_than_others_gets_nothing_twice() -> None:
    log = MemoryLog()
    for i in range(10):
        log.append_at(i, 1 + i % 2)
    low, high = Notes(), Notes()
    with tail_of(log, Position(0, 0), (1, Position(0, 0), low), (2, log.position(7), high)) as tail:
        tail.wait(10, SECONDS)
    assert low.applied == log.of_channel(1)
    assert high.applied == log.of_channel(2, 7)


def test_a_hand_over_waits_for_a_tail_that_has_not_come_as_far() -> None:
    log, gate = MemoryLog(), threading.Event()
    for i in range(10):
        log.append_at(i)
    polled: list[int] = []

    def hold() -> None:
        if threading.current_thread().name == "tail-log":
            polled.append(1)
            if len(polled) > 2:
                gate.wait(SECONDS)

    log.before_poll = hold
    notes = Notes()
    with tail_of(log, Position(0, 0)) as tail:
        tail.wait(6, SECONDS)
        joining = threading.Thread(target=tail.follow, args=([(1, log.position(9), notes)],))
        joining.start()
        joining.join(0.05)
        assert joining.is_alive(), "the tail is at 6"
        gate.set()
        joining.join(SECONDS)
        tail.wait(10, SECONDS)
    assert notes.applied == log.of_channel(1, 9)


def test_a_log_that_cannot_be_followed_any_more_answers_nobody() -> None:
    log = MemoryLog()
    log.append_at(1)

    class Broken(Notes):
        def apply(self, *_: object) -> None:
            raise CorruptError("a record of kind 77")

    with tail_of(log, Position(0, 0), (1, Position(0, 0), Broken())) as tail:
        with pytest.raises(NotReady, match="a record of kind 77"):
            tail.wait(1, SECONDS)
        with pytest.raises(NotReady, match="kind 77"):
            tail.fresh(3600, SECONDS)
        with pytest.raises(NotReady, match="kind 77"):
            tail.wait(0, SECONDS)


def test_a_wait_says_how_far_the_log_is_applied() -> None:
    log = MemoryLog()
    log.append_at(1)
    with (
        tail_of(log, Position(0, 0)) as tail,
        pytest.raises(DeadlineExceeded, match="applied to offset 1, not yet to 2"),
    ):
        tail.wait(2, 0.02)
