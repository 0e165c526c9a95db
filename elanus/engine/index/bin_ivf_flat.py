"""BIN_IVF_FLAT: binary vectors in lists by their nearest centroid, which is binary too.

The index keeps a copy of the vectors in the order of the lists.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.bits import Bits, distances
from elanus.engine.index import array_file
from elanus.engine.index.ivf_flat import SEED, TRAINED_PER_LIST, list_count
from elanus.engine.index.vector_index import Mask, Matrix, Rows, in_range, top_k
from elanus.model.errors import CorruptError
from elanus.model.types import Metric

TRAINING_BYTES = 256 << 20
"""Of the sample, a float32 a bit, that k-means works on."""
ITERATIONS = 10


class BinIvfFlatIndex:
    """`centroids` (lists, w); `starts` (lists + 1,); `rows` (n,) uint32 and `codes` (n, w) list by list."""

    type = "BIN_IVF_FLAT"
    exact_below = 0.05

    def __init__(
        self,
        centroids: Bits,
        starts: npt.NDArray[np.int64],
        rows: npt.NDArray[np.uint32],
        codes: Bits,
        metric: Metric,
    ) -> None:
        self.metric = metric
        self.rows = len(rows)
        self._centroids = centroids
        self._starts = starts
        self._rows = rows
        self._codes = codes

    def save(self, path: Path) -> None:
        arrays: dict[str, npt.NDArray[Any]] = {
            "centroids": self._centroids,
            "starts": self._starts,
            "rows": self._rows,
            "codes": self._codes,
        }
        array_file.save(path, arrays, {"type": self.type})

    def search(
        self, queries: Bits, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        return self._scan(queries, k, mask, params, ranged=False)

    def range_search(
        self, queries: Bits, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        return self._scan(queries, k, mask, params, ranged=True)

    def _scan(
        self, queries: Bits, k: int, mask: Mask | None, params: dict[str, Any], *, ranged: bool
    ) -> tuple[Matrix, Rows]:
        owners, scores, rows = [], [], []
        for number, query in enumerate(queries):
            found, places = self._probe(query, mask, params["nprobe"])
            if ranged:
                kept = in_range(found, self.metric, params)
                found, places = found[kept], places[kept]
            elif len(found) > k:
                kept = found <= np.partition(found, k - 1)[k - 1]
                found, places = found[kept], places[kept]
            owners.append(np.full(len(found), number, np.int64))
            scores.append(found)
            rows.append(places)
        return top_k(
            np.concatenate(owners), np.concatenate(scores), np.concatenate(rows), len(queries), k, self.metric
        )

    def _probe(self, query: Bits, mask: Mask | None, nprobe: int) -> tuple[Matrix, Rows]:
        """Distances and rows of what the nearest lists hold where `mask`."""
        near = np.argsort(distances(query, self._centroids, self.metric), kind="stable")[:nprobe]
        ranges = [slice(self._starts[i], self._starts[i + 1]) for i in near]
        rows = np.concatenate([self._rows[r] for r in ranges]).astype(np.int64)
        codes = np.concatenate([self._codes[r] for r in ranges])
        if mask is not None:
            kept = mask[rows]
            rows, codes = rows[kept], codes[kept]
        return distances(query, codes, self.metric), rows


def build(vectors: Bits, metric: Metric, params: dict[str, Any], threads: int) -> BinIvfFlatIndex:
    """`params`: nlist."""
    centroids = _trained(vectors, list_count(len(vectors), params["nlist"]), threads)
    lists = _assigned(vectors, centroids, threads)
    order = np.argsort(lists, kind="stable")
    starts = np.searchsorted(lists[order], np.arange(len(centroids) + 1))
    return BinIvfFlatIndex(centroids, starts, order.astype(np.uint32), vectors[order], metric)


def load(path: Path, metric: Metric) -> BinIvfFlatIndex:
    """The lists stay in the file's mapped pages."""
    arrays, facts = array_file.load(path)
    if facts.get("type") != BinIvfFlatIndex.type:
        raise CorruptError(f"index file {path} holds {facts.get('type')!r} instead of {BinIvfFlatIndex.type}")
    return BinIvfFlatIndex(arrays["centroids"], arrays["starts"], arrays["rows"], arrays["codes"], metric)


def _trained(vectors: Bits, lists: int, threads: int) -> Bits:
    """(lists, w) centroids: k-means over the bits as numbers, rounded to bits."""
    from elanus.engine.index.faiss_index import faiss

    faiss.omp_set_num_threads(threads)
    bits = 8 * vectors.shape[1]
    size = max(lists, min(lists * TRAINED_PER_LIST, TRAINING_BYTES // (4 * bits)))
    if len(vectors) > size:
        chosen = np.random.default_rng(SEED).choice(len(vectors), size, replace=False)
        vectors = vectors[np.sort(chosen)]
    numbers = np.unpackbits(vectors, axis=1).astype(np.float32)
    means = faiss.Kmeans(bits, lists, niter=ITERATIONS, seed=SEED)
    means.train(numbers)
    return np.packbits(means.centroids > 0.5, axis=1)


def _assigned(vectors: Bits, centroids: Bits, threads: int) -> Rows:
    """(n,) the nearest centroid of each vector."""
    from elanus.engine.index.faiss_index import faiss

    faiss.omp_set_num_threads(threads)
    coarse = faiss.IndexBinaryFlat(8 * vectors.shape[1])
    coarse.add(centroids)
    nearest: Rows = coarse.search(np.ascontiguousarray(vectors), 1)[1].ravel()
    return nearest
