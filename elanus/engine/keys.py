"""Sorted primary keys: which rows of a segment hold a given key.

INT64 keys are sorted as they are. VARCHAR keys are sorted by a 64-bit hash and every match is verified
against the strings: 12 bytes a row whatever the length of the keys, and a look-up is one binary search.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

Rows = npt.NDArray[np.int64]

LONGEST_VECTORISED = 256
"""Bytes; longer strings are hashed one by one (a step of the vectorised hash handles 8 bytes of each row)."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_FINISH = np.uint64(0xD6E8FEB86659FD93)
_SHIFT = np.uint64(32)


class Probe:
    """Keys to look up, prepared once for many segments."""

    def __init__(self, keys: pa.Array) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def sortable(self) -> npt.NDArray[np.int64] | npt.NDArray[np.uint64]:
        return sortable(self.keys)


class KeyIndex:
    """The rows of a block in the order of their keys. `keys`: int64 or large_string, no nulls."""

    def __init__(self, keys: pa.Array) -> None:
        self.keys = keys
        self.exact = pa.types.is_integer(keys.type)
        values = sortable(keys)
        if len(values) < 2 or bool(np.all(values[:-1] <= values[1:])):
            self.sorted, self.order = values, None
        else:
            order = np.argsort(values, kind="stable")
            self.sorted, self.order = values[order], order.astype(np.uint32)

    def match(self, probe: Probe) -> tuple[Rows, Rows]:
        """Pairs (position in `probe`, row) of equal keys; a key may be in many rows, a row in many pairs."""
        values = probe.sortable
        left = np.searchsorted(self.sorted, values, side="left")
        right = np.searchsorted(self.sorted, values, side="right")
        counts = right - left
        positions = np.repeat(np.arange(len(values), dtype=np.int64), counts)
        if not len(positions):
            return positions, positions
        ends = np.cumsum(counts)
        places = np.arange(ends[-1], dtype=np.int64) + np.repeat(left - (ends - counts), counts)
        rows = places if self.order is None else self.order[places].astype(np.int64)
        if not self.exact:
            same = pc.equal(self.keys.take(pa.array(rows)), probe.keys.take(pa.array(positions)))
            equal = same.to_numpy(zero_copy_only=False)
            positions, rows = positions[equal], rows[equal]
        return positions, rows


def sortable(keys: pa.Array) -> npt.NDArray[np.int64] | npt.NDArray[np.uint64]:
    """INT64 keys themselves, hashes of VARCHAR keys."""
    if pa.types.is_integer(keys.type):
        return keys.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]  # pyarrow is untyped
    return hashes(keys)


def ranks(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Numbers that order as the keys do; equal for equal keys. Strings order by their UTF-8 bytes."""
    if pa.types.is_integer(keys.type):
        return keys.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]  # pyarrow is untyped
    return pc.rank(keys, tiebreaker="dense").to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def hashes(strings: pa.Array) -> npt.NDArray[np.uint64]:
    """(n,) 64-bit hash of each string; multiply and fold over 8-byte words, the length as the seed."""
    strings = strings if pa.types.is_large_string(strings.type) else strings.cast(pa.large_string())
    _, offset_buffer, data = strings.buffers()
    count = len(strings)
    if not count:
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(offset_buffer, np.int64)[strings.offset : strings.offset + count + 1]
    starts, lengths = offsets[:-1], np.diff(offsets)
    values = lengths.astype(np.uint64) * _MULTIPLIER
    raw = np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8)
    if len(raw) < 8:
        raw = np.concatenate([raw, np.zeros(8 - len(raw), np.uint8)])
    last = len(raw) - 8
    words = np.ndarray((last + 1,), dtype="<u8", buffer=raw, strides=(1,))
    short = lengths <= LONGEST_VECTORISED
    longest = int(lengths.max(initial=0, where=short))
    rows: npt.NDArray[np.int64] | slice = slice(None)
    for done in range(0, longest, 8):
        if done or longest < int(lengths.max()):
            rows = np.flatnonzero((lengths > done) & short)
        places = np.minimum(starts[rows] + done, last)
        # Near the end of the data the word is read earlier and shifted into place.
        word = words[places] >> ((starts[rows] + done - places).clip(0, 7).astype(np.uint64) << np.uint64(3))
        spare = (8 - np.minimum(lengths[rows] - done, 8)).clip(0, 7).astype(np.uint64) << np.uint64(3)
        word = (word << spare) * (lengths[rows] > done)
        mixed = (values[rows] ^ word) * _MULTIPLIER
        values[rows] = mixed ^ (mixed >> _SHIFT)
    values = (values ^ (values >> _SHIFT)) * _FINISH
    values ^= values >> _SHIFT
    for row in np.flatnonzero(~short):
        values[row] = xxhash.xxh3_64_intdigest(raw[offsets[row] : offsets[row + 1]].tobytes())
    return values
