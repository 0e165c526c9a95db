"""What every meta store must do. A new implementation is one more entry of IMPLEMENTATIONS."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from elanus.model.errors import CompactedError, ConflictError, CorruptError, InvalidParameter
from elanus.storage.meta.port import Absent, Compare, Event, MetaStore
from elanus.storage.meta.sqlite import SqliteLimits, SqliteMetaStore

Opener = Callable[[Path], AbstractContextManager[MetaStore]]


@contextmanager
def sqlite(directory: Path) -> Iterator[MetaStore]:
    limits = SqliteLimits(history_events=HISTORY, watch_events=HISTORY)
    store = SqliteMetaStore(directory / "meta.db", limits)
    yield store
    store.close()


HISTORY = 1000
"""Changes the stores under test keep."""
IMPLEMENTATIONS: dict[str, Opener] = {"sqlite": sqlite}


@pytest.fixture(params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MetaStore]:
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened


def drained(store: MetaStore, prefix: str, from_revision: int, until: int) -> list[Event]:
    """Events up to revision `until`, however long they take to arrive."""
    watch = store.watch(prefix, from_revision)
    events: list[Event] = []
    while not events or events[-1].revision < until:
        found = watch.poll(10)
        assert found, f"no event within 10 s; so far {events[-3:]}"
        events += found
    watch.close()
    return events


def test_a_value_is_read_back_with_the_revision_that_wrote_it(store: MetaStore) -> None:
    result = store.txn([], {"a": b"1", "b": b"\x00\xff"})
    item = store.get("a")
    assert result.succeeded
    assert item is not None
    assert (item.key, item.value, item.revision) == ("a", b"1", result.revision)
    assert store.get("c") is None


def test_a_range_gives_the_keys_below_a_prefix_in_order_and_the_revision(store: MetaStore) -> None:
    keys = ["p/b", "p/a", "p", "p/é", "p/\U0001f600", "p/\uffff", "q/a", "p0", "o/z"]
    result = store.txn([], {key: key.encode() for key in keys})
    items, revision = store.range("p/")
    assert [item.key for item in items] == ["p/a", "p/b", "p/é", "p/\uffff", "p/\U0001f600"]
    assert revision == result.revision
    assert [item.key for item in store.range("")[0]] == sorted(keys)
    assert store.range("none/") == ([], revision)


def test_revisions_grow_by_one_with_each_transaction_that_succeeds(store: MetaStore) -> None:
    first = store.txn([], {"a": b"1"}).revision
    assert store.txn([], {"a": b"2", "b": b"2"}).revision == first + 1
    assert store.txn([Absent("a")], {"a": b"3"}).succeeded is False
    assert store.txn([], {}, ["b"]).revision == first + 2


def test_nothing_changes_when_one_comparison_fails(store: MetaStore) -> None:
    revision = store.txn([], {"a": b"1"}).revision
    result = store.txn([Compare("a", revision), Absent("a")], {"b": b"1"}, ["a"])
    assert not result.succeeded
    assert store.get("a") is not None
    assert store.get("b") is None
    assert not store.txn([Compare("a", revision - 1)], {"a": b"2"}).succeeded
    assert not store.txn([Compare("missing", revision)], {"a": b"2"}).succeeded
    assert store.txn([Compare("a", revision), Absent("b")], {"b": b"1"}, ["a"]).succeeded
    assert store.get("a") is None


def test_a_key_cannot_be_put_and_deleted_at_once(store: MetaStore) -> None:
    with pytest.raises(InvalidParameter, match="a"):
        store.txn([], {"a": b"1"}, ["a"])


def test_one_of_many_racing_creators_wins(store: MetaStore) -> None:
    threads = 8
    barrier = threading.Barrier(threads)

    def race(i: int) -> int:
        won = 0
        for round_ in range(20):
            barrier.wait()
            won += store.txn([Absent(f"race/{round_}")], {f"race/{round_}": str(i).encode()}).succeeded
        return won

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(race, range(threads))) == 20


def test_compare_and_swap_loses_no_increment(store: MetaStore) -> None:
    store.txn([], {"n": b"0"})

    def increment(_: int) -> None:
        for _round in range(25):
            while True:
                item = store.get("n")
                assert item is not None
                value = str(int(item.value) + 1).encode()
                if store.txn([Compare("n", item.revision)], {"n": value}).succeeded:
                    break

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(8)))
    item = store.get("n")
    assert item is not None
    assert item.value == b"200"


def test_a_watch_sees_every_transaction_once_in_order_and_whole(store: MetaStore) -> None:
    start = store.txn([], {"w/start": b""}).revision
    live = store.watch("w/", start + 1)
    writers, rounds = 8, 40

    def write(i: int) -> list[int]:
        return [
            store.txn([], {f"w/{i}": str(n).encode(), f"w/{i}/twin": str(n).encode(), f"x/{i}": b""}).revision
            for n in range(rounds)
        ]

    with ThreadPoolExecutor(writers) as pool:
        written = pool.map(write, range(writers))
        events: list[Event] = []
        while len(events) < 2 * writers * rounds:
            batch = live.poll(10)
            assert batch, "events are missing"
            assert len(batch) % 2 == 0, "a transaction came in two parts"
            events += batch
        revisions = sorted(r for found in written for r in found)
    assert revisions == list(range(start + 1, start + 1 + writers * rounds))
    assert [e.revision for e in events[::2]] == revisions
    assert [e.revision for e in events[1::2]] == revisions
    assert all(e.key.startswith("w/") for e in events)
    assert live.poll(0) == []
    live.close()


def test_a_watch_that_begins_in_the_past_joins_the_present_without_gap(store: MetaStore) -> None:
    first = store.txn([], {"w/a": b"1"}).revision
    store.txn([], {"other": b""})
    store.txn([], {}, ["w/a"])
    last = store.txn([], {"w/b": b"2"}).revision
    events = drained(store, "w/", first, last)
    assert events == [
        Event("w/a", b"1", first),
        Event("w/a", None, first + 2),
        Event("w/b", b"2", last),
    ]
    assert drained(store, "w/", first + 1, last) == events[1:]


def test_a_range_and_a_watch_from_the_next_revision_miss_nothing(store: MetaStore) -> None:
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            store.txn([], {f"k/{n % 7}": str(n).encode()})
            n += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            items, revision = store.range("k/")
            state = {item.key: item.value for item in items}
            watch = store.watch("k/", revision + 1)
            events = watch.poll(10)
            watch.close()
            assert events[0].revision == revision + 1
            for event in events:
                assert event.value is not None
                state[event.key] = event.value
            newest = max(int(value) for value in state.values())
            assert {int(v) for v in state.values()} >= set(range(max(0, newest - 6), newest + 1))
    finally:
        stop.set()
        writer.join()


def test_a_watch_polls_no_longer_than_it_was_told(store: MetaStore) -> None:
    watch = store.watch("w/", 1)
    assert watch.poll(0) == []
    assert watch.poll(0.05) == []
    watch.close()


def test_closing_a_watch_ends_its_iteration(store: MetaStore) -> None:
    watch = store.watch("w/", store.range("")[1] + 1)
    seen: list[Event] = []
    first = threading.Event()

    def follow() -> None:
        for events in watch:
            seen.extend(events)
            first.set()

    follower = threading.Thread(target=follow)
    follower.start()
    store.txn([], {"w/a": b"1"})
    assert first.wait(10)
    watch.close()
    follower.join(10)
    assert not follower.is_alive()
    assert [e.key for e in seen] == ["w/a"]


def test_a_watch_on_history_that_is_gone_is_refused(store: MetaStore) -> None:
    first = store.txn([], {"w/a": b""}).revision
    for n in range(HISTORY + 10):
        store.txn([], {"w/a": str(n).encode()})
    with pytest.raises(CorruptError):
        store.watch("w/", first)
    with pytest.raises(CompactedError, match="read the range again"):
        store.watch("w/", first)
    revision = store.range("")[1]
    assert drained(store, "w/", revision, revision)


def test_a_watch_whose_reader_is_too_slow_is_lost_loudly(store: MetaStore) -> None:
    watch = store.watch("w/", store.range("")[1] + 1)
    for n in range(HISTORY + 10):
        store.txn([], {"w/a": str(n).encode()})
    with pytest.raises(CompactedError, match="range again"):
        list(watch)
    watch.close()


def test_keys_under_a_lease_vanish_when_it_is_revoked(store: MetaStore) -> None:
    lease, other = store.lease(60), store.lease(60)
    assert lease.id != other.id
    assert lease.alive
    store.txn([], {"s/1": b"a", "s/2": b"b"}, lease=lease)
    store.txn([], {"s/3": b"c"}, lease=other)
    kept = store.txn([], {"s/2": b"mine no more"}).revision
    watch = store.watch("s/", kept + 1)
    lease.revoke()
    assert not lease.alive
    assert other.alive
    assert [item.key for item in store.range("s/")[0]] == ["s/2", "s/3"]
    assert watch.poll(10) == [Event("s/1", None, kept + 1)]
    watch.close()


def test_nothing_is_put_under_a_lease_that_has_ended(store: MetaStore) -> None:
    lease = store.lease(60)
    lease.revoke()
    lease.revoke()
    with pytest.raises(ConflictError, match="lease"):
        store.txn([], {"s/1": b""}, lease=lease)
    assert store.get("s/1") is None


def test_what_was_committed_is_there_when_the_store_is_opened_again(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for opener in IMPLEMENTATIONS.values():
        with opener(tmp_path) as first:
            lease = first.lease(60)
            first.txn([], {"a": b"1", "gone": b""})
            first.txn([], {"session": b""}, ["gone"], lease=lease)
            items, revision = first.range("a")
        with opener(tmp_path) as again:
            assert again.range("") == (items, again.range("")[1])
            assert again.range("")[1] >= revision
            assert again.txn([Compare("a", items[0].revision)], {"a": b"2"}).succeeded
