"""Which channel a primary key belongs to. Stored data depends on it: it never changes."""

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
