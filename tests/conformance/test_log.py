"""What every log broker must do. A new implementation is one more entry of IMPLEMENTATIONS."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from elanus.model.errors import InvalidParameter, NotFoundError, StorageError
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.log.port import Entry, LogBroker

Opener = Callable[[Path], AbstractContextManager[LogBroker]]


@contextmanager
def local(directory: Path) -> Iterator[LogBroker]:
    broker = LocalLogBroker(directory)
    yield broker
    broker.close()


@contextmanager
def local_in_small_files(directory: Path) -> Iterator[LogBroker]:
    """Nearly every read comes from one of many files."""
    limits = LogLimits(file=4096, tail=1000, read=512, index=1024, group=2048, poll=4096)
    broker = LocalLogBroker(directory, limits)
    yield broker
    broker.close()


IMPLEMENTATIONS: dict[str, Opener] = {"local": local, "local_in_small_files": local_in_small_files}


@pytest.fixture(params=IMPLEMENTATIONS)
def opener(request: pytest.FixtureRequest) -> Opener:
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def broker(opener: Opener, tmp_path: Path) -> Iterator[LogBroker]:
    with opener(tmp_path / "logs") as opened:
        opened.create("a")
        yield opened


def read(broker: LogBroker, log: str, start: int, end: int, at_most: int = 7) -> list[Entry]:
    """Entries [start, end), however many polls that takes."""
    subscription = broker.subscribe(log, start)
    entries: list[Entry] = []
    while not entries or entries[-1].offset < end - 1:
        found = subscription.poll(10, at_most)
        assert found, "records are missing"
        assert len(found) <= at_most
        entries += found
    subscription.close()
    return entries


def test_records_are_read_back_as_they_were_appended(broker: LogBroker) -> None:
    records = [b"", b"x", bytes(range(256)) * 9, b"y" * 100_000, b"z"]
    appended = [broker.append("a", record) for record in records]
    entries = read(broker, "a", 0, len(records))
    assert [bytes(e.data) for e in entries] == records
    assert [(e.offset, e.append_ms) for e in entries] == appended
    assert [e.offset for e in entries] == list(range(len(records)))


def test_a_batch_has_consecutive_offsets(broker: LogBroker) -> None:
    broker.append("a", b"before")
    appended = broker.append_batch("a", [b"%d" % n for n in range(100)])
    assert [a.offset for a in appended] == list(range(1, 101))
    assert broker.append_batch("a", []) == []
    assert broker.end_offset("a") == 101
    assert [bytes(e.data) for e in read(broker, "a", 40, 101)] == [b"%d" % n for n in range(39, 100)]


def test_offsets_of_concurrent_appends_are_dense_and_each_record_is_where_it_was_told(
    broker: LogBroker,
) -> None:
    threads, rounds = 8, 50

    def write(thread: int) -> dict[int, bytes]:
        placed = {}
        for n in range(rounds):
            one = b"%d/%d" % (thread, n)
            placed[broker.append("a", one).offset] = one
            two = [one + b"/0", one + b"/1" * 50]
            batch = broker.append_batch("a", two)
            assert batch[1].offset == batch[0].offset + 1
            placed.update(zip((a.offset for a in batch), two, strict=True))
        return placed

    live = broker.subscribe("a", 0)
    with ThreadPoolExecutor(threads) as pool:
        placed = {o: r for part in pool.map(write, range(threads)) for o, r in part.items()}
    total = threads * rounds * 3
    assert sorted(placed) == list(range(total))
    entries: list[Entry] = []
    while len(entries) < total:
        found = live.poll(10, 64)
        assert found, "records are missing"
        entries += found
    live.close()
    assert [e.offset for e in entries] == list(range(total))
    assert {e.offset: bytes(e.data) for e in entries} == placed
    times = [e.append_ms for e in entries]
    assert times == sorted(times)


def test_a_reader_that_waits_gets_what_is_appended(broker: LogBroker) -> None:
    subscription = broker.subscribe("a", 0)
    seen: list[tuple[int, bytes]] = []

    def follow() -> None:
        while len(seen) < 200:
            seen.extend((e.offset, bytes(e.data)) for e in subscription.poll(10, 5))

    reader = threading.Thread(target=follow)
    reader.start()
    for n in range(200):
        broker.append("a", b"%d" % n)
    reader.join(30)
    assert seen == [(n, b"%d" % n) for n in range(200)]
    subscription.close()


def test_a_record_is_readable_when_its_append_returns(broker: LogBroker) -> None:
    subscription = broker.subscribe("a", 0)
    for n in range(50):
        offset = broker.append("a", b"%d" % n).offset
        assert broker.end_offset("a") > offset
        assert [e.offset for e in subscription.poll(10, 10)] == [offset]
    subscription.close()


def test_a_poll_waits_no_longer_than_told_and_wakes_when_asked(broker: LogBroker) -> None:
    subscription = broker.subscribe("a", 0)
    assert subscription.poll(0, 1) == []
    assert subscription.poll(0.05, 1) == []
    waker = threading.Timer(0.1, subscription.wake)
    waker.start()
    begin = time.monotonic()
    assert subscription.poll(30, 1) == []
    assert time.monotonic() - begin < 15
    closer = threading.Timer(0.1, subscription.close)
    closer.start()
    assert subscription.poll(30, 1) == []
    assert time.monotonic() - begin < 15


def test_entries_stay_valid_while_the_log_goes_on(broker: LogBroker) -> None:
    broker.append_batch("a", [b"%d" % n * 20 for n in range(100)])
    entries = read(broker, "a", 0, 100)
    for _ in range(50):
        broker.append("a", b"more" * 200)
    broker.trim("a", 100)
    assert [bytes(e.data) for e in entries] == [b"%d" % n * 20 for n in range(100)]


def test_a_trimmed_log_begins_no_higher_than_asked_and_keeps_the_rest(broker: LogBroker) -> None:
    for n in range(100):
        broker.append("a", b"%d" % n * 50)
    broker.trim("a", 60)
    start = broker.start_offset("a")
    assert 0 <= start <= 60
    assert broker.end_offset("a") == 100
    assert [bytes(e.data) for e in read(broker, "a", start, 100)] == [
        b"%d" % n * 50 for n in range(start, 100)
    ]
    broker.trim("a", 10)
    assert broker.start_offset("a") == start
    broker.trim("a", 1000)
    assert broker.start_offset("a") <= broker.end_offset("a") == 100
    assert broker.append("a", b"next").offset == 100


def test_a_subscription_across_a_trim_raises(broker: LogBroker) -> None:
    # Large enough for every implementation to have something to trim.
    subscription = broker.subscribe("a", 0)
    stale = broker.subscribe("a", 0)
    assert subscription.poll(0, 1) == []
    for _ in range(40):
        broker.append("a", b"x" * 2_000_000)
    assert [e.offset for e in subscription.poll(10, 1)] == [0]
    broker.trim("a", 40)
    assert broker.start_offset("a") > 1
    with pytest.raises(NotFoundError, match="trimmed"):
        subscription.poll(10, 10)
    with pytest.raises(NotFoundError, match="trimmed"):
        stale.poll(10, 10)
    with pytest.raises(NotFoundError):
        broker.subscribe("a", 0).poll(10, 10)


def test_a_subscription_above_the_end_is_refused(broker: LogBroker) -> None:
    broker.append("a", b"1")
    broker.subscribe("a", 1).close()
    with pytest.raises(NotFoundError, match="ends at 1"):
        broker.subscribe("a", 2)
    with pytest.raises(InvalidParameter):
        broker.subscribe("a", -1)


def test_creating_a_log_twice_keeps_it(broker: LogBroker) -> None:
    broker.append("a", b"1")
    identity = broker.identity("a")
    broker.create("a")
    assert broker.identity("a") == identity
    assert broker.end_offset("a") == 1
    broker.create("b")
    assert broker.logs() == ["a", "b"]
    assert broker.identity("b") != identity
    assert broker.end_offset("b") == 0


def test_a_log_made_anew_has_another_identity(broker: LogBroker) -> None:
    broker.append("a", b"1")
    identity = broker.identity("a")
    subscription = broker.subscribe("a", 0)
    broker.drop("a")
    broker.drop("a")
    with pytest.raises(NotFoundError):
        broker.end_offset("a")
    with pytest.raises(NotFoundError):
        broker.append("a", b"2")
    with pytest.raises(StorageError):
        subscription.poll(1, 1)
    broker.create("a")
    assert broker.identity("a") != identity
    assert (broker.start_offset("a"), broker.end_offset("a")) == (0, 0)


def test_what_was_acknowledged_is_there_when_the_broker_is_opened_again(
    opener: Opener, tmp_path: Path
) -> None:
    identity, last = "", 0
    for n in range(4):
        with opener(tmp_path / "logs") as broker:
            broker.create("a")
            identity = identity or broker.identity("a")
            assert broker.identity("a") == identity
            assert broker.end_offset("a") == n * 30
            for m in range(30):
                appended = broker.append("a", b"%d" % (n * 30 + m) * 40)
                assert appended.append_ms >= last
                last = appended.append_ms
            entries = read(broker, "a", 0, (n + 1) * 30)
            assert [bytes(e.data) for e in entries] == [b"%d" % m * 40 for m in range((n + 1) * 30)]


def test_a_closed_broker_takes_and_gives_nothing(opener: Opener, tmp_path: Path) -> None:
    with opener(tmp_path / "logs") as broker:
        broker.create("a")
        broker.append("a", b"1")
        waiting = broker.subscribe("a", 1)
        closer = threading.Timer(0.1, broker.close)
        closer.start()
        with pytest.raises(StorageError, match="closed"):
            waiting.poll(30, 1)
        with pytest.raises(StorageError, match="closed"):
            broker.append("a", b"2")
