"""A log in memory whose append times a test chooses, and a follower that writes down what it gets."""

import threading
from collections.abc import Callable, Sequence

from elanus.model.errors import NotFoundError
from elanus.model.records import Header, Kind, Record, encode
from elanus.model.timestamps import Position, next_ts
from elanus.storage.log import Appended, Entry

Applied = tuple[int, int]
"""(offset, timestamp)"""


def nothing() -> None:
    pass


class MemoryLog:
    """A `LogBroker` of one log. Its append times may stall and step back, as those of Kafka may."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.headers: list[Header] = []
        self.ts: list[int] = []
        """What every consumer has to compute, from the definition."""
        self.changed = threading.Condition()
        self.before_poll: Callable[[], None] = nothing

    def append_at(self, ms: int, channel: int = 1, kind: Kind = Kind.FLUSH, floor: int = 0) -> int:
        header = Header(channel, kind, floor=floor)
        with self.changed:
            self.ts.append(next_ts(self.ts[-1] if self.ts else 0, ms, floor))
            self.headers.append(header)
            self.entries.append(Entry(len(self.entries), ms, encode(header)))
            self.changed.notify_all()
            return len(self.entries) - 1

    def position(self, offset: int) -> Position:
        """The stored pair of an offset."""
        return Position(offset, self.ts[offset - 1] if offset else 0)

    def of_channel(self, channel: int, start: int = 0) -> list[Applied]:
        return [
            (e.offset, t)
            for e, h, t in zip(self.entries, self.headers, self.ts, strict=True)
            if h.channel == channel and e.offset >= start
        ]

    def create(self, log: str) -> None:
        raise NotImplementedError

    def logs(self) -> list[str]:
        return ["log"]

    def append(self, log: str, record: bytes) -> Appended:
        raise NotImplementedError

    def append_batch(self, log: str, records: Sequence[bytes]) -> list[Appended]:
        raise NotImplementedError

    def identity(self, log: str) -> str:
        return "memory"

    def start_offset(self, log: str) -> int:
        return 0

    def end_offset(self, log: str) -> int:
        return len(self.entries)

    def subscribe(self, log: str, from_offset: int) -> "MemorySubscription":
        if from_offset > len(self.entries):
            raise NotFoundError(f"offset {from_offset} does not exist")
        return MemorySubscription(self, from_offset)

    def trim(self, log: str, before: int) -> None:
        raise NotImplementedError

    def drop(self, log: str) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class MemorySubscription:
    def __init__(self, log: MemoryLog, offset: int) -> None:
        self._log = log
        self._next = offset
        self._woken = False

    def poll(self, timeout_seconds: float, max_entries: int) -> list[Entry]:
        self._log.before_poll()
        with self._log.changed:
            self._log.changed.wait_for(
                lambda: self._woken or self._next < len(self._log.entries), timeout_seconds
            )
            self._woken = False
            found = self._log.entries[self._next : self._next + max_entries]
            self._next += len(found)
            return found

    def wake(self) -> None:
        with self._log.changed:
            self._woken = True
            self._log.changed.notify_all()

    def close(self) -> None:
        pass


class Notes:
    """A follower."""

    def __init__(self) -> None:
        self.applied: list[Applied] = []

    def apply(self, offset: int, ts: int, record: Record) -> None:
        self.applied.append((offset, ts))
