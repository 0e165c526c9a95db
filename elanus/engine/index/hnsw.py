"""HNSW: a navigable small-world graph (Malkov and Yashunin, arXiv:1603.09320), on faiss' kernel.

The index keeps a copy of the vectors (normalised ones for COSINE).
"""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.index.faiss_index import FaissIndex, add_vectors, faiss, faiss_metric, read_faiss
from elanus.engine.index.vector_index import Mask, Matrix, Rows, in_range, top_k
from elanus.model.types import Metric

PARAMETERS_KEPT = 64
RANGE_WIDENING = 4
"""How much deeper a range search looks again."""
RANGE_PAIRS = 1 << 22
"""Hits of a range search that are looked at together; beyond it each query is searched for itself."""


class HnswIndex(FaissIndex):
    type = "HNSW"
    exact_below = 0.03

    def _parameters(self, params: dict[str, Any], selector: Any, share: float) -> Any:
        if selector is None:
            return _plain_parameters(params["ef"])
        # Unselected rows end the walk early; measured, this much wider a beam keeps the recall.
        return faiss.SearchParametersHNSW(efSearch=math.ceil(params["ef"] / math.sqrt(share)), sel=selector)

    def range_search(
        self, queries: Matrix, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        """The kernel's own would end `ef` rows from the query, wherever the range begins: so this looks
        deeper until the range is passed or full."""
        selected = self.rows if mask is None else int(np.count_nonzero(mask))
        depth = min(max(2 * k, params["ef"]), selected)
        while True:
            if depth * len(queries) > RANGE_PAIRS and len(queries) > 1:
                found = [
                    self.range_search(queries[i : i + 1], k, mask, params, threads)
                    for i in range(len(queries))
                ]
                return np.concatenate([s for s, _ in found]), np.concatenate([r for _, r in found])
            deep = {**params, "ef": max(params["ef"], depth)}
            scores, rows = self.search(queries, depth, mask, deep, threads)
            inside = (rows >= 0) & in_range(scores, self.metric, params)
            full = np.count_nonzero(inside, axis=1) >= k
            radius = np.float32(params["radius"])
            past = scores[:, -1] <= radius if self.metric.larger_is_nearer else scores[:, -1] >= radius
            if depth >= selected or bool(np.all(full | past | (rows[:, -1] < 0))):
                owner, _ = np.nonzero(inside)
                return top_k(owner, scores[inside], rows[inside], len(queries), k, self.metric)
            depth = min(depth * RANGE_WIDENING, selected)


# Any: faiss has no types. Making one costs a tenth of a small index's search; searches only read it.
@lru_cache(PARAMETERS_KEPT)
def _plain_parameters(ef: int) -> Any:
    return faiss.SearchParametersHNSW(efSearch=ef)


def build(
    vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int
) -> HnswIndex:
    """`params`: M, efConstruction."""
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.shape[1], params["M"], faiss_metric(metric))
    index.hnsw.efConstruction = params["efConstruction"]
    add_vectors(index, vectors, metric)
    return HnswIndex(index, metric)


def load(path: Path, metric: Metric) -> HnswIndex:
    """Graph and vectors stay in the file's mapped pages."""
    return HnswIndex(read_faiss(path, faiss.IO_FLAG_MMAP_IFC), metric)
