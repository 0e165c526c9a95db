"""Exact search in binary vectors: every selected row is compared."""

from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.bits import Bits, distances
from elanus.engine.index.vector_index import in_range, top_k
from elanus.engine.keys import Rows, ranks
from elanus.engine.reader import Matrix, Reader
from elanus.engine.visibility import Mask
from elanus.model import patience
from elanus.model.types import Metric


def exact_search(
    reader: Reader,
    field_id: int,
    queries: Bits,
    k: int,
    metric: Metric,
    mask: Mask | None,
    params: dict[str, Any] | None = None,
) -> tuple[Matrix, Rows]:
    """(nq, k) distances and rows of the nearest rows where `mask`, nearest first, ties by the smaller key.

    Where `params` holds `radius`, only distances below it from `range_filter` on. Rows are -1 where fewer
    match.
    """
    selected = None if mask is None else np.flatnonzero(mask)
    blocks: list[tuple[Rows | int, Bits]]
    if selected is None:
        blocks = [(b.first, b.matrix) for b in reader.vectors(field_id)]
    else:
        blocks = [(selected, reader.vectors_at(field_id, selected))]
    owners, scores, rows = [], [], []
    for number, query in enumerate(queries):
        patience.check()
        found = np.concatenate([distances(query, matrix, metric) for _, matrix in blocks] or [_NOTHING])
        kept = _nearest(found, k, metric, params or {})
        owners.append(np.full(len(kept), number, np.int64))
        scores.append(found[kept])
        rows.append(kept if selected is None else selected[kept])
    owner, score, row = np.concatenate(owners), np.concatenate(scores), np.concatenate(rows)
    # Distances are few: most rows have company.
    return top_k(owner, score, row, len(queries), k, metric, ranks(reader.keys_at(row)))


_NOTHING = np.empty(0, np.float32)


def _nearest(found: npt.NDArray[np.float32], k: int, metric: Metric, params: dict[str, Any]) -> Rows:
    """Places of the k smallest distances and of all that equal the largest of them; or of those in range."""
    if "radius" in params:
        return np.flatnonzero(in_range(found, metric, params))
    if k >= len(found):
        return np.arange(len(found))
    return np.flatnonzero(found <= np.partition(found, k - 1)[k - 1])
