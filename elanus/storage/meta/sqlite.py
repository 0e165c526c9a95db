"""The meta store on SQLite: one process, every transaction durable, reads from memory."""

import itertools
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from elanus.model.errors import (
    AmbiguousError,
    ConflictError,
    CorruptError,
    DiskFullError,
    InvalidParameter,
    NewerFormatError,
    StorageError,
)
from elanus.storage.disk import disk_error, fsync_directory
from elanus.storage.group_commit import GroupCommit
from elanus.storage.meta.mirror import Mirror, MirrorWatch
from elanus.storage.meta.port import Absent, Compare, Event, Item, Lease, TxnResult

FORMAT = 1
_SCHEMA = """
CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE history (revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, PRIMARY KEY (revision, key))
    WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 0), revision INTEGER NOT NULL, compacted INTEGER NOT NULL
);
INSERT INTO state VALUES (0, 0, 0);
"""
_NO_LEASE = 0


@dataclass(frozen=True, kw_only=True)
class SqliteLimits:
    history_events: int = 10_000
    """Changes kept for watches that begin in the past."""
    watch_events: int = 10_000
    """Changes that wait for a watch's reader; beyond it the watch is lost."""
    group_transactions: int = 256
    """Transactions of waiting callers that share one fsync."""


class SqliteLease:
    """A `Lease`. Nobody but this process can take over, so it lasts until revoked, or the store is closed."""

    def __init__(self, store: "SqliteMetaStore", id: int) -> None:
        self._store = store
        self._id = id
        self.ended = False

    @property
    def id(self) -> int:
        return self._id

    @property
    def alive(self) -> bool:
        return not self.ended

    def revoke(self) -> None:
        self.ended = True
        self._store.end_lease(self._id)


@dataclass(frozen=True)
class _Txn:
    compares: Sequence[Compare | Absent]
    puts: Mapping[str, bytes]
    deletes: Sequence[str]
    lease: SqliteLease | None
    ends_lease: int = _NO_LEASE


@dataclass
class _Group:
    """Transactions of a group as they are checked one after the other, before any is durable."""

    revision: int
    changed: dict[str, Item | None] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)
    transactions: list[list[Event]] = field(default_factory=list)


class SqliteMetaStore:
    """A `MetaStore`. Safe to use from many threads; the data directory's lock keeps other processes out."""

    def __init__(self, path: Path, limits: SqliteLimits | None = None) -> None:
        """Opens or creates. Keys under leases of an earlier process are deleted.

        Raises CorruptError naming the file, NewerFormatError, DiskFullError, StorageError.
        """
        self._path = path
        self._limits = limits or SqliteLimits()
        self._failure = ""
        self._lease_ids = itertools.count(1)
        self._leases: dict[str, int] = {}
        """The lease of each key that has one; written by the committing thread only."""
        self._group: GroupCommit[_Txn, TxnResult | ConflictError] = GroupCommit(
            self._commit, self._limits.group_transactions
        )
        self._live_leases: dict[int, SqliteLease] = {}
        self._lock = threading.Lock()
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
            self._mirror = self._load()
            fsync_directory(path.parent)
        except sqlite3.Error as error:
            raise self._error(error) from error
        except OSError as error:
            raise disk_error(error, f"cannot open {path}") from error
        self._forget_dead_leases()

    def get(self, key: str) -> Item | None:
        return self._mirror.get(key)

    def range(self, prefix: str) -> tuple[list[Item], int]:
        return self._mirror.range(prefix)

    def txn(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
        lease: Lease | None = None,
    ) -> TxnResult:
        both = puts.keys() & set(deletes)
        if both:
            raise InvalidParameter(f"keys {sorted(both)} are put and deleted in one transaction; choose one")
        for key in (*puts, *deletes):
            _check_key(key)
        if lease is not None and not isinstance(lease, SqliteLease):
            raise InvalidParameter(f"lease {lease.id} belongs to another store")
        return self._submit(_Txn(compares, puts, deletes, lease))

    def watch(self, prefix: str, from_revision: int) -> MirrorWatch:
        self._check_open()
        return self._mirror.watch(prefix, from_revision, self._limits.watch_events)

    def lease(self, ttl_seconds: float) -> SqliteLease:
        if ttl_seconds <= 0:
            raise InvalidParameter(f"a lease of {ttl_seconds} s; its time to live must be above 0")
        self._check_open()
        with self._lock:
            lease = SqliteLease(self, next(self._lease_ids))
            self._live_leases[lease.id] = lease
        return lease

    def end_lease(self, id: int) -> None:
        """Deletes the keys under a lease, in one transaction. Nothing if it has ended."""
        with self._lock:
            lease = self._live_leases.pop(id, None)
        if lease is not None:
            self._submit(_Txn((), {}, (), None, ends_lease=id))

    def close(self) -> None:
        """Revokes what leases there are and closes the watches."""
        with self._lock:
            if self._closed:
                return
            leases = list(self._live_leases.values())
        try:
            for lease in leases:
                lease.revoke()
        finally:
            self._closed = True
            self._group.drain()
            self._mirror.close()
            self._connection.close()

    def _submit(self, txn: _Txn) -> TxnResult:
        outcome = self._group.submit(txn)
        if isinstance(outcome, ConflictError):
            raise outcome
        return outcome

    def _commit(self, batch: list[_Txn]) -> list[TxnResult | ConflictError]:
        """Checks each transaction against those before it, then makes all of them durable at once."""
        self._check_open()
        group = _Group(self._mirror.revision)
        outcomes = [self._check(group, txn) for txn in batch]
        if group.transactions:
            self._write(group)
            self._adopt_leases(group)
            self._mirror.apply(group.transactions)
        return outcomes

    def _check(self, group: _Group, txn: _Txn) -> TxnResult | ConflictError:
        if txn.lease is not None and txn.lease.ended:
            return ConflictError(f"lease {txn.lease.id} has ended; take a new one")

        def item(key: str) -> Item | None:
            return group.changed[key] if key in group.changed else self._mirror.get(key)

        for compare in txn.compares:
            found = item(compare.key)
            holds = found is None if isinstance(compare, Absent) else (
                found is not None and found.revision == compare.revision
            )  # fmt: skip
            if not holds:
                return TxnResult(False, group.revision)
        deletes = txn.deletes
        if txn.ends_lease:
            leases = {**self._leases, **group.leases}
            deletes = sorted(key for key, lease in leases.items() if lease == txn.ends_lease)
        revision = group.revision + 1
        events = [Event(key, value, revision) for key, value in txn.puts.items()]
        events += [Event(key, None, revision) for key in dict.fromkeys(deletes) if item(key) is not None]
        if events:
            group.revision = revision
            group.transactions.append(events)
        for event in events:
            put = event.value is not None
            group.changed[event.key] = (
                Item(event.key, event.value, revision) if event.value is not None else None
            )
            group.leases[event.key] = txn.lease.id if put and txn.lease else _NO_LEASE
        return TxnResult(True, group.revision)

    def _write(self, group: _Group) -> None:
        puts = [(*item, group.leases[key]) for key, item in group.changed.items() if item is not None]
        deletes = [(key,) for key, item in group.changed.items() if item is None]
        history = [(e.revision, e.key, e.value) for events in group.transactions for e in events]
        run = self._connection
        try:
            run.execute("BEGIN IMMEDIATE")
            run.executemany("DELETE FROM kv WHERE key = ?", deletes)
            run.executemany("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?)", puts)
            run.executemany("INSERT INTO history VALUES (?, ?, ?)", history)
            # What the mirror dropped after earlier transactions.
            run.execute("DELETE FROM history WHERE revision <= ?", (self._mirror.compacted,))
            run.execute(
                "UPDATE state SET revision = ?, compacted = ?", (group.revision, self._mirror.compacted)
            )
            run.execute("COMMIT")
        except BaseException as error:
            self._take_back(error)
            if isinstance(error, sqlite3.Error):
                raise self._error(error) from error
            raise

    def _take_back(self, cause: BaseException) -> None:
        """After a failed commit: looks at what the file says. Raises AmbiguousError where it cannot tell."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.close()
            self._connection = self._connect()
            (stored,) = self._connection.execute("SELECT revision FROM state").fetchone()
        except sqlite3.Error as error:
            self._failure = f"{cause}; looking at it again failed too: {error}"
        else:
            if stored == self._mirror.revision:
                return
            self._failure = f"{cause}; yet the file is at revision {stored}, not {self._mirror.revision}"
        raise AmbiguousError(
            f"{self._path}: a transaction failed and may be there after a restart: {self._failure}"
        )

    def _adopt_leases(self, group: _Group) -> None:
        for key, lease in group.leases.items():
            if lease == _NO_LEASE:
                self._leases.pop(key, None)
            else:
                self._leases[key] = lease

    def _forget_dead_leases(self) -> None:
        dead = [key for (key,) in self._connection.execute("SELECT key FROM kv WHERE lease != 0")]
        if dead:
            self._submit(_Txn((), {}, sorted(dead), None))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _load(self) -> Mirror:
        run = self._connection
        (version,) = run.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise NewerFormatError(
                f"{self._path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
            )
        problems = [problem for (problem,) in run.execute("PRAGMA quick_check(1)") if problem != "ok"]
        if problems:
            raise self._corrupt(problems[0])
        if version == 0:
            run.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;")
        state = run.execute("SELECT revision, compacted FROM state").fetchone()
        if state is None:
            raise self._corrupt("its revision is missing")
        revision, compacted = state
        items = [Item(*row) for row in run.execute("SELECT key, value, revision FROM kv")]
        history = [
            Event(key, value, at)
            for at, key, value in run.execute(
                "SELECT revision, key, value FROM history WHERE revision > ? ORDER BY revision, key",
                (compacted,),
            )
        ]
        # SQLite orders by UTF-8 bytes, which is Python's order of code points; be sure all the same.
        return Mirror(sorted(items), history, revision, compacted, self._limits.history_events)

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the meta store {self._path} is closed")
        if self._failure:
            raise StorageError(f"{self._path} takes no transactions until it is reopened: {self._failure}")

    def _corrupt(self, problem: str) -> CorruptError:
        return CorruptError(
            f"{self._path} is damaged ({problem}). Restore it from a backup together with its directory, "
            "or save what can be read with `sqlite3 <file> .recover`"
        )

    def _error(self, error: sqlite3.Error) -> StorageError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._corrupt(str(error))
        if code == sqlite3.SQLITE_FULL:
            return DiskFullError(f"{self._path}: {error}; free space on that disk and try again")
        return StorageError(f"{self._path}: {error}")


def _check_key(key: str) -> None:
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise InvalidParameter(f"key {key!r} is not valid Unicode: {error.reason}") from error
