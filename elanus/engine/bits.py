"""Distances of binary vectors: (n, w) uint8 rows of packed bits."""

from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.model.types import Metric

Bits = npt.NDArray[np.uint8]

ROWS_AT_ONCE = 8192
"""Rows compared at a time: what they need fits in the cache."""
_COUNTS = np.array([bin(byte).count("1") for byte in range(1 << 8)], np.uint8)


def distances(query: Bits, rows: Bits, metric: Metric) -> npt.NDArray[np.float32]:
    """(n,) float32: differing bits (HAMMING), or 1 - |a and b| / |a or b| (JACCARD; 1 where both are 0)."""
    found = np.empty(len(rows), np.float32)
    query, rows = _words(query[None])[0], _words(rows)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block, out = rows[start : start + ROWS_AT_ONCE], found[start : start + ROWS_AT_ONCE]
        if metric is Metric.HAMMING:
            out[:] = _count(block ^ query)
            continue
        either = _count(block | query).astype(np.float64)
        either[either == 0] = np.inf
        out[:] = 1 - _count(block & query) / either
    return found


def _words(rows: Bits) -> npt.NDArray[Any]:
    """The same bits in the widest integers that a row is a multiple of."""
    if not rows.flags.c_contiguous:
        rows = np.ascontiguousarray(rows)
    for width in (8, 4, 2):
        if rows.shape[1] % width == 0:
            return rows.view(f"u{width}")
    return rows


def _count(words: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(n,) set bits of each row."""
    counter: Any = getattr(np, "bitwise_count", None)  # NumPy 2
    if counter is not None:
        return np.sum(counter(words), axis=1, dtype=np.int64)  # type: ignore[no-any-return]
    return np.sum(_COUNTS[words.view(np.uint8)], axis=1, dtype=np.int64)  # type: ignore[no-any-return]
