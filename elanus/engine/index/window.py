"""The index of a block for a reader of some consecutive rows of it."""

from typing import Any

import numpy as np

from elanus.engine.index.vector_index import Mask, Matrix, Queries, Rows, VectorIndex


def window(index: VectorIndex, start: int, rows: int) -> VectorIndex:
    """`index` as one over its rows [start, start + rows)."""
    return index if rows == index.rows else IndexOfWindow(index, start, rows)


class IndexOfWindow:
    """A `VectorIndex` over rows [start, start + rows) of another."""

    def __init__(self, index: VectorIndex, start: int, rows: int) -> None:
        self.type = index.type
        self.metric = index.metric
        self.rows = rows
        self.exact_below = index.exact_below
        self._index = index
        self._start = start

    def search(
        self, queries: Queries, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        scores, rows = self._index.search(queries, k, self._inner(mask), params, threads)
        return scores, self._outer(rows)

    def range_search(
        self, queries: Queries, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        scores, rows = self._index.range_search(queries, k, self._inner(mask), params, threads)
        return scores, self._outer(rows)

    def _inner(self, mask: Mask | None) -> Mask:
        """A mask over the window as one over all rows."""
        whole = np.zeros(self._index.rows, np.bool_)
        whole[self._start : self._start + self.rows] = True if mask is None else mask
        return whole

    def _outer(self, rows: Rows) -> Rows:
        """Rows of the window; -1, what was not found, stays."""
        return np.where(rows < 0, -1, rows - self._start)
