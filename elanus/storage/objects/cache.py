"""A bounded cache of local files that can be made again: copies of remote objects, columns to be mapped."""

import hashlib
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from elanus.storage.disk import disk_error

_UNFINISHED = ".new"


class _Entry:
    def __init__(self) -> None:
        self.making = threading.Lock()
        """Held while the file is being made: two who want it do not make it twice."""
        self.bytes = 0
        self.pins = 0


class CachedFile:
    """A `LocalFile`, pinned until it is closed. A mapping of it survives that."""

    def __init__(self, cache: "FileCache", key: str, path: Path, size: int) -> None:
        self._cache = cache
        self._key = key
        self._path = path
        self._open = True
        self.bytes = size

    @property
    def path(self) -> Path:
        return self._path

    def close(self) -> None:
        if self._open:
            self._open = False
            self._cache._unpin(self._key)

    def __enter__(self) -> "CachedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FileCache:
    """Files below a directory of its own, at most about `limit_bytes`: the longest unused go first.

    A file that is pinned stays, also beyond the limit. A file goes by unlinking, never by truncation: whoever
    has it mapped goes on. Nothing is synced, and nothing outlives the process.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        """Makes the directory anew. Raises StorageError."""
        self._directory = directory
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        shutil.rmtree(directory, ignore_errors=True)
        try:
            directory.mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, f"cannot make the cache {directory}") from error

    @property
    def bytes(self) -> int:
        """Of all files that are there."""
        return self._bytes

    def open(self, key: str, write: Callable[[Path], None]) -> CachedFile:
        """The file of `key`; `write` makes it at a path where there is none. What `write` raises goes on."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.pins += 1
            self._entries.move_to_end(key)
        path = self._path(key)
        try:
            with entry.making:
                if not path.exists():
                    self._make(entry, path, write)
        except BaseException:
            self._unpin(key)
            raise
        self._evict()
        return CachedFile(self, key, path, entry.bytes)

    def _make(self, entry: _Entry, path: Path, write: Callable[[Path], None]) -> None:
        unfinished = path.with_suffix(_UNFINISHED)
        try:
            write(unfinished)
            size = unfinished.stat().st_size
            os.replace(unfinished, path)
        except OSError as error:
            raise disk_error(error, f"cannot write the cached file {path}") from error
        finally:
            unfinished.unlink(missing_ok=True)
        with self._lock:
            self._bytes += size - entry.bytes
            entry.bytes = size

    def _unpin(self, key: str) -> None:
        with self._lock:
            entry = self._entries[key]
            entry.pins -= 1
            if not entry.pins and not entry.bytes:
                del self._entries[key]
        self._evict()

    def _evict(self) -> None:
        with self._lock:
            if self._bytes <= self.limit_bytes:
                return
            for key, entry in list(self._entries.items()):
                if self._bytes <= self.limit_bytes:
                    return
                if not entry.pins:
                    self._path(key).unlink(missing_ok=True)
                    self._bytes -= entry.bytes
                    del self._entries[key]

    def _path(self, key: str) -> Path:
        return self._directory / hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
