"""What the index families on the faiss kernel share: scores, selection, files."""

import math
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import faiss as _faiss
import google_crc32c
import numpy as np
import numpy.typing as npt

from elanus.engine.index.vector_index import Mask, Matrix, Rows, in_range, top_k, worst
from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.types import Metric

# Any: faiss' type stubs know neither its keyword arguments nor half of its names.
faiss: Any = _faiss

FORMAT = 1
_FOOTER = struct.Struct("<8sHHIQ")
"""Magic, format version, reserved, CRC32C and length of the kernel's bytes before it."""
_MAGIC = b"elanusIX"
_CHECKSUM_BYTES = 4 << 20
NORMALISED_AT_ONCE = 65_536
"""Vectors that are copied at a time to be normalised during a build."""


class FaissIndex(ABC):
    """A vector index on a faiss index; a family says how it is built and searched."""

    type: str
    exact_below: float

    def __init__(self, index: Any, metric: Metric) -> None:
        self.metric = metric
        self.rows = int(index.ntotal)
        self._index = index

    @abstractmethod
    def _parameters(self, params: dict[str, Any], selector: Any, share: float) -> Any:
        """faiss search parameters; `selector` lets this share (> 0) of the rows through."""

    def save(self, path: Path) -> None:
        """Write kernel bytes and a footer with format version, length and checksum. Not synced."""
        faiss.write_index(self._index, str(path))
        length, checksum = path.stat().st_size, _checksum(path, path.stat().st_size)
        with path.open("ab") as file:
            file.write(_FOOTER.pack(_MAGIC, FORMAT, 0, checksum, length))

    def search(
        self, queries: Matrix, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        # The setting belongs to the calling thread: OpenMP keeps it per thread.
        faiss.omp_set_num_threads(threads)
        selector, _bits, share = _selector(mask)
        depth = min(k, self.rows)
        prepared = self._prepared(queries)
        scores = np.empty((len(queries), depth), np.float32)
        rows = np.empty((len(queries), depth), np.int64)
        # Past faiss' own wrapper, which checks for other kinds of arguments.
        self._index.search_c(
            len(queries),
            faiss.swig_ptr(prepared),
            depth,
            faiss.swig_ptr(scores),
            faiss.swig_ptr(rows),
            self._parameters(params, selector, share),
        )
        scores = self._protocol_scores(scores)
        # Nearest first: what was not found is at the end.
        if np.count_nonzero(rows[:, -1] < 0):
            scores[rows < 0] = worst(self.metric)
        if k > self.rows:
            missing = ((0, 0), (0, k - self.rows))
            rows = np.pad(rows, missing, constant_values=-1)
            scores = np.pad(scores, missing, constant_values=worst(self.metric))
        return scores, rows

    def range_search(
        self, queries: Matrix, k: int, mask: Mask | None, params: dict[str, Any], threads: int = 1
    ) -> tuple[Matrix, Rows]:
        faiss.omp_set_num_threads(threads)
        selector, _bits, share = _selector(mask)
        limits, scores, rows = self._index.range_search(
            self._prepared(queries), params["radius"], params=self._parameters(params, selector, share)
        )
        owner = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
        scores = self._protocol_scores(scores)
        inside = in_range(scores, self.metric, params)
        return top_k(owner[inside], scores[inside], rows[inside], len(queries), k, self.metric)

    def _prepared(self, queries: Matrix) -> Matrix:
        return normalised(queries) if self.metric is Metric.COSINE else np.ascontiguousarray(queries)

    def _protocol_scores(self, scores: Matrix) -> Matrix:
        if self.metric is Metric.COSINE:
            # Rounding takes the product of unit vectors a little beyond 1. NumPy's `clip` is slow for few.
            np.minimum(scores, 1, out=scores)
            np.maximum(scores, -1, out=scores)
        return scores


def add_vectors(index: Any, vectors: Matrix, metric: Metric) -> None:
    """Add (n, dim) vectors to a faiss index; normalised copies for COSINE, a bounded number at a time."""
    if metric is not Metric.COSINE:
        index.add(np.ascontiguousarray(vectors))
        return
    for start in range(0, len(vectors), NORMALISED_AT_ONCE):
        index.add(normalised(vectors[start : start + NORMALISED_AT_ONCE]))


def faiss_metric(metric: Metric) -> int:
    return int(faiss.METRIC_L2 if metric is Metric.L2 else faiss.METRIC_INNER_PRODUCT)


def read_faiss(path: Path, flags: int, verify: bool = True) -> Any:
    """The faiss index of a file that `save` wrote; `verify` reads it all once and compares the checksum.

    Raises CorruptError or NewerFormatError: the kernel itself must not see a damaged file.
    """
    size = path.stat().st_size
    if size < _FOOTER.size:
        raise CorruptError(f"index file {path} has only {size} bytes")
    with path.open("rb") as file:
        file.seek(size - _FOOTER.size)
        magic, version, _, checksum, length = _FOOTER.unpack(file.read(_FOOTER.size))
    if magic != _MAGIC:
        raise CorruptError(f"{path} is not an index file or is cut short: its footer is missing")
    if version > FORMAT:
        raise NewerFormatError(
            f"index file {path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
        )
    if length != size - _FOOTER.size:
        raise CorruptError(f"index file {path} has {size - _FOOTER.size} bytes of index instead of {length}")
    if verify and _checksum(path, length) != checksum:
        raise CorruptError(f"index file {path} does not match its checksum")
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise CorruptError(f"index file {path} cannot be read: {error}") from error


def normalised(vectors: Matrix) -> Matrix:
    """Copies of the rows of (n, dim) with length 1; zero vectors stay zero."""
    if len(vectors) == 1:
        # The same at a third of the fixed cost, which a search pays each time.
        wide = vectors[0].astype(np.float64)
        length = math.sqrt(np.vdot(wide, wide)) or 1.0
        one: Matrix = (wide / length).astype(np.float32)[None]
        return one
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    unit: Matrix = (vectors / lengths[:, None]).astype(np.float32)
    return unit


def _selector(mask: Mask | None) -> tuple[Any, npt.NDArray[np.uint8] | None, float]:
    """A faiss selector, the bits it points into, which must outlive it, and the share of set bits."""
    if mask is None:
        return None, None, 1.0
    bits = np.packbits(mask, bitorder="little")
    return faiss.IDSelectorBitmap(bits), bits, max(1, int(np.count_nonzero(mask))) / len(mask)


def _checksum(path: Path, length: int) -> int:
    checksum = 0
    with path.open("rb") as file:
        while length:
            chunk = file.read(min(length, _CHECKSUM_BYTES))
            if not chunk:
                break
            checksum = google_crc32c.extend(checksum, chunk)
            length -= len(chunk)
    return checksum
