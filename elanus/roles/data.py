"""Data coordinator and data node: from the log to sealed segments."""

from typing import Protocol

import msgspec

from elanus.model.nouns import Channel, RangeDelete
from elanus.model.timestamps import Position


class SegmentState(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed segment as operators and clients see it."""

    id: int
    name: str
    channel_id: int
    rows: int
    bytes: int
    partitions: tuple[int, ...]
    channel: str = ""
    """The log it came from."""


class ChannelState(msgspec.Struct, frozen=True, kw_only=True):
    """A channel at its data node: rows and bytes not sealed yet, and how far it is sealed."""

    channel_id: int
    rows: int
    bytes: int
    partition_rows: dict[int, int]
    range_deletes: tuple[RangeDelete, ...] = ()
    """Those not in the manifest yet."""
    floor_offset: int
    sealed_to: Position


class FlushTicket(msgspec.Struct, frozen=True, kw_only=True):
    """`ts`: the collection is flushed once every channel is sealed to it."""

    ts: int
    seal_ms: int
    sealing: tuple[int, ...]
    """Ids of the segments that the flush makes, where known."""
    flushed: tuple[int, ...]
    """Ids of the sealed segments there are."""


class DataNode(Protocol):
    def adopt(self, collection_id: int, channels: list[Channel]) -> None:
        """Follows the channels from their manifests' floors and seals them from now on. Idempotent."""

    def abandon(self, channel_ids: list[int]) -> None: ...

    def position(self, log: str, at_least: int, timeout_seconds: float) -> Position:
        """Where this node is in the log, once it has applied every record below `at_least`."""

    def seal(self, channel_id: int, offset: int, timeout_seconds: float) -> int:
        """Starts to seal the channel up to and including the Flush record at `offset`; returns its ts."""

    def state(self, channel_ids: list[int]) -> list[ChannelState]: ...

    def wait_sealed(self, channel_id: int, ts: int, timeout_seconds: float) -> bool:
        """Seals what this node has applied up to `ts`. Whether that is done, after at most so long."""


class DataCoordinator(Protocol):
    def adopt(self, collection_id: int) -> None:
        """Gives a new collection's channels to a data node."""

    def abandon(self, collection_id: int, channels: list[Channel]) -> None: ...

    def position(self, log: str, at_least: int) -> Position:
        """A (offset, ts) pair of the log, at or above `at_least`."""

    def flush(self, collection_id: int, wait_seconds: float) -> FlushTicket:
        """Seals all rows that were acknowledged before the call; waits at most so long for it."""

    def is_flushed(self, collection_id: int, ts: int) -> bool: ...

    def row_counts(self, collection_id: int) -> dict[int, int]:
        """Rows of each partition id, sealed and not, deleted ones included until compaction."""

    def segments(self, collection_id: int) -> list[SegmentState]: ...
