"""Timestamps: 64 bits, milliseconds since the epoch above an 18-bit counter (the Milvus layout)."""

from dataclasses import dataclass

SHIFT = 18
LATEST = (1 << 63) - 1
"""A read at LATEST sees everything applied; no record has a timestamp as high."""


def from_ms(ms: int) -> int:
    return ms << SHIFT


def to_ms(ts: int) -> int:
    return ts >> SHIFT


def next_ts(previous: int, append_ms: int, floor: int = 0) -> int:
    """The timestamp of a record: architecture, "Timestamp". Every consumer computes the same value."""
    return max(previous + 1, append_ms << SHIFT, floor)


@dataclass(frozen=True, order=True)
class Position:
    """Where a consumer may start: the next offset to read, and the clock's value below it."""

    offset: int
    ts: int
