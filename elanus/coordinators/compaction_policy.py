"""Which segments of a channel are worth rewriting."""

from collections.abc import Sequence

import msgspec

from elanus.model.columns import ALL_PARTITIONS
from elanus.model.nouns import Manifest, Segment


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    automatic: bool
    """Whether segments are rewritten without being asked."""
    target_bytes: int
    """The size that segments are merged to."""
    small_share: float
    """A segment below this share of the target is merged with others."""
    merge_segments: int
    """So many small segments of a channel are merged without being asked."""
    growth: float
    """The largest segment of a merge is at most so many times as large as all smaller ones together: a large
    one is not rewritten for the sake of a few small ones."""
    dead_share: float
    """A segment of whose rows this share is deleted or expired is rewritten."""
    retention_seconds: float
    """Reads may go so far back: deleted rows are kept that long."""
    check_seconds: float
    jobs: int
    """Rewrites at a time."""
    attempts: int
    retry_seconds: float
    remembered: int
    """Compactions whose outcome can be asked for."""


def small_runs(segments: Sequence[Segment], policy: CompactionPolicy) -> list[list[Segment]]:
    """Groups of small segments, each to become one segment."""
    small = [s for s in segments if s.bytes < policy.small_share * policy.target_bytes]
    runs: list[list[Segment]] = [[]]
    size = 0
    for segment in _worth_merging(sorted(small, key=lambda s: s.bytes), policy.growth):
        if runs[-1] and size + segment.bytes > policy.target_bytes:
            runs.append([])
            size = 0
        runs[-1].append(segment)
        size += segment.bytes
    return [run for run in runs if len(run) >= policy.merge_segments]


def _worth_merging(ascending: list[Segment], growth: float) -> list[Segment]:
    """Up to the largest one that is not too large beside all smaller ones together."""
    below = 0
    last = 0
    for number, segment in enumerate(ascending):
        if segment.bytes <= growth * below:
            last = number + 1
        below += segment.bytes
    return ascending[:last]


def packed(segments: Sequence[Segment], target_bytes: int) -> list[list[Segment]]:
    """All segments in few groups of at most about the target; a larger one is a group of its own."""
    groups: list[list[Segment]] = []
    sizes: list[int] = []
    for segment in sorted(segments, key=lambda s: -s.bytes):
        place = next((i for i, size in enumerate(sizes) if size + segment.bytes <= target_bytes), None)
        if place is None:
            groups.append([segment])
            sizes.append(segment.bytes)
        else:
            groups[place].append(segment)
            sizes[place] += segment.bytes
    return groups


def dead_rows(segment: Segment, manifest: Manifest, expired_below: int) -> float:
    """At most so many rows are deleted, and about so many expired; counted without a look at the rows."""
    passed = max(segment.min_ts, segment.deletes_applied_to)
    dead: float = segment.deleted + sum(f.rows for f in manifest.delete_files if f.max_ts > passed)
    for hidden in manifest.range_deletes:
        if hidden.ts > segment.deletes_applied_to and hidden.as_of >= segment.min_ts:
            dead += sum(
                p.end - p.start
                for p in segment.partitions
                if hidden.partition_id in (ALL_PARTITIONS, p.partition_id)
            )
    if segment.max_ts < expired_below:
        return segment.rows
    if segment.min_ts < expired_below:
        span = segment.max_ts - segment.min_ts + 1
        dead += segment.rows * (expired_below - segment.min_ts) / span
    return min(dead, segment.rows)
