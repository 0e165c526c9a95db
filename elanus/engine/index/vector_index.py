"""What every vector index does, and how loose results become an answer."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from elanus.model.types import Metric

Matrix = npt.NDArray[np.float32]
# Any: float32, or the bytes of binary vectors.
Queries = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class VectorIndex(Protocol):
    """An index over the vectors of one field of one segment or block; rows are its own. Thread-safe.

    Scores are the protocol's: squared distance for L2 (smaller is nearer), inner product for IP and cosine
    similarity for COSINE (larger is nearer; that of a zero vector is 0). Where a query has fewer than k
    results, rows are -1 and scores the metric's worst (inf, -inf).
    """

    type: str
    metric: Metric
    rows: int
    exact_below: float
    """Where a smaller share of the rows is selected, the exact search is faster or much better."""

    def search(
        self, queries: Queries, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        """(nq, k) scores and rows, nearest first, of (nq, dim) queries among rows where `mask`."""

    def range_search(
        self,
        queries: Queries,
        k: int,
        mask: Mask | None,
        params: dict[str, Any],
        threads: int = 1,
    ) -> tuple[Matrix, Rows]:
        """As `search`, with scores beyond `radius` (exclusive) up to `range_filter` (inclusive) only."""


class StoredIndex(VectorIndex, Protocol):
    """One that was built to be stored."""

    def save(self, path: Path) -> None: ...


def worst(metric: Metric) -> float:
    """The score of what was not found."""
    return -np.inf if metric.larger_is_nearer else np.inf


def in_range(scores: Matrix, metric: Metric, params: dict[str, Any]) -> Mask:
    """Whether scores lie between `range_filter` (the near end, inclusive) and `radius` (exclusive)."""
    radius, inner = np.float32(params["radius"]), params.get("range_filter")
    inside = scores > radius if metric.larger_is_nearer else scores < radius
    if inner is not None:
        nearest = np.float32(inner)
        inside &= scores <= nearest if metric.larger_is_nearer else scores >= nearest
    return inside


def top_k(
    owner: Rows, scores: Matrix, rows: Rows, queries: int, k: int, metric: Metric, tie: Rows | None = None
) -> tuple[Matrix, Rows]:
    """(queries, k) best of loose results, `owner` naming the query of each; ties by `tie`, else by row."""
    cost = -scores if metric.larger_is_nearer else scores
    order = np.lexsort((rows if tie is None else tie, cost, owner))
    owner, scores, rows = owner[order], scores[order], rows[order]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner, side="left")
    kept = place < k
    best_scores = np.full((queries, k), worst(metric), np.float32)
    best_rows = np.full((queries, k), -1, np.int64)
    best_scores[owner[kept], place[kept]] = scores[kept]
    best_rows[owner[kept], place[kept]] = rows[kept]
    return best_scores, best_rows
