"""Counts the writes under way, so that a DDL can wait for those that began before it (rule 13)."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from elanus.model.errors import DeadlineExceeded


class WriteGate:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._generation = 0
        self._under_way: dict[int, int] = {0: 0}

    @contextmanager
    def write(self) -> Iterator[None]:
        """Held from before the catalogue is read until the records are durable."""
        with self._changed:
            generation = self._generation
            self._under_way[generation] += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way[generation] -= 1
                self._changed.notify_all()

    def drain(self, timeout_seconds: float) -> None:
        """Returns when every write that began before this call has ended. Raises DeadlineExceeded."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            last = self._generation
            self._generation += 1
            self._under_way[self._generation] = 0
            while any(n for g, n in self._under_way.items() if g <= last):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(f"writes under way did not end in {timeout_seconds} s")
                self._changed.wait(left)
            for generation in [g for g in self._under_way if g <= last]:
                del self._under_way[generation]
