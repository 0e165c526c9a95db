"""Vector indexes by the protocol's type name: what may be asked of each, and how it is built and loaded.

A family is a module with `build` and `load`; what parameters it takes stands in `parameters`. FLAT has no
index file: its search is the exact one over the segment's vectors, which are always there. The kernels are
imported when the first index is built or loaded, not when parameters are checked.
"""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from elanus.engine.index.parameters import check_build, check_search, resolve
from elanus.engine.index.vector_index import VectorIndex
from elanus.model.errors import InvalidParameter
from elanus.model.types import Metric

__all__ = ["VectorIndex", "build", "check_build", "check_search", "has_file", "load", "resolve"]


class Family(Protocol):
    """The two phases that make an index of one type."""

    def build(
        self, vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int
    ) -> VectorIndex: ...
    def load(self, path: Path, metric: Metric) -> VectorIndex: ...


def has_file(type: str) -> bool:
    """Whether an index of this type is built and stored; FLAT is not."""
    return resolve(type) != "FLAT"


def build(
    type: str, vectors: npt.NDArray[np.float32], metric: Metric, params: dict[str, Any], threads: int = 1
) -> VectorIndex:
    """Index (n, dim) float32 vectors, n >= 1; `params` as `check_build` returned them."""
    return _family(type).build(vectors, metric, params, threads)


def load(type: str, path: Path, metric: Metric) -> VectorIndex:
    """Open a file that `VectorIndex.save` wrote, mapped where the family can.

    Raises CorruptError or NewerFormatError with the file's name.
    """
    return _family(type).load(path, metric)


def _family(type: str) -> Family:
    match resolve(type):
        case "HNSW":
            from elanus.engine.index import hnsw

            return hnsw
        case "IVF_FLAT":
            from elanus.engine.index import ivf_flat

            return ivf_flat
    raise InvalidParameter(f"index type {type} has no index file; HNSW and IVF_FLAT have")
