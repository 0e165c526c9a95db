"""The light index of rows that have no other yet: made in a moment, kept in memory, never stored.

Codes of half a byte for two elements (Jegou et al., product quantization, 2011) are compared instead of all
vectors (Andre et al., quicker ADC, 2019: sixteen table look-ups an instruction). They choose candidates, and
the vectors themselves, which are there anyway, decide. How many candidates there must be is measured on the
rows when the index is made. No list and no graph leaves rows out: neither filters nor queries that are unlike
the rows cost recall.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.exact import exact_scores
from elanus.engine.index.faiss_index import (
    NORMALISED_AT_ONCE,
    FaissIndex,
    add_vectors,
    faiss,
    faiss_metric,
    normalised,
)
from elanus.engine.index.vector_index import Mask, Matrix, Rows, in_range, top_k
from elanus.model.types import Metric

PAIRED_FROM = 64
"""Dimensions; with fewer, or an odd number, every element has a code of its own."""
CODE_BITS = 4
TRAINED_ROWS = 8192
TRAINING_ROUNDS = 6
DEPTHS = (16, 128)
"""Hits of the searches that the number of candidates is measured with."""
SAMPLE = 64
"""Rows whose neighbours are searched to measure it."""
MOST_CANDIDATES = 1 / 16
"""Share of the rows; where it takes more, comparing all is as quick."""
SCORED_AT_ONCE = 1 << 20
"""Elements of candidates that are compared in double precision at a time."""
LARGEST = 1e15
"""Vectors with larger numbers are not indexed: their products leave the range of single precision."""

At = Callable[[Rows], Matrix]
"""(m, dim) float32 vectors of some rows."""


class LightIndex:
    """A `VectorIndex` over the vectors that `at` returns. `candidates`: how many for each of DEPTHS."""

    type = "LIGHT"
    exact_below = 0.05

    def __init__(self, codes: "_Codes", at: At, candidates: tuple[int, ...]) -> None:
        self.metric = codes.metric
        self.rows = codes.rows
        self.candidates = candidates
        self._codes = codes
        self._at = at

    def search(
        self, queries: Matrix, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        """Exact scores. `ef` asks for as many candidates. Finds nothing where comparing all is as quick."""
        candidates = max(self._enough(k), params.get("ef") or 0)
        if candidates > max(DEPTHS[0], MOST_CANDIDATES * self.rows):
            return top_k(*_nothing(), len(queries), k, self.metric)
        return self.scored(queries, k, mask, candidates, threads)

    def range_search(
        self, queries: Matrix, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        """Compares all rows: codes do not tell where a range ends."""
        selected = np.arange(self.rows) if mask is None else np.flatnonzero(mask)
        owners = np.repeat(np.arange(len(queries)), len(selected))
        rows = np.tile(selected, len(queries))
        scores = self.scores_of(queries, owners, rows)
        inside = in_range(scores, self.metric, params)
        return top_k(owners[inside], scores[inside], rows[inside], len(queries), k, self.metric)

    def scored(
        self, queries: Matrix, k: int, mask: Mask | None, candidates: int, threads: int
    ) -> tuple[Matrix, Rows]:
        """The k best of so many candidates."""
        rows = self._codes.search(queries, min(candidates, self.rows), mask, {}, threads)[1]
        owners, places = np.nonzero(rows >= 0)
        found = rows[owners, places]
        return top_k(owners, self.scores_of(queries, owners, found), found, len(queries), k, self.metric)

    def scores_of(self, queries: Matrix, owners: Rows, rows: Rows) -> Matrix:
        """(m,) scores of rows for the queries that `owners` names, as the exact search gives them."""
        scores = np.empty(len(rows), np.float32)
        at_once = max(1, SCORED_AT_ONCE // queries.shape[1])
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            scores[part] = exact_scores(queries[owners[part]], self._at(rows[part]), self.metric)
        return scores

    def _enough(self, k: int) -> int:
        """A power law through what was measured."""
        near, far = (math.log(c) for c in self.candidates)
        slope = max(0.0, far - near) / math.log(DEPTHS[1] / DEPTHS[0])
        measured = math.exp(near + slope * math.log(max(k, DEPTHS[0]) / DEPTHS[0]))
        return max(k, math.ceil(measured - 1e-6))


class _Codes(FaissIndex):
    """One list of codes, of which a bitmap may choose some."""

    type = "LIGHT"
    exact_below = LightIndex.exact_below

    def _parameters(self, params: dict[str, Any], selector: Any, share: float) -> Any:
        return faiss.SearchParametersIVF(nprobe=1, sel=selector)


def build(
    vectors: npt.NDArray[np.float32], at: At, metric: Metric, recall: float, threads: int = 1
) -> LightIndex | None:
    """Index (n, dim) vectors so that searches find this share of the true neighbours.

    None where codes do not tell the vectors apart well enough. Holds the interpreter's lock for moments only.
    """
    largest = max(float(vectors.max(initial=0)), -float(vectors.min(initial=0)))
    if MOST_CANDIDATES * len(vectors) <= DEPTHS[-1] or not largest < LARGEST:
        return None
    faiss.omp_set_num_threads(threads)
    dim = vectors.shape[1]
    parts = dim // 2 if dim >= PAIRED_FROM and dim % 2 == 0 else dim
    whole = faiss.IndexFlat(dim, faiss_metric(metric))
    index = faiss.IndexIVFPQFastScan(whole, dim, 1, parts, CODE_BITS, faiss_metric(metric))
    index.pq.cp.niter = TRAINING_ROUNDS
    sample = np.ascontiguousarray(vectors[:: -(-len(vectors) // TRAINED_ROWS)])
    index.train(normalised(sample) if metric is Metric.COSINE else sample)
    add_vectors(index, vectors, metric)
    codes = _Codes(index, metric)
    candidates = _measured(LightIndex(codes, at, ()), vectors, recall, threads)
    return None if candidates is None else LightIndex(codes, at, candidates)


def _measured(index: LightIndex, vectors: Matrix, recall: float, threads: int) -> tuple[int, ...] | None:
    """The candidates that are enough for each of DEPTHS; None where it takes too many."""
    queries = np.ascontiguousarray(vectors[:: -(-len(vectors) // SAMPLE)])
    truth = _nearest(queries, vectors, index, threads)
    enough: list[int] = []
    for depth in DEPTHS:
        tried = depth + 1
        while (
            _recall(truth, index.scored(queries, depth + 1, None, tried, threads)[0], index.metric) < recall
        ):
            tried *= 2
            if tried > MOST_CANDIDATES * index.rows:
                break
        enough.append(tried)
    # Deep searches may do without it; one of a few hits must not.
    return None if enough[0] > MOST_CANDIDATES * index.rows else tuple(enough)


def _nearest(queries: Matrix, vectors: Matrix, index: LightIndex, threads: int) -> Matrix:
    """(nq, DEPTHS[-1] + 1) scores of the nearest rows, the query itself among them."""
    k, metric = DEPTHS[-1] + 1, index.metric
    faiss.omp_set_num_threads(threads)
    found = []
    for start in range(0, len(vectors), NORMALISED_AT_ONCE):
        part = vectors[start : start + NORMALISED_AT_ONCE]
        if metric is Metric.COSINE:
            part = normalised(part)
        rows = faiss.knn(queries, np.ascontiguousarray(part), min(k, len(part)), faiss_metric(metric))[1]
        found.append(rows + start)
    rows = np.concatenate(found, axis=1)
    owners = np.repeat(np.arange(len(queries)), rows.shape[1])
    scores = index.scores_of(queries, owners, rows.ravel())
    return top_k(owners, scores, rows.ravel(), len(queries), k, metric)[0]


def _recall(truth: Matrix, scores: Matrix, metric: Metric) -> float:
    """Share of the hits beside the query itself that are as good as the last of as many true ones."""
    depth = scores.shape[1] - 1
    last = truth[:, depth : depth + 1]
    good = np.count_nonzero(scores >= last if metric.larger_is_nearer else scores <= last, axis=1)
    return float(np.mean(np.maximum(good - 1, 0) / depth))


def _nothing() -> tuple[Rows, Matrix, Rows]:
    return np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64)
