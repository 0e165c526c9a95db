"""IVF_PQ: as IVF_FLAT, a vector as `m` codes of `nbits` bits (Jegou et al., product quantization, 2011)."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.index.faiss_index import faiss, faiss_metric, read_faiss
from elanus.engine.index.ivf_flat import ROWS_PER_LIST, IvfFlatIndex, coarse, filled, list_count
from elanus.model.types import Metric


class IvfPqIndex(IvfFlatIndex):
    type = "IVF_PQ"


def build(
    vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int
) -> IvfPqIndex:
    """`params`: nlist, m, nbits; fewer bits where there are too few vectors to train so many centroids."""
    rows, dim = vectors.shape
    lists = list_count(rows, params["nlist"])
    bits = max(1, min(params["nbits"], (rows // ROWS_PER_LIST).bit_length() - 1))
    index = faiss.IndexIVFPQ(coarse(dim, metric), dim, lists, params["m"], bits, faiss_metric(metric))
    return IvfPqIndex(filled(index, vectors, metric, max(lists, 1 << bits), threads), metric)


def load(path: Path, metric: Metric) -> IvfPqIndex:
    """The lists stay in the file's mapped pages."""
    return IvfPqIndex(read_faiss(path, faiss.IO_FLAG_MMAP_IFC), metric)
