"""Data coordinator and data node: from the log to sealed segments."""

from typing import Protocol

import msgspec

from elanus.model.nouns import Channel, DeleteFile, RangeDelete, Segment
from elanus.model.schema import Schema
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
    replaces: tuple[int, ...] = ()
    """Segments that are served in its place until it is indexed."""


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


class CompactionTask(msgspec.Struct, frozen=True, kw_only=True):
    """Rewrite some segments of a channel with the deletes of one manifest version folded in."""

    job_id: int
    collection_id: int
    channel: Channel
    schema: Schema
    inputs: tuple[Segment, ...]
    delete_files: tuple[DeleteFile, ...]
    range_deletes: tuple[RangeDelete, ...]
    applied_to: int
    """Timestamp of the manifest's floor: all deletes below are in its delete files and range deletes."""
    purge_to: int
    """Rows whose smallest delete timestamp is at or below it are left out (rule 3)."""
    expired_below: int
    """Rows with a smaller timestamp are left out: their time to live was over long ago."""
    target_bytes: int
    """About the largest output."""
    names: tuple[int, ...]
    """Names for the outputs; as many as there may be."""
    least_dead: float = 0.0
    """Where a smaller share of the rows would be left out, nothing is written."""


class CompactionResult(msgspec.Struct, frozen=True, kw_only=True):
    """`worthwhile` False: too few rows would have been left out, nothing was written."""

    segments: tuple[Segment, ...] = ()
    purged_to: int = 0
    """The largest delete timestamp of a row that was left out."""
    deleted: float = 0.0
    """Share of the rows that are deleted, those that had to be kept included."""
    worthwhile: bool = True


class CompactionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One rewrite; `sources` and `targets` are ids of segments. `compaction_id` 0: nobody asked for it."""

    id: int
    compaction_id: int
    collection_id: int
    channel_id: int
    sources: tuple[int, ...]
    targets: tuple[int, ...] = ()
    done: bool = False
    failure: str = ""


class CompactionNode(Protocol):
    def compact(self, task: CompactionTask) -> CompactionResult:
        """Writes and uploads the outputs; they are not in any manifest yet."""


class CompactionCoordinator(Protocol):
    def compact(self, collection_id: int, target_bytes: int | None) -> int:
        """Starts to rewrite a collection, into segments of the usual size or of up to `target_bytes`.

        Returns an id to ask `plans` by.
        """

    def plans(self, compaction_id: int) -> list[CompactionPlan]:
        """[] where the id is not known (any more): nothing of it is under way."""

    def plans_of(self, collection_id: int) -> list[CompactionPlan]:
        """Of every compaction of the collection that was asked for and is remembered."""


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
