"""Numbers that are given out once: ranges are leased from the meta store."""

import threading

from elanus.model.errors import RetriableStorageError
from elanus.storage import keys
from elanus.storage.meta import Absent, Compare, MetaStore


class Sequence:
    """Thread-safe. A range that was leased and not used up is skipped, never given out again."""

    def __init__(self, meta: MetaStore, name: str, *, step: int, first: int = 1, attempts: int = 100) -> None:
        self._meta = meta
        self._key = keys.sequence(name)
        self._step = step
        self._first = first
        self._attempts = attempts
        self._lock = threading.Lock()
        self._next = 0
        self._end = 0

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive numbers."""
        with self._lock:
            if self._next + count > self._end:
                self._next, self._end = self._lease(max(count, self._step))
            first = self._next
            self._next += count
            return first

    def _lease(self, count: int) -> tuple[int, int]:
        for _ in range(self._attempts):
            item = self._meta.get(self._key)
            start = max(int(item.value), self._first) if item else self._first
            guard = Compare(self._key, item.revision) if item else Absent(self._key)
            if self._meta.txn([guard], {self._key: str(start + count).encode()}).succeeded:
                return start, start + count
        raise RetriableStorageError(f"{self._key} is contended: {self._attempts} attempts lost a race")
