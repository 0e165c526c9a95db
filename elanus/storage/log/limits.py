"""Bounds of the local log broker."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LogLimits:
    """All in bytes."""

    file: int = 64 << 20
    """A file that would grow beyond this is followed by a new one; trimming works in whole files."""
    group: int = 8 << 20
    """Records of waiting callers that share one write and one fsync."""
    batch: int = 256 << 20
    """One `append_batch`; more is refused."""
    tail: int = 32 << 20
    """Newest records of a log kept in memory for its readers."""
    read: int = 1 << 20
    """One read from a file."""
    poll: int = 16 << 20
    """Records that one `poll` returns (but at least one)."""
    index: int = 1 << 20
    """Distance of the positions remembered of a file; a reader that starts skips half of it on average."""
    entry_overhead: int = 256
    """What a record in memory counts beyond its data."""
