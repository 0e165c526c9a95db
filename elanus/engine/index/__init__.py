"""Vector indexes by the protocol's type name: how each is built and loaded.

A family is a module with `build` and `load`; what parameters it takes stands in `model.index_parameters`.
FLAT and BIN_FLAT have no index file: their search is the exact one over the segment's vectors, which are
always there. The kernels are imported when the first index is built or loaded.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from elanus.engine.index.nullable import without_nulls
from elanus.engine.index.vector_index import StoredIndex, VectorIndex
from elanus.model.errors import InvalidParameter
from elanus.model.types import Metric

__all__ = ["StoredIndex", "VectorIndex", "build", "load", "without_nulls"]


class Family(Protocol):
    """The two phases that make an index of one type."""

    def build(
        self, vectors: npt.NDArray[Any], metric: Metric, params: dict[str, Any], threads: int
    ) -> StoredIndex: ...
    def load(self, path: Path, metric: Metric) -> VectorIndex: ...


def build(
    type: str, vectors: npt.NDArray[Any], metric: Metric, params: dict[str, Any], threads: int = 1
) -> StoredIndex:
    """Index (n, dim) float32 vectors, or (n, dim / 8) uint8 of binary ones, n >= 1.

    `params` as `check_build` returned them.
    """
    return _family(type).build(np.asarray(vectors), metric, params, threads)


def load(type: str, path: Path, metric: Metric) -> VectorIndex:
    """Open a file that `VectorIndex.save` wrote, mapped where the family can.

    Raises CorruptError or NewerFormatError with the file's name.
    """
    return _family(type).load(path, metric)


def _family(type: str) -> Family:
    match type:
        case "HNSW":
            from elanus.engine.index import hnsw

            return hnsw
        case "IVF_FLAT":
            from elanus.engine.index import ivf_flat

            return ivf_flat
        case "IVF_SQ8":
            from elanus.engine.index import ivf_sq8

            return ivf_sq8
        case "IVF_PQ":
            from elanus.engine.index import ivf_pq

            return ivf_pq
        case "BIN_IVF_FLAT":
            from elanus.engine.index import bin_ivf_flat

            return bin_ivf_flat
    raise InvalidParameter(
        f"index type {type} has no index file; HNSW, IVF_FLAT, IVF_SQ8, IVF_PQ and BIN_IVF_FLAT have"
    )
