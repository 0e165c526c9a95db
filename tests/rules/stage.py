"""A deployment whose ports a test can hold, fail or follow: real storage with a hook before and after."""

import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from elanus.access import requests as q
from elanus.model.nouns import Channel, Collection
from elanus.model.records import Header, decode
from elanus.model.schema import Field, Schema
from elanus.model.types import ConsistencyLevel, DataType
from elanus.runtime import standalone
from elanus.runtime.standalone import Instance
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.log.port import Appended, Entry
from elanus.storage.log.reader import LocalSubscription
from elanus.storage.meta import Absent, Compare, Item, Lease
from elanus.storage.meta.port import TxnResult
from elanus.storage.meta.sqlite import SqliteMetaStore
from elanus.storage.objects.local import LocalObjectStore
from elanus.storage.objects.port import LocalFile

SECONDS = 20
"""The longest a test waits for what must come."""
MOMENT = 0.05
"""How long a test looks at what must not happen."""
ID, TAG, VECTOR = 100, 101, 102
SCHEMA = Schema(
    fields=(
        Field(id=ID, name="id", type=DataType.INT64, primary=True),
        Field(id=TAG, name="tag", type=DataType.INT64),
        Field(id=VECTOR, name="v", type=DataType.FLOAT_VECTOR, dim=2),
    )
)

Rows = list[tuple[int, int]]
"""(id, tag), sorted; the tag tells the versions of a row apart."""


class Crash(Exception):
    """What happens at this moment is the last that the process does."""


def nothing(*_: Any) -> None:
    pass


class Hooks:
    """What runs around the calls of the ports. A hook that raises takes the place of the call's answer."""

    def __init__(self) -> None:
        self.before_get: Callable[[str], None] = nothing
        self.before_txn: Callable[[Sequence[str]], None] = nothing
        self.after_txn: Callable[[Sequence[str]], None] = nothing
        self.before_append: Callable[[Sequence[Header]], None] = nothing
        self.after_append: Callable[[Sequence[Header]], None] = nothing
        self.before_put: Callable[[str], None] = nothing
        self.before_open: Callable[[str], None] = nothing
        self.polls = threading.Event()
        """Cleared: no consumer of a log gets anything."""
        self.polls.set()
        self.clock: Callable[[], int] | None = None
        self.appended: list[Header] = []


class _Meta(SqliteMetaStore):
    hooks: Hooks

    def get(self, key: str) -> Item | None:
        self.hooks.before_get(key)
        return super().get(key)

    def txn(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
        lease: Lease | None = None,
    ) -> TxnResult:
        touched = (*puts, *deletes)
        self.hooks.before_txn(touched)
        result = super().txn(compares, puts, deletes, lease)
        if result.succeeded:
            self.hooks.after_txn(touched)
        return result


class _Broker(LocalLogBroker):
    hooks: Hooks

    def append(self, log: str, record: bytes) -> Appended:
        return self.append_batch(log, [record])[0]

    def append_batch(self, log: str, records: Sequence[bytes]) -> list[Appended]:
        headers = [decode(r).header for r in records]
        self.hooks.before_append(headers)
        appended = super().append_batch(log, records)
        self.hooks.appended += headers
        self.hooks.after_append(headers)
        return appended

    def subscribe(self, log: str, from_offset: int) -> LocalSubscription:
        subscription = super().subscribe(log, from_offset)
        poll = subscription.poll

        def held(timeout_seconds: float, max_entries: int) -> list[Entry]:
            if not self.hooks.polls.is_set():
                self.hooks.polls.wait(MOMENT)
                return []
            entries = poll(timeout_seconds, max_entries)
            self.hooks.polls.wait(SECONDS)
            return entries

        subscription.poll = held  # type: ignore[method-assign]
        return subscription


class _Objects(LocalObjectStore):
    hooks: Hooks

    def put(self, path: str, data: bytes | memoryview | Path) -> None:
        self.hooks.before_put(path)
        super().put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> None:
        self.hooks.before_put(path)
        super().put_if_absent(path, data)

    def open_local(self, path: str) -> LocalFile:
        self.hooks.before_open(path)
        return super().open_local(path)


class Stage:
    """One data directory and whoever has it open."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.hooks = Hooks()
        hooks = self.hooks

        def meta(path: Path, *limits: Any) -> SqliteMetaStore:
            made = _Meta.__new__(_Meta)
            made.hooks = Hooks()
            made.__init__(path, *limits)  # type: ignore[misc]
            made.hooks = hooks
            return made

        def broker(path: Path, limits: LogLimits) -> LocalLogBroker:
            made = _Broker(path, limits, *([hooks.clock] if hooks.clock else []))
            made.hooks = hooks
            return made

        def objects(path: Path) -> LocalObjectStore:
            made = _Objects(path)
            made.hooks = hooks
            return made

        monkeypatch.setattr(standalone, "SqliteMetaStore", meta)
        monkeypatch.setattr(standalone, "LocalLogBroker", broker)
        monkeypatch.setattr(standalone, "LocalObjectStore", objects)
        self._open: list[Instance] = []
        self._pool = ThreadPoolExecutor(8)

    def open(self, **settings: Any) -> Instance:
        """Quick to retry, slow to act on its own account."""
        settings = {
            "elanus__flush__retrySeconds": 0.02,
            "elanus__flush__checkSeconds": 0.02,
            "elanus__flush__trimSeconds": 3600,
            "elanus__serve__retrySeconds": 0.02,
            "elanus__serve__viewGraceSeconds": 3600,
            "elanus__serve__viewSeconds": SECONDS,
            "elanus__serve__answerSeconds": 0.5,
            **settings,
        }
        instance = Instance.open(self.directory, **settings)
        self._open.append(instance)
        return instance

    def reopen(self, **settings: Any) -> Instance:
        """As after a crash: whatever was in memory only is gone."""
        self.close()
        return self.open(**settings)

    def close(self) -> None:
        self.hooks.polls.set()
        while self._open:
            self._open.pop().stop()

    def end(self) -> None:
        self.close()
        self._pool.shutdown()

    def do(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> "Future[Any]":
        """In another thread."""
        return self._pool.submit(call, *arguments, **named)

    def lose_log(self, name: str = "dml_0") -> None:
        shutil.rmtree(self.directory / "logs" / name)


class Barrier:
    """Where a hook waits until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def hold(self) -> None:
        self._reached.set()
        assert self._open.wait(SECONDS), "the test never let go"

    def wait(self) -> None:
        assert self._reached.wait(SECONDS), "nobody came by"

    def reached(self, seconds: float) -> bool:
        """Whether somebody has come within so long."""
        return self._reached.wait(seconds)

    def let_go(self) -> None:
        self._open.set()


def once(action: Callable[[], None], where: Callable[..., bool] = lambda *_: True) -> Callable[..., None]:
    """A hook for the first call that `where` picks."""
    lock = threading.Lock()
    done: list[bool] = []

    def hook(*arguments: Any) -> None:
        with lock:
            if done or not where(*arguments):
                return
            done.append(True)
        action()

    return hook


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def touches(prefix: str) -> Callable[[Sequence[str]], bool]:
    """Picks the transactions that write a key below `prefix`."""
    return lambda keys: any(key.startswith(prefix) for key in keys)


@contextmanager
def held_polls(stage: Stage) -> Iterator[None]:
    stage.hooks.polls.clear()
    try:
        yield
    finally:
        stage.hooks.polls.set()


# What clients do


def make(instance: Instance, name: str = "a", shards: int = 1, *, load: bool = True) -> Collection:
    proxy = instance.proxy
    proxy.create_collection(q.CreateCollection(database="", name=name, schema=SCHEMA, shards=shards))
    proxy.create_index("", name, "v", "v", {"index_type": "FLAT", "metric_type": "L2"})
    if load:
        proxy.load("", name, [], 1, [], False)
    return proxy.collection("", name)


def channel(instance: Instance, name: str = "a") -> Channel:
    return instance.proxy.collection("", name).channels[0]


def _write(name: str, keys: Sequence[int], tag: int, partition: str) -> q.Write:
    columns = [
        pa.array(keys, pa.int64()),
        pa.array([tag] * len(keys), pa.int64()),
        pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * len(keys), np.float32)), 2),
    ]
    rows = pa.RecordBatch.from_arrays(columns, names=[str(ID), str(TAG), str(VECTOR)])
    return q.Write(database="", collection=name, partition=partition, rows=rows)


def insert(instance: Instance, name: str, keys: Sequence[int], tag: int = 0, partition: str = "") -> None:
    instance.proxy.insert(_write(name, keys, tag, partition))


def upsert(instance: Instance, name: str, keys: Sequence[int], tag: int = 0, partition: str = "") -> None:
    instance.proxy.upsert(_write(name, keys, tag, partition))


def delete(instance: Instance, name: str, expression: str, partition: str = "") -> None:
    instance.proxy.delete(q.Delete(database="", collection=name, partition=partition, expression=expression))


def _query(name: str, level: ConsistencyLevel, partitions: tuple[str, ...], *fields: str) -> q.Query:
    return q.Query(
        database="",
        collection=name,
        partitions=partitions,
        expression="id > -1000000",
        output_fields=fields,
        consistency_level=level,
    )


def read(
    instance: Instance,
    name: str = "a",
    level: ConsistencyLevel = ConsistencyLevel.STRONG,
    partitions: tuple[str, ...] = (),
) -> Rows:
    columns = instance.proxy.query(_query(name, level, partitions, "id", "tag")).rows.columns
    return list(zip(columns.column("id").to_pylist(), columns.column("tag").to_pylist(), strict=True))


def count(instance: Instance, name: str = "a", level: ConsistencyLevel = ConsistencyLevel.STRONG) -> int:
    """Rows with equal keys each for itself."""
    columns = instance.proxy.query(_query(name, level, (), "count(*)")).rows.columns
    return int(columns.column(0)[0].as_py())


def flush(instance: Instance, *names: str) -> None:
    for name in names or ("a",):
        ts = instance.proxy.flush("", [name])[name].ts
        wait_for(partial(instance.proxy.flush_state, "", name, ts))


def reload(instance: Instance, name: str = "a") -> None:
    instance.proxy.release("", name, [])
    instance.proxy.load("", name, [], 1, [], False)


def served_at_floor(instance: Instance, name: str = "a") -> None:
    """Waits until the view follows the manifest."""
    channels = instance.proxy.collection("", name).channels
    versions = [instance.manifests.pointer(c).version for c in channels]
    wait_for(lambda: all(view_version(instance, c) >= v for c, v in zip(channels, versions, strict=True)))


def view_version(instance: Instance, of: Channel) -> int:
    collections = instance.catalog.collections()
    views = [v for c in collections for v in instance.catalog.views(c.id) if v.channel_id == of.id]
    return views[0].manifest_version if views else -1


def wait_for(condition: Callable[[], bool], what: str = "it") -> None:
    waiting, left = threading.Event(), SECONDS / 0.005
    while not condition():
        left -= 1
        assert left > 0, f"{what}: it never came"
        waiting.wait(0.005)
