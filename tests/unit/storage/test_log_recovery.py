"""The local log after damage, kills and full disks."""

import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from elanus.model.errors import (
    AmbiguousError,
    CorruptError,
    DiskFullError,
    NewerFormatError,
    StorageError,
    TooLarge,
)
from elanus.storage import disk
from elanus.storage.log import frame
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local import LocalLogBroker

SMALL = LogLimits(file=1 << 12, tail=0, read=512, index=1024)
"""Several files after a few records, and every read from a file."""


def files(directory: Path) -> list[Path]:
    return sorted((directory / "a").glob("*.log"))


def contents(broker: LocalLogBroker) -> dict[int, bytes]:
    start, end = broker.start_offset("a"), broker.end_offset("a")
    subscription = broker.subscribe("a", start)
    found: dict[int, bytes] = {}
    while len(found) < end - start:
        found.update((e.offset, bytes(e.data)) for e in subscription.poll(0, 1000))
    subscription.close()
    return found


def read_everything(directory: Path) -> None:
    broker = LocalLogBroker(directory, SMALL)
    try:
        contents(broker)
    finally:
        broker.close()


def filled(directory: Path, batches: list[list[bytes]], limits: LogLimits = SMALL) -> list[int]:
    """Makes log "a" of these batches; returns the size of its last file after each of them (and before)."""
    broker = LocalLogBroker(directory, limits)
    broker.create("a")
    ends = [files(directory)[-1].stat().st_size]
    for batch in batches:
        broker.append_batch("a", batch)
        ends.append(files(directory)[-1].stat().st_size)
    broker.close()
    return ends


BATCHES = st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=4), min_size=1, max_size=25)


@settings(max_examples=150)
@given(batches=BATCHES, where=st.floats(0, 1), cut=st.booleans(), flip=st.integers(1, 255))
@example(batches=[[b"x" * 300]] * 30, where=0.999999, cut=False, flip=1)
@example(batches=[[b"x" * 300]] * 30, where=0.0, cut=False, flip=1)
def test_damage_at_any_byte_loses_nothing_before_it_or_is_refused_loudly(
    batches: list[list[bytes]], where: float, cut: bool, flip: int
) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        limits = LogLimits(file=1 << 20, tail=0, read=512, index=1024)
        ends = filled(directory, batches, limits)
        path = files(directory)[0]
        data = bytearray(path.read_bytes())
        at = min(int(where * len(data)), len(data) - 1)
        if cut:
            del data[at:]
        else:
            data[at] ^= flip
        path.write_bytes(data)
        whole = sum(end <= at for end in ends[1:])
        before = [record for batch in batches[:whole] for record in batch]
        in_header = at < frame.FILE_HEADER_BYTES
        at_tail = cut or whole >= len(batches) - 1
        if in_header or not at_tail:
            with pytest.raises(CorruptError, match="byte") as caught:
                LocalLogBroker(directory, limits)
            assert str(path) in str(caught.value)
            return
        broker = LocalLogBroker(directory, limits)
        assert [record for _, record in sorted(contents(broker).items())] == before
        assert broker.append("a", b"next").offset == len(before)
        broker.close()
        again = LocalLogBroker(directory, limits)
        assert list(contents(again).values()) == [*before, b"next"]
        again.close()
    finally:
        shutil.rmtree(directory)


@settings(max_examples=60)
@given(batches=st.lists(st.lists(st.binary(max_size=900), min_size=1, max_size=3), min_size=20, max_size=40),
       seed=st.randoms(use_true_random=False))  # fmt: skip
def test_damage_in_a_file_that_is_not_the_last_is_never_passed_over(
    batches: list[list[bytes]], seed: random.Random
) -> None:
    directory = Path(tempfile.mkdtemp())
    try:
        filled(directory, [[record + b"padding" * 50 for record in batch] for batch in batches])
        path = seed.choice(files(directory)[:-1])
        data = bytearray(path.read_bytes())
        at = seed.randrange(len(data))
        if seed.random() < 0.3:
            del data[at:]
        else:
            data[at] ^= 1 << seed.randrange(8)
        path.write_bytes(data)
        with pytest.raises(CorruptError, match=path.name):
            read_everything(directory)
    finally:
        shutil.rmtree(directory)


def test_a_torn_tail_is_cut_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, [[b"one"], [b"two"]])
    with files(tmp_path)[-1].open("ab") as file:
        file.write(frame.FRAME_MAGIC + b"\0" * 50)
    with caplog.at_level(logging.WARNING):
        broker = LocalLogBroker(tmp_path, SMALL)
    assert "cut an unfinished write" in caplog.text
    assert contents(broker) == {0: b"one", 1: b"two"}
    broker.close()


def test_a_record_that_holds_a_copy_of_a_frame_does_not_hide_a_torn_tail(tmp_path: Path) -> None:
    filled(tmp_path, [[b"one"]])
    path = files(tmp_path)[0]
    own = path.read_bytes()[frame.FILE_HEADER_BYTES :]
    broker = LocalLogBroker(tmp_path)
    broker.append_batch("a", [own * 3, b"tail"])
    broker.close()
    os.truncate(path, path.stat().st_size - 1)
    broker = LocalLogBroker(tmp_path)
    assert contents(broker) == {0: b"one"}
    broker.close()


def test_a_missing_file_is_refused_wherever_it_was(tmp_path: Path) -> None:
    filled(tmp_path / "log", [[b"x" * 1000]] * 20)
    names = [path.name for path in files(tmp_path / "log")]
    assert len(names) > 4
    for name in (names[0], names[2], names[-1]):
        copy = tmp_path / f"without-{name}"
        shutil.copytree(tmp_path / "log", copy)
        (copy / "a" / name).unlink()
        with pytest.raises(CorruptError, match="missing"):
            LocalLogBroker(copy, SMALL)


def test_files_that_a_crash_left_of_a_trim_are_removed_at_open(tmp_path: Path) -> None:
    filled(tmp_path / "log", [[b"x" * 1000]] * 20)
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    broker = LocalLogBroker(tmp_path / "log", SMALL)
    broker.trim("a", 10)
    start = broker.start_offset("a")
    assert 0 < start <= 10
    broker.close()
    first = files(tmp_path / "copy")[0]
    shutil.copy(first, tmp_path / "log" / "a" / first.name)
    broker = LocalLogBroker(tmp_path / "log", SMALL)
    assert broker.start_offset("a") == start
    assert sorted(contents(broker)) == list(range(start, 20))
    assert first.name not in [path.name for path in files(tmp_path / "log")]
    broker.close()


def test_a_file_of_another_log_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "one", [[b"1"]])
    filled(tmp_path / "two", [[b"2"]])
    shutil.copy(files(tmp_path / "two")[0], files(tmp_path / "one")[0])
    with pytest.raises(CorruptError, match="another log"):
        LocalLogBroker(tmp_path / "one")


def test_a_newer_format_is_refused_naming_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame, "FORMAT", 9)
    filled(tmp_path / "file", [[b"1"]])
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match=r"format 9.* up to 1"):
        LocalLogBroker(tmp_path / "file")

    filled(tmp_path / "frame", [[b"1"]])
    monkeypatch.setattr(frame, "FORMAT", 9)
    broker = LocalLogBroker(tmp_path / "frame")
    broker.append("a", b"2")
    broker.close()
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match=r"format 9.* up to 1"):
        LocalLogBroker(tmp_path / "frame")


def test_append_times_do_not_decrease_when_the_clock_goes_back(tmp_path: Path) -> None:
    times = iter([1000, 900, 1500, 10])
    broker = LocalLogBroker(tmp_path, SMALL, clock=lambda: next(times))
    broker.create("a")
    assert [broker.append("a", b"x" * 3000).append_ms for _ in range(4)] == [1000, 1000, 1500, 1500]
    broker.close()
    # The clock's floor survives a restart even where the last file is empty.
    broker = LocalLogBroker(tmp_path, SMALL, clock=lambda: 5)
    assert broker.append("a", b"x").append_ms == 1500
    broker.close()


def test_a_batch_above_the_limit_is_refused(tmp_path: Path) -> None:
    broker = LocalLogBroker(tmp_path, LogLimits(batch=1000))
    broker.create("a")
    with pytest.raises(TooLarge, match="at most 1000"):
        broker.append("a", b"x" * 2000)
    assert broker.append("a", b"x").offset == 0
    broker.close()


def test_no_file_is_kept_open_beyond_one_a_log_and_one_a_reader(tmp_path: Path) -> None:
    broker = LocalLogBroker(tmp_path, SMALL)
    for log in "abc":
        broker.create(log)
        for _ in range(40):
            broker.append(log, b"x" * 1000)
    subscriptions = [broker.subscribe("a", 0) for _ in range(3)]
    for _ in range(10):
        for subscription in subscriptions:
            assert subscription.poll(0, 2)
    links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    assert sum(link.startswith(str(tmp_path)) for link in links) <= 3 + 3
    broker.close()


# Kills ---------------------------------------------------------------------------------------------------

APPENDER = """
import os, sys, threading
from pathlib import Path
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local import LocalLogBroker

broker = LocalLogBroker(Path(sys.argv[1]), LogLimits(file=200_000))
broker.create("a")

def work(thread):
    n = 0
    while True:
        n += 1
        record = b"%d.%d." % (thread, n) * (1 + n % 300)
        if n % 5:
            offset = broker.append("a", record).offset
            os.write(1, b"%d %s\\n" % (offset, record[:40].hex().encode()))
        else:
            for appended in broker.append_batch("a", [record] * 3):
                os.write(1, b"%d %s\\n" % (appended.offset, record[:40].hex().encode()))
        if n % 200 == 0 and thread == 0:
            broker.trim("a", broker.end_offset("a") - 2000)

for thread in range(4):
    threading.Thread(target=work, args=(thread,)).start()
"""


def run_and_kill(program: str, directory: Path, seconds: float) -> list[bytes]:
    """Lines that the program wrote before it got SIGKILL, `seconds` after its first."""
    child = subprocess.Popen([sys.executable, "-c", program, str(directory)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    lines = [child.stdout.readline()]
    assert lines[0], "the child ended by itself"
    killer = threading.Timer(seconds, child.send_signal, [signal.SIGKILL])
    killer.start()
    lines += child.stdout.readlines()
    assert child.wait() == -signal.SIGKILL
    return [line for line in lines if line.endswith(b"\n")]


def test_what_was_acknowledged_before_sigkill_is_there(tmp_path: Path) -> None:
    rng = random.Random(7)
    acknowledged: dict[int, bytes] = {}
    for _ in range(6):
        for line in run_and_kill(APPENDER, tmp_path, rng.uniform(0.05, 0.4)):
            offset, head = line.split()
            assert int(offset) not in acknowledged, "an offset was given twice"
            acknowledged[int(offset)] = bytes.fromhex(head.decode())
        broker = LocalLogBroker(tmp_path)
        found = contents(broker)
        start = broker.start_offset("a")
        broker.close()
        assert {o: found[o][:40] for o in acknowledged if o >= start} == {
            o: r for o, r in acknowledged.items() if o >= start
        }
    assert len(acknowledged) > 100


# Full disks, failing disks -------------------------------------------------------------------------------


FileSizeLimit = Callable[[int], AbstractContextManager[None]]


def append_until_it_fails(broker: LocalLogBroker, record: bytes, acknowledged: dict[int, bytes]) -> None:
    for n in range(1000):
        acknowledged[broker.append("a", record + b"%d" % n).offset] = record + b"%d" % n


def test_a_full_disk_fails_the_append_and_keeps_the_rest(
    tmp_path: Path, file_size_limit: FileSizeLimit
) -> None:
    broker = LocalLogBroker(tmp_path)
    broker.create("a")
    acknowledged: dict[int, bytes] = {}
    with file_size_limit(100_000), pytest.raises(DiskFullError, match="free space"):
        append_until_it_fails(broker, b"x" * 1000, acknowledged)
    assert 10 < len(acknowledged) < 200
    assert broker.end_offset("a") == len(acknowledged)
    assert contents(broker) == acknowledged
    acknowledged[broker.append("a", b"space again").offset] = b"space again"
    broker.close()
    broker = LocalLogBroker(tmp_path)
    assert contents(broker) == acknowledged
    broker.close()


def test_a_disk_too_full_for_a_new_file_fails_the_append_and_keeps_the_rest(
    tmp_path: Path, file_size_limit: FileSizeLimit
) -> None:
    broker = LocalLogBroker(tmp_path, SMALL)
    broker.create("a")
    for _ in range(3):
        broker.append("a", b"x" * 1000)
    with file_size_limit(10), pytest.raises(DiskFullError):
        broker.append("a", b"y" * 2000)
    # Fits into the old file, past the base of the one that could not be made.
    assert broker.append("a", b"z").offset == 3
    assert broker.append("a", b"y" * 2000).offset == 4
    broker.close()
    broker = LocalLogBroker(tmp_path, SMALL)
    assert [len(record) for record in contents(broker).values()] == [1000, 1000, 1000, 1, 2000]
    broker.close()


def test_a_new_file_that_could_not_be_made_durable_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = LocalLogBroker(tmp_path, SMALL)
    broker.create("a")
    for _ in range(3):
        broker.append("a", b"x" * 1000)

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(disk, "fsync_directory", fail)
        with pytest.raises(StorageError, match="cannot start a new file"):
            broker.append("a", b"y" * 2000)
    assert len(files(tmp_path)) == 1
    assert broker.append("a", b"z").offset == 3
    assert broker.append("a", b"y" * 2000).offset == 4
    broker.close()
    broker = LocalLogBroker(tmp_path, SMALL)
    assert [len(record) for record in contents(broker).values()] == [1000, 1000, 1000, 1, 2000]
    broker.close()


def test_many_appenders_on_a_full_disk_all_learn_it(tmp_path: Path, file_size_limit: FileSizeLimit) -> None:
    broker = LocalLogBroker(tmp_path)
    broker.create("a")

    def write(thread: int) -> dict[int, bytes]:
        placed = {}
        for n in range(1000):
            record = b"%d %d " % (thread, n) * 50
            try:
                placed[broker.append("a", record).offset] = record
            except DiskFullError:
                return placed
        raise AssertionError("the disk did not fill")

    with file_size_limit(100_000), ThreadPoolExecutor(8) as pool:
        placed = {o: r for part in pool.map(write, range(8)) for o, r in part.items()}
    assert contents(broker) == placed
    broker.close()
    broker = LocalLogBroker(tmp_path)
    assert contents(broker) == placed
    broker.close()


def test_a_failed_sync_acknowledges_nothing_and_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No way to make a real disk fail on demand without a device mapper.
    broker = LocalLogBroker(tmp_path)
    broker.create("a")
    broker.append("a", b"one")

    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(StorageError, match="Input/output error") as caught:
        broker.append("a", b"lost")
    assert not isinstance(caught.value, AmbiguousError)
    assert broker.end_offset("a") == 1
    monkeypatch.undo()
    assert broker.append("a", b"two").offset == 1
    broker.close()
    broker = LocalLogBroker(tmp_path)
    assert contents(broker) == {0: b"one", 1: b"two"}
    broker.close()


def test_a_log_that_cannot_take_back_a_write_refuses_appends_until_it_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = LocalLogBroker(tmp_path)
    broker.create("a")
    broker.append("a", b"one")

    def fail(*_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        patch.setattr(os, "ftruncate", fail)
        with pytest.raises(AmbiguousError, match="may be there"):
            broker.append("a", b"perhaps")
    with pytest.raises(StorageError, match="reopened"):
        broker.append("a", b"two")
    assert contents(broker) == {0: b"one"}
    broker.close()
    broker = LocalLogBroker(tmp_path)
    assert contents(broker) in ({0: b"one"}, {0: b"one", 1: b"perhaps"})
    broker.append("a", b"two")
    broker.close()


def test_threads_that_append_together_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = LocalLogBroker(tmp_path)
    broker.create("a")
    syncs = []
    sync = os.fdatasync

    def slow(fd: int) -> None:
        syncs.append(fd)
        time.sleep(0.01)
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: broker.append("a", b"%d" % n), range(80)))
    assert len(syncs) < 40
    broker.close()


def test_an_interrupted_append_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = LocalLogBroker(tmp_path, SMALL)
    broker.create("a")
    kept = []
    sync = os.fdatasync

    def interrupted(fd: int) -> None:
        sync(fd)
        raise KeyboardInterrupt

    for n in range(10):
        kept.append(b"%d" % n * 600)
        assert broker.append("a", kept[-1]).offset == n
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", interrupted)
            with pytest.raises(KeyboardInterrupt):
                broker.append("a", b"interrupted" * 100)
        assert broker.end_offset("a") == n + 1
    assert list(contents(broker).values()) == kept
    broker.close()
    broker = LocalLogBroker(tmp_path, SMALL)
    assert list(contents(broker).values()) == kept
    broker.close()
