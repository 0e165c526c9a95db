"""Following a log: one consumer per log and process, many channels, one clock (architecture, "Log").

The tail reads a log once and hands each record to the followers of its channel. A channel that joins later
is brought up by a catch-up pass, which hands over at an exact offset. Several that wait share one pass.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from elanus.model.errors import CorruptError, DeadlineExceeded, ElanusError, NotReady
from elanus.model.records import Record, decode
from elanus.model.timestamps import Position, next_ts
from elanus.storage.log import Entry, LogBroker

log = logging.getLogger(__name__)


class Follower(Protocol):
    """Gets every record of one channel at or above its start, in order, from one thread at a time."""

    def apply(self, offset: int, ts: int, record: Record) -> None: ...


class _Followed(NamedTuple):
    """A follower and the first offset it wants: what lies below is sealed and would come twice."""

    start: int
    follower: Follower


@dataclass
class _Joining:
    channel_id: int
    start: Position
    follower: Follower
    done: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None


class LogTail:
    """One log's consumer. `position` is what all followers have applied."""

    def __init__(
        self,
        broker: LogBroker,
        name: str,
        *,
        batch: int,
        idle_seconds: float,
        catch_up_timeout_seconds: float,
    ) -> None:
        self._broker = broker
        self.name = name
        self._batch = batch
        self._idle = idle_seconds
        self._catch_up_timeout = catch_up_timeout_seconds
        self._applied = threading.Condition()
        self._followers: dict[int, list[_Followed]] = {}
        self._position = Position(0, 0)
        self._known_at = -math.inf
        self._joining: list[_Joining] = []
        self._catching_up = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._failure: BaseException | None = None

    @property
    def position(self) -> Position:
        return self._position

    @property
    def failure(self) -> BaseException | None:
        return self._failure

    def start(self, position: Position) -> None:
        """Begins to read at a stored (offset, ts) pair."""
        assert self._thread is None, "a tail starts once"
        self._position = position
        self._subscription = self._broker.subscribe(self.name, position.offset)
        self._thread = threading.Thread(target=self._run, name=f"tail-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        if self._thread is not None:
            self._subscription.wake()
            self._thread.join()
            self._subscription.close()
        with self._applied:
            self._applied.notify_all()

    def follow(self, joiners: Sequence[tuple[int, Position, Follower]]) -> None:
        """Returns when every (channel, start, follower) has been handed over to the tail.

        Before `start`, followers are only registered: the tail then has to start at or below their starts.
        """
        if self._thread is None:
            for channel_id, start, follower in joiners:
                self._add(channel_id, start, follower)
            return
        mine = [_Joining(*joiner) for joiner in joiners]
        with self._applied:
            self._joining += mine
        with self._catching_up:
            with self._applied:
                batch, self._joining = self._joining, []
            if batch:
                self._catch_up(batch)
        for joining in mine:
            joining.done.wait()
            if joining.failure is not None:
                raise joining.failure

    def unfollow(self, channel_id: int, follower: Follower) -> None:
        with self._applied:
            left = [f for f in self._followers.get(channel_id, ()) if f.follower is not follower]
            if left:
                self._followers[channel_id] = left
            else:
                self._followers.pop(channel_id, None)

    def _add(self, channel_id: int, start: Position, follower: Follower) -> None:
        self._followers.setdefault(channel_id, []).append(_Followed(start.offset, follower))

    def wait(self, offset: int, timeout_seconds: float) -> Position:
        """The position, once every record below `offset` is applied. Raises DeadlineExceeded."""
        position = self._position
        if position.offset >= offset and self._failure is None:
            return position
        deadline = time.monotonic() + timeout_seconds
        with self._applied:
            while self._position.offset < offset:
                self._raise_if_dead()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(
                        f"log {self.name} is applied to offset {self._position.offset}, not yet to {offset}, "
                        f"after {timeout_seconds:.3g} s"
                    )
                self._applied.wait(left)
            self._raise_if_dead()
            return self._position

    def fresh(self, staleness_seconds: float, timeout_seconds: float) -> Position:
        """A position that was the log's end at some time within the bound (rule 5, Bounded)."""
        if time.monotonic() - self._known_at <= staleness_seconds and self._failure is None:
            return self._position
        return self.wait(self._broker.end_offset(self.name), timeout_seconds)

    def _raise_if_dead(self) -> None:
        if self._failure is not None:
            raise NotReady(f"log {self.name} is no longer followed: {self._failure}") from self._failure
        if self._stopping:
            raise NotReady(f"log {self.name} is being closed")

    def _run(self) -> None:
        try:
            while not self._stopping:
                asked = time.monotonic()
                entries = self._subscription.poll(self._idle, self._batch)
                if entries:
                    self._apply(entries)
                elif self._broker.end_offset(self.name) <= self._position.offset:
                    self._known_at = asked
        except Exception as error:  # the thread's last act: whoever waits for the log is told why
            log.exception("log %s can no longer be followed", self.name)
            with self._applied:
                self._failure = error
                self._applied.notify_all()

    def _apply(self, entries: Sequence[Entry]) -> None:
        position = self._position
        with self._applied:
            for entry in entries:
                position = self._advance(position, entry, self._deliver)
            self._position = position
            self._applied.notify_all()

    def _deliver(self, offset: int, ts: int, record: Record) -> None:
        for start, follower in self._followers.get(record.header.channel, ()):
            if offset >= start:
                follower.apply(offset, ts, record)

    def _advance(self, at: Position, entry: Entry, deliver: Callable[[int, int, Record], None]) -> Position:
        assert entry.offset == at.offset, f"log {self.name}: offset {entry.offset} after {at.offset}"
        record = decode(entry.data)
        ts = next_ts(at.ts, entry.append_ms, record.header.floor)
        deliver(entry.offset, ts, record)
        return Position(entry.offset + 1, ts)

    def _catch_up(self, batch: list[_Joining]) -> None:
        try:
            self._replay(batch)
        except Exception as error:  # noqa: BLE001  # handed to every caller that waits in `follow`
            for joining in batch:
                joining.failure = error
        finally:
            for joining in batch:
                joining.done.set()

    def _replay(self, batch: list[_Joining]) -> None:
        """Reads from the lowest start and hands over while the tail stands still at the same offset."""
        deadline = time.monotonic() + self._catch_up_timeout
        at = min(j.start for j in batch)
        by_channel: dict[int, list[_Joining]] = {}
        for joining in batch:
            by_channel.setdefault(joining.channel_id, []).append(joining)

        def deliver(offset: int, ts: int, record: Record) -> None:
            for joining in by_channel.get(record.header.channel, ()):
                if offset >= joining.start.offset:
                    joining.follower.apply(offset, ts, record)

        subscription = self._broker.subscribe(self.name, at.offset)
        try:
            while not self._hand_over(at, batch):
                if time.monotonic() > deadline:
                    raise DeadlineExceeded(
                        f"log {self.name}: caught up to offset {at.offset} of {self._position.offset} "
                        f"in {self._catch_up_timeout} s"
                    )
                missing = self._position.offset - at.offset
                if missing > 0:
                    for entry in subscription.poll(self._idle, min(self._batch, missing)):
                        at = self._advance(at, entry, deliver)
        finally:
            subscription.close()

    def _hand_over(self, at: Position, batch: list[_Joining]) -> bool:
        """Whether the tail stands at `at`. Where it has not come so far yet, it is given a moment."""
        with self._applied:
            self._raise_if_dead()
            if at.offset != self._position.offset:
                if at.offset > self._position.offset:
                    self._applied.wait(self._idle)
                return False
            if at.ts != self._position.ts:
                raise CorruptError(
                    f"log {self.name}: the clock at offset {at.offset} is {self._position.ts} for the tail "
                    f"and {at.ts} from the stored pair of a channel: one of the two pairs is wrong"
                )
            for joining in batch:
                self._add(joining.channel_id, joining.start, joining.follower)
            return True


class Tails:
    """The tails of a process, one a log."""

    def __init__(
        self,
        broker: LogBroker,
        *,
        batch: int = 256,
        idle_seconds: float = 1.0,
        catch_up_timeout_seconds: float = 600.0,
    ) -> None:
        self._tails = {
            name: LogTail(
                broker,
                name,
                batch=batch,
                idle_seconds=idle_seconds,
                catch_up_timeout_seconds=catch_up_timeout_seconds,
            )
            for name in broker.logs()
        }

    def __getitem__(self, name: str) -> LogTail:
        found = self._tails.get(name)
        if found is None:
            raise ElanusError(f"log {name!r} is not followed here; there are {', '.join(self._tails)}")
        return found

    def __iter__(self) -> Iterator[LogTail]:
        return iter(self._tails.values())

    def stop(self) -> None:
        for tail in self._tails.values():
            tail.stop()
