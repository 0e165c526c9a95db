"""IVF_FLAT: vectors in lists by their nearest centroid, on faiss' kernel.

The index keeps a copy of the vectors (normalised ones for COSINE).
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.index.faiss_index import (
    FaissIndex,
    add_vectors,
    faiss,
    faiss_metric,
    normalised,
    read_faiss,
)
from elanus.model.types import Metric

ROWS_PER_LIST = 39
"""k-means wants at least so many vectors a centroid; `nlist` is lowered where there are fewer."""
TRAINED_PER_LIST = 256
"""More vectors a centroid do not improve k-means: the build trains on a sample."""
SEED = 1234


class IvfFlatIndex(FaissIndex):
    type = "IVF_FLAT"
    exact_below = 0.05

    def _parameters(self, params: dict[str, Any], selector: Any, share: float) -> Any:
        probes = min(params["nprobe"], self._index.nlist)
        if selector is None:
            return faiss.SearchParametersIVF(nprobe=probes)
        return faiss.SearchParametersIVF(nprobe=probes, sel=selector)


def build(
    vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int
) -> IvfFlatIndex:
    """`params`: nlist."""
    faiss.omp_set_num_threads(threads)
    rows, dim = vectors.shape
    lists = max(1, min(params["nlist"], rows // ROWS_PER_LIST))
    quantizer = faiss.IndexFlat(dim, faiss_metric(metric))
    index = faiss.IndexIVFFlat(quantizer, dim, lists, faiss_metric(metric))
    index.cp.spherical = metric is Metric.COSINE
    index.train(_sample(vectors, lists * TRAINED_PER_LIST, metric))
    add_vectors(index, vectors, metric)
    return IvfFlatIndex(index, metric)


def load(path: Path, metric: Metric) -> IvfFlatIndex:
    """The lists stay in the file's mapped pages."""
    return IvfFlatIndex(read_faiss(path, faiss.IO_FLAG_MMAP_IFC), metric)


def _sample(vectors: npt.NDArray[np.float32], size: int, metric: Metric) -> npt.NDArray[np.float32]:
    """Vectors to train on; the same ones for the same input."""
    if len(vectors) > size:
        chosen = np.random.default_rng(SEED).choice(len(vectors), size, replace=False)
        vectors = vectors[np.sort(chosen)]
    return normalised(vectors) if metric is Metric.COSINE else np.ascontiguousarray(vectors)
