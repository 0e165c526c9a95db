"""Light indexes of blocks: made when searches have compared a block's vectors one by one often enough.

A block that nobody searches costs nothing; one that is searched is compared for about as long as an index
takes to make, so that in the end it has cost at most twice of what would have been best.
"""

from functools import partial
from threading import Lock

import numpy as np
import pyarrow as pa

from elanus.engine.index.nullable import without_nulls
from elanus.engine.index.vector_index import VectorIndex
from elanus.engine.index.window import window
from elanus.engine.keys import Rows
from elanus.engine.reader import FEW_ROWS, Matrix, valid_mask
from elanus.model.columns import as_floats, as_matrix
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric


class LightIndexes:
    """The light indexes of a block's fields, and how many queries went without. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._indexes: dict[int, VectorIndex] = {}
        self._queries: dict[int, int] = {}
        self._closed: set[int] = set()

    def get(self, field_id: int) -> VectorIndex | None:
        """The index over the whole block."""
        return self._indexes.get(field_id)

    def wanted(self, field_id: int, queries: int, enough: int) -> bool:
        """Note that so many queries were compared with all vectors; True for the one that makes it enough.

        Whoever gets True makes the index and calls `put`, or `again`.
        """
        with self._lock:
            before = self._queries.get(field_id, 0)
            if before >= enough or field_id in self._closed:
                return False
            self._queries[field_id] = before + queries
            return before + queries >= enough

    def again(self, field_id: int) -> None:
        """Count from the beginning: this time it could not be made."""
        with self._lock:
            self._queries.pop(field_id, None)

    def put(self, field_id: int, index: VectorIndex) -> bool:
        """Whether it is still needed."""
        with self._lock:
            if field_id in self._closed:
                return False
            self._indexes[field_id] = index
            return True

    def close(self, field_id: int) -> None:
        """The field has an index of its own now, or the block is done with."""
        with self._lock:
            self._closed.add(field_id)
            self._indexes.pop(field_id, None)

    def window(self, field_id: int, start: int, rows: int) -> VectorIndex | None:
        """The index over rows [start, start + rows)."""
        found = self.get(field_id)
        return None if found is None else window(found, start, rows)


def build(
    column: pa.Array, field: Field, metric: Metric, recall: float, threads: int = 1
) -> VectorIndex | None:
    """A light index of a column of vectors that are not binary; None where it does not suit them."""
    # The kernel is imported when it is needed.
    from elanus.engine.index import light

    matrix = as_floats(as_matrix(column, field.type), field.type)
    valid = valid_mask(column)
    if valid is None:
        return light.build(matrix, partial(_vectors, column, field.type), metric, recall, threads)
    numbers = np.flatnonzero(valid)
    built = light.build(
        matrix[numbers],
        lambda rows: _vectors(column, field.type, numbers[rows]),
        metric,
        recall,
        threads,
    )
    return None if built is None else without_nulls(built, valid)


def bytes_of(rows: int, field: Field) -> int:
    """Memory that the index of so many vectors takes at most: half a byte an element, the row's number."""
    return rows * (field.dim // 2 + 9)


def _vectors(column: pa.Array, type: DataType, rows: Rows) -> Matrix:
    """(m, dim) vectors of some rows."""
    if len(rows) > FEW_ROWS:
        # Arrow's take lets other threads run; NumPy's does not.
        return as_floats(as_matrix(column.take(pa.array(rows)), type), type)
    return as_floats(as_matrix(column, type)[rows], type)
