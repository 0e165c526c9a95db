"""What the SQLite meta store holds, in memory: items in key order, recent history, and the watches on it."""

import threading
import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator, Sequence

from elanus.model.errors import CompactedError, StorageError
from elanus.storage.meta.port import Event, Item


class Mirror:
    """Reads come from here. `apply` is called by one thread at a time, after the change is durable."""

    def __init__(
        self, items: list[Item], history: list[Event], revision: int, compacted: int, history_limit: int
    ) -> None:
        """`items` in key order, `history` in revision order: every event with a revision > `compacted`."""
        self.revision = revision
        self.compacted = compacted
        self._items = {item.key: item for item in items}
        self._keys = [item.key for item in items]
        self._history = deque(history)
        self._history_limit = history_limit
        self._watches: list[MirrorWatch] = []
        self._lock = threading.Lock()

    def get(self, key: str) -> Item | None:
        # Under the lock, lest two reads see one transaction in halves.
        with self._lock:
            return self._items.get(key)

    def range(self, prefix: str) -> tuple[list[Item], int]:
        with self._lock:
            return [self._items[key] for key in self._below(prefix)], self.revision

    def apply(self, transactions: Sequence[Sequence[Event]]) -> None:
        """Takes the events of whole transactions, in order, and hands them to the watches."""
        with self._lock:
            for events in transactions:
                for event in events:
                    self._apply(event)
                self._history.extend(events)
                self.revision = events[-1].revision
                for watch in tuple(self._watches):
                    watch.offer(events)
            while len(self._history) > self._history_limit:
                self.compacted = self._history.popleft().revision
                while self._history and self._history[0].revision == self.compacted:
                    self._history.popleft()

    def watch(self, prefix: str, from_revision: int, queue_limit: int) -> "MirrorWatch":
        """Raises CompactedError when events with a revision >= `from_revision` are gone."""
        watch = MirrorWatch(self, prefix, from_revision, queue_limit)
        with self._lock:
            if from_revision <= self.compacted:
                raise CompactedError(
                    f"changes below {prefix!r} from revision {from_revision} on are gone; "
                    f"the oldest kept is {self.compacted + 1}: read the range again"
                )
            self._watches.append(watch)
            if from_revision <= self.revision:
                watch.offer(self._history)
        return watch

    def unwatch(self, watch: "MirrorWatch") -> None:
        with self._lock:
            self._forget(watch)

    def close(self) -> None:
        with self._lock:
            for watch in self._watches:
                watch.end(None)
            self._watches.clear()

    def lose(self, watch: "MirrorWatch") -> None:
        """Called by `offer`, under the lock."""
        self._forget(watch)

    def _forget(self, watch: "MirrorWatch") -> None:
        if watch in self._watches:
            self._watches.remove(watch)

    def _apply(self, event: Event) -> None:
        if event.value is None:
            del self._items[event.key]
            del self._keys[bisect_left(self._keys, event.key)]
            return
        if event.key not in self._items:
            insort(self._keys, event.key)
        self._items[event.key] = Item(event.key, event.value, event.revision)

    def _below(self, prefix: str) -> Iterator[str]:
        for at in range(bisect_left(self._keys, prefix), len(self._keys)):
            if not self._keys[at].startswith(prefix):
                return
            yield self._keys[at]


class MirrorWatch:
    """A `Watch` with a bounded queue. Events are put into it inside the call that commits them."""

    def __init__(self, mirror: Mirror, prefix: str, from_revision: int, queue_limit: int) -> None:
        self._mirror = mirror
        self._prefix = prefix
        self._from_revision = from_revision
        self._queue_limit = queue_limit
        self._queue: list[Event] = []
        self._changed = threading.Condition()
        self._ended = False
        self._error: StorageError | None = None

    def poll(self, timeout_seconds: float) -> list[Event]:
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._queue and not self._ended:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._changed.wait(min(remaining, threading.TIMEOUT_MAX)):
                    break
            if self._error is not None:
                raise self._error
            events, self._queue = self._queue, []
            return events

    def __iter__(self) -> Iterator[Sequence[Event]]:
        while True:
            events = self.poll(threading.TIMEOUT_MAX)
            if events:
                yield events
            elif self._ended:
                return

    def close(self) -> None:
        self._mirror.unwatch(self)
        self.end(None)

    def offer(self, events: Sequence[Event]) -> None:
        """Events of whole transactions; those of other prefixes and older revisions are left out."""
        mine = [e for e in events if e.revision >= self._from_revision and e.key.startswith(self._prefix)]
        if not mine:
            return
        with self._changed:
            overflow = len(self._queue) + len(mine) > self._queue_limit
            if not overflow:
                self._queue.extend(mine)
                self._changed.notify_all()
        if overflow:
            self._mirror.lose(self)
            self.end(
                CompactedError(
                    f"the watch on {self._prefix!r} fell more than {self._queue_limit} events behind and is "
                    "closed: read the range again"
                )
            )

    def end(self, error: StorageError | None) -> None:
        with self._changed:
            self._ended = True
            self._error = self._error or error
            self._queue = []
            self._changed.notify_all()
