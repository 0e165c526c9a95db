"""HNSW: a navigable small-world graph (Malkov and Yashunin, arXiv:1603.09320), on faiss' kernel.

The index keeps a copy of the vectors (normalised ones for COSINE).
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.index.faiss_index import FaissIndex, add_vectors, faiss, faiss_metric, read_faiss
from elanus.model.types import Metric


class HnswIndex(FaissIndex):
    type = "HNSW"
    exact_below = 0.03

    def _parameters(self, params: dict[str, Any], selector: Any, share: float) -> Any:
        if selector is None:
            return faiss.SearchParametersHNSW(efSearch=params["ef"])
        # Unselected rows end the walk early; measured, this much wider a beam keeps the recall.
        return faiss.SearchParametersHNSW(efSearch=math.ceil(params["ef"] / math.sqrt(share)), sel=selector)


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
