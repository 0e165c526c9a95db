"""Columns of sealed segments: small ones in memory, large ones mapped from a cache on disk, both bounded."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa

from elanus.storage.objects.cache import CachedFile, FileCache


class ColumnLimits(msgspec.Struct, frozen=True, kw_only=True):
    small_bytes: int
    """A column of fewer bytes stays in memory."""
    memory_bytes: int
    """All columns in memory together; beyond it the longest unused are read again when they are wanted."""


class _Column(NamedTuple):
    values: pa.Array
    bytes: int
    file: CachedFile | None


class ColumnCache:
    """An `engine.segment_file.Columns`. What it gave out stays as it is, also once it has let go of it."""

    def __init__(self, files: FileCache, limits: ColumnLimits) -> None:
        self._files = files
        self._limits = limits
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._columns: OrderedDict[str, _Column] = OrderedDict()
        self._below: dict[str, set[str]] = {}
        """Keys by the segment that they belong to."""
        self._memory = 0
        self._mapped = 0

    @property
    def bytes(self) -> tuple[int, int]:
        """In memory, and mapped."""
        return self._memory, self._mapped

    def get(self, key: str, read: Callable[[], pa.Array]) -> pa.Array:
        """The column of `key`, which `read` reads where it is not here. `key` names a column for ever."""
        with self._lock:
            found = self._columns.get(key)
            if found is not None:
                self._columns.move_to_end(key)
                return found.values
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            with self._lock:
                found = self._columns.get(key)
            if found is None:
                found = self._kept(key, read())
                self._add(key, found)
        return found.values

    def forget(self, prefix: str) -> None:
        with self._lock:
            gone = [self._pop(key) for key in list(self._below.get(prefix, ()))]
        _close(gone)

    def _kept(self, key: str, values: pa.Array) -> _Column:
        size = values.nbytes
        if size < self._limits.small_bytes:
            return _Column(values, size, None)
        file = self._files.open(key, lambda path: _write(values, path))
        return _Column(_map(file.path), size, file)

    def _add(self, key: str, column: _Column) -> None:
        with self._lock:
            self._reading.pop(key, None)
            self._columns[key] = column
            self._below.setdefault(_prefix(key), set()).add(key)
            if column.file is None:
                self._memory += column.bytes
            else:
                self._mapped += column.bytes
            gone = []
            for old in list(self._columns):
                memory, mapped = (
                    self._memory > self._limits.memory_bytes,
                    self._mapped > self._files.limit_bytes,
                )
                if not memory and not mapped:
                    break
                if old != key and (mapped if self._columns[old].file else memory):
                    gone.append(self._pop(old))
        _close(gone)

    def _pop(self, key: str) -> _Column:
        column = self._columns.pop(key)
        prefix = _prefix(key)
        self._below[prefix].discard(key)
        if not self._below[prefix]:
            del self._below[prefix]
        if column.file is None:
            self._memory -= column.bytes
        else:
            self._mapped -= column.bytes
        return column


def _prefix(key: str) -> str:
    return key.rpartition("/")[0]


def _close(columns: list[_Column]) -> None:
    for column in columns:
        if column.file is not None:
            column.file.close()


def _write(values: pa.Array, path: Path) -> None:
    schema = pa.schema([pa.field("column", values.type)])
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([values], schema=schema))


def _map(path: Path) -> pa.Array:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).get_batch(0).column(0)
