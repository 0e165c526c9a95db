"""The SQLite meta store after kills, damage and on a full disk."""

import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from elanus.model.errors import CorruptError, DiskFullError, InvalidParameter, NewerFormatError, StorageError
from elanus.storage.meta.port import Absent, Compare
from elanus.storage.meta.sqlite import SqliteLimits, SqliteMetaStore

WRITER = """
import os, sys, threading
from pathlib import Path
from elanus.storage.meta.sqlite import SqliteMetaStore

store = SqliteMetaStore(Path(sys.argv[1]) / "meta.db")
lease = store.lease(10)
store.txn([], {"session": b""}, lease=lease)

def work(thread):
    n = 0
    while True:
        n += 1
        value = b"%d" % n
        revision = store.txn([], {f"t/{thread}/a": value, f"t/{thread}/b": value}).revision
        os.write(1, b"%d %d %d\\n" % (thread, n, revision))

for thread in range(4):
    threading.Thread(target=work, args=(thread,)).start()
"""


def test_committed_transactions_survive_sigkill_and_leased_keys_do_not(tmp_path: Path) -> None:
    rng = random.Random(3)
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        threading.Timer(rng.uniform(0.05, 0.4), child.send_signal, [signal.SIGKILL]).start()
        lines += child.stdout.readlines()
        assert child.wait() == -signal.SIGKILL
        newest: dict[int, int] = {}
        last = 0
        for thread, n, revision in (map(int, line.split()) for line in lines if line.endswith(b"\n")):
            newest[thread], last = n, max(last, revision)
        store = SqliteMetaStore(tmp_path / "meta.db")
        assert store.get("session") is None
        assert store.range("")[1] > last
        for thread, n in newest.items():
            a, b = store.get(f"t/{thread}/a"), store.get(f"t/{thread}/b")
            assert a is not None
            assert b is not None
            assert a.value == b.value, "half a transaction"
            assert int(a.value) in (n, n + 1)
        store.close()


def test_a_get_costs_microseconds(tmp_path: Path) -> None:
    store = SqliteMetaStore(tmp_path / "meta.db")
    store.txn([], {f"k/{n}": b"v" * 100 for n in range(1000)})
    times = []
    for n in range(1000):
        begin = time.perf_counter()
        store.get(f"k/{n}")
        times.append(time.perf_counter() - begin)
    assert sorted(times)[500] < 30e-6
    store.close()


def test_a_damaged_file_is_refused_with_its_path_and_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    store = SqliteMetaStore(path)
    for n in range(200):
        store.txn([], {f"k/{n}": os.urandom(500)})
    store.close()
    whole = path.read_bytes()
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(CorruptError, match=r"meta\.db.*backup"):
        SqliteMetaStore(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptError, match=r"meta\.db.*backup"):
        SqliteMetaStore(path)


def test_a_newer_format_is_refused_naming_both(tmp_path: Path) -> None:
    path = tmp_path / "meta.db"
    SqliteMetaStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(NewerFormatError, match=r"format 7.* up to 1"):
        SqliteMetaStore(path)


def test_a_full_disk_fails_the_transaction_and_keeps_the_rest(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    store = SqliteMetaStore(tmp_path / "meta.db")
    store.txn([], {"before": b"1"})
    with file_size_limit(200_000), pytest.raises(StorageError):  # noqa: PT012 - the disk decides which one
        for n in range(1000):
            store.txn([], {f"k/{n}": b"x" * 2000})
    done = len(store.range("k/")[0])
    assert done > 5
    store.txn([], {"after": b"1"})
    store.close()
    store = SqliteMetaStore(tmp_path / "meta.db")
    assert len(store.range("k/")[0]) == done
    assert store.get("after") is not None
    store.close()


def test_sqlite_running_out_of_pages_is_a_full_disk(tmp_path: Path) -> None:
    store = SqliteMetaStore(tmp_path / "meta.db")
    store._connection.execute("PRAGMA max_page_count = 20")
    revision = store.range("")[1]
    with pytest.raises(DiskFullError, match="free space"):
        store.txn([], {"k": b"x" * 200_000})
    assert store.range("") == ([], revision)
    assert store.txn([], {"k": b"small"}).revision == revision + 1
    store.close()


def test_history_outlives_a_restart_and_stays_bounded(tmp_path: Path) -> None:
    limits = SqliteLimits(history_events=10)
    store = SqliteMetaStore(tmp_path / "meta.db", limits)
    revisions = [store.txn([], {"k": b"%d" % n}).revision for n in range(50)]
    store.close()
    store = SqliteMetaStore(tmp_path / "meta.db", limits)
    watch = store.watch("", revisions[-5])
    assert [event.revision for event in watch.poll(1)] == revisions[-5:]
    with pytest.raises(CorruptError):
        store.watch("", revisions[-30])
    store.close()


def test_a_bad_key_fails_alone(tmp_path: Path) -> None:
    store = SqliteMetaStore(tmp_path / "meta.db")
    with pytest.raises(InvalidParameter, match="Unicode"):
        store.txn([], {"\ud800": b""})
    with pytest.raises(InvalidParameter):
        store.lease(0)
    store.close()
    with pytest.raises(StorageError, match="closed"):
        store.txn([], {"a": b""})


KEYS = st.sampled_from(["a", "a/1", "a/2", "b", "b/1"])


class MetaStoreAgainstADictionary(RuleBasedStateMachine):
    """Random transactions, leases, restarts; the model is a dict of (value, revision, lease)."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "meta.db"
        self.store = SqliteMetaStore(self.path)
        self.model: dict[str, tuple[bytes, int, int]] = {}
        self.revision = 0
        self.lease = self.store.lease(10)
        self.values = itertools.count()

    @rule(puts=st.sets(KEYS), deletes=st.sets(KEYS), compare=st.none() | KEYS, stale=st.booleans(),
          leased=st.booleans())  # fmt: skip
    def txn(self, puts: set[str], deletes: set[str], compare: str | None, stale: bool, leased: bool) -> None:
        deletes -= puts
        compares: list[Compare | Absent] = []
        holds = True
        if compare is not None and compare in self.model:
            holds = not stale
            compares = [Compare(compare, self.model[compare][1] - stale)]
        elif compare is not None:
            compares = [Absent(compare)]
        value = b"%d" % next(self.values)
        lease = self.lease if leased else None
        result = self.store.txn(compares, dict.fromkeys(puts, value), sorted(deletes), lease)
        assert result.succeeded == holds
        if holds and (puts or deletes & self.model.keys()):
            self.revision += 1
            for key in puts:
                self.model[key] = (value, self.revision, lease.id if lease else 0)
            for key in deletes:
                self.model.pop(key, None)
        assert result.revision == self.revision

    @rule()
    def revoke(self) -> None:
        self.lease.revoke()
        self._lose_leased(self.lease.id)
        self.lease = self.store.lease(10)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self._lose_leased(self.lease.id)
        self.store = SqliteMetaStore(self.path)
        self.lease = self.store.lease(10)

    @invariant()
    def the_store_is_the_model(self) -> None:
        items, revision = self.store.range("")
        assert revision == self.revision
        assert [(i.key, i.value, i.revision) for i in items] == [
            (key, value, at) for key, (value, at, _) in sorted(self.model.items())
        ]
        assert [i.key for i in self.store.range("a/")[0]] == sorted(
            k for k in self.model if k.startswith("a/")
        )

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()

    def _lose_leased(self, lease: int) -> None:
        lost = [key for key, (_, _, owner) in self.model.items() if owner == lease]
        self.revision += bool(lost)
        for key in lost:
            del self.model[key]


TestMetaStoreAgainstADictionary = MetaStoreAgainstADictionary.TestCase
TestMetaStoreAgainstADictionary.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
