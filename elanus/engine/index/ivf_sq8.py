"""IVF_SQ8: as IVF_FLAT, each element of a vector in one byte, on faiss' kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from elanus.engine.index.faiss_index import faiss, faiss_metric, read_faiss
from elanus.engine.index.ivf_flat import IvfFlatIndex, coarse, filled, list_count
from elanus.model.types import Metric


class IvfSq8Index(IvfFlatIndex):
    type = "IVF_SQ8"


def build(
    vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int
) -> IvfSq8Index:
    """`params`: nlist."""
    lists = list_count(len(vectors), params["nlist"])
    dim = vectors.shape[1]
    index = faiss.IndexIVFScalarQuantizer(
        coarse(dim, metric), dim, lists, faiss.ScalarQuantizer.QT_8bit, faiss_metric(metric)
    )
    return IvfSq8Index(filled(index, vectors, metric, lists, threads), metric)


def load(path: Path, metric: Metric) -> IvfSq8Index:
    """The lists stay in the file's mapped pages."""
    return IvfSq8Index(read_faiss(path, faiss.IO_FLAG_MMAP_IFC), metric)
