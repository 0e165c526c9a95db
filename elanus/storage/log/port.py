"""Interface of the log broker."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Appended(NamedTuple):
    """Where a record went: its offset, and the broker's append time in ms since the epoch."""

    offset: int
    append_ms: int


class Entry(NamedTuple):
    """A record as it is read. `data` is valid as long as it is referenced."""

    offset: int
    append_ms: int
    data: bytes | memoryview


class Subscription(Protocol):
    """Reads one log in offset order. Not thread-safe, but `wake` and `close` may come from any thread."""

    def poll(self, timeout_seconds: float, max_entries: int) -> list[Entry]:
        """The next entries; waits at most `timeout_seconds` for the first. [] after `wake` or a time-out.

        Raises NotFoundError ("loud", rule 12) when the offset to read is below the log's start, CorruptError
        naming file and byte, StorageError once the log is dropped or the broker closed. [] after `close`.
        """

    def wake(self) -> None: ...
    def close(self) -> None: ...


class LogBroker(Protocol):
    """A log is created once; offsets are dense and start at 0; a recreated log has another identity."""

    def create(self, log: str) -> None:
        """Creates the log; nothing if it exists."""

    def logs(self) -> list[str]: ...

    def append(self, log: str, record: bytes) -> Appended:
        """Returns when the record is durable and readable. Append times never decrease within a log.

        Never retried, here or above: AmbiguousError when it may be there, other errors when it is not.
        """

    def append_batch(self, log: str, records: Sequence[bytes]) -> list[Appended]:
        """Local: all or none, with consecutive offsets. Kafka: each record on its own."""

    def identity(self, log: str) -> str: ...
    def start_offset(self, log: str) -> int: ...

    def end_offset(self, log: str) -> int:
        """The offset that the next record gets; every record below is durable."""

    def subscribe(self, log: str, from_offset: int) -> Subscription:
        """Reads from `from_offset` on. Raises NotFoundError above the log's end: it has lost records."""

    def trim(self, log: str, before: int) -> None:
        """Records with an offset < `before` may go."""

    def drop(self, log: str) -> None: ...
    def close(self) -> None: ...
