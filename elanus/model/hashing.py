"""Where a row lives: which channel a primary key belongs to, which partition a partition key. Stored data
depends on it: it never changes."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash


def channel_of(keys: pa.Array, channels: int) -> npt.NDArray[np.int64]:
    """(n,) the ordinal of each key's channel. INT64: the splitmix64 finalizer; VARCHAR: xxh3-64 of UTF-8."""
    if channels == 1:
        return np.zeros(len(keys), np.int64)
    if pa.types.is_int64(keys.type):
        hashed = _mix(keys.to_numpy().view(np.uint64))
    else:
        digests = (xxhash.xxh3_64_intdigest(key.encode()) for key in keys.to_pylist())
        hashed = np.fromiter(digests, np.uint64, len(keys))
    return (hashed % np.uint64(channels)).astype(np.int64)


def _mix(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


# Partition keys ------------------------------------------------------------------------------------------

_SALT = np.uint64(0x9E3779B97F4A7C15)
"""Keeps a partition key's hash apart from the primary key's."""
_BASE = np.uint64(0x100000001B3)


def partition_of(values: pa.Array, partitions: int) -> npt.NDArray[np.int64]:
    """(n,) the ordinal of the partition that each value of a partition key (INT64 or VARCHAR) lies in."""
    if pa.types.is_int64(values.type):
        hashed = _mix(values.to_numpy().view(np.uint64) + _SALT)
    else:
        hashed = _mix(_polynomial(values))
    return (hashed % np.uint64(partitions)).astype(np.int64)


def _polynomial(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """sum (byte + 1) * BASE ** position, modulo 2 ** 64, over the UTF-8 bytes of each text."""
    texts = texts.cast(pa.large_string())
    _, offsets_buffer, data = texts.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    if not len(texts) or offsets[0] == offsets[-1]:
        return np.full(len(texts), _SALT)
    lengths = np.diff(offsets)
    letters = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].astype(np.uint64) + np.uint64(1)
    powers = np.full(int(lengths.max()), _BASE)
    powers[0] = 1
    np.multiply.accumulate(powers, out=powers)
    positions = np.arange(len(letters)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    sums = np.zeros(len(letters) + 1, np.uint64)
    np.cumsum(letters * powers[positions], out=sums[1:])
    ends = offsets - offsets[0]
    hashed: npt.NDArray[np.uint64] = sums[ends[1:]] - sums[ends[:-1]] + _SALT
    return hashed
