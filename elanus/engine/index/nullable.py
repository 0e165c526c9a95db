"""The index of a field with nulls: built over the rows that have a vector, asked for the segment's rows."""

from typing import Any

import numpy as np

from elanus.engine.index.vector_index import Mask, Matrix, Queries, Rows, VectorIndex


def without_nulls(index: VectorIndex, valid: Mask | None) -> VectorIndex:
    """`index` as one over all rows, where it was built over the `valid` ones (None: all are)."""
    if valid is None or index.rows == len(valid) or index.rows != int(np.count_nonzero(valid)):
        return index
    return IndexOfValid(index, valid)


class IndexOfValid:
    """A `VectorIndex` over the rows where `valid`; the others are never found."""

    def __init__(self, index: VectorIndex, valid: Mask) -> None:
        self.type = index.type
        self.metric = index.metric
        self.rows = len(valid)
        self.exact_below = index.exact_below
        self._index = index
        self._valid = valid
        self._numbers = np.flatnonzero(valid)

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

    def _inner(self, mask: Mask | None) -> Mask | None:
        """A mask over the segment's rows as one over the index's."""
        return None if mask is None or mask is self._valid else mask[self._numbers]

    def _outer(self, rows: Rows) -> Rows:
        """The segment's rows for the index's; -1, what was not found, stays."""
        return np.where(rows < 0, -1, self._numbers[rows])
