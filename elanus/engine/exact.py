"""Exact search: matrix products choose candidates, then their scores are computed anew in double precision.

A product in single precision is fast but has rounding errors (|x|^2 + |q|^2 - 2xq even turns negative), and
the errors depend on where in the product a row stands. So a row is a candidate while its approximate score
is within the error bound of the k-th best; the final scores do not depend on blocks, and equal vectors have
equal scores.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from elanus.engine import exact_binary
from elanus.engine.index.vector_index import Queries, in_range, top_k
from elanus.engine.keys import Rows, ranks
from elanus.engine.reader import Matrix, Reader, squared_lengths
from elanus.engine.visibility import Mask
from elanus.model import patience
from elanus.model.columns import as_floats
from elanus.model.index_parameters import BINARY_METRICS
from elanus.model.types import DataType, Metric

SCRATCH_BYTES = 32 << 20
"""Temporary memory of one call, about: scores of a block of rows against a block of queries."""
QUERIES_AT_ONCE = 256
GATHERED_BELOW = 0.2
"""Where a smaller share of the rows is selected they are copied together; else all rows are multiplied."""
_EPSILON = float(np.finfo(np.float32).eps)
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FLOAT64_MAX = float(np.finfo(np.float64).max)
_SMALLEST = float(np.finfo(np.float32).tiny)
_SHORT = 1e-30
"""Squared length below which a cosine in single precision is not to be trusted."""
_PAIR_BYTES = 24
_BLAS_FROM = 4
"""Queries; fewer are multiplied one by one."""
_COPY_BYTES = 12
"""Of temporary memory per element of a vector that is copied or converted to float32, about."""
_WIDE_AT_ONCE = 4096
_WIDENING = 8
"""Bytes of temporary memory per byte of block that a double-precision step needs, about."""

Costs = npt.NDArray[Any]
"""float32 or float64; smaller is nearer whatever the metric."""


def exact_search(
    reader: Reader,
    field_id: int,
    queries: Queries,
    k: int,
    metric: Metric,
    mask: Mask | None,
    params: dict[str, Any] | None = None,
    scratch_bytes: int = SCRATCH_BYTES,
) -> tuple[Matrix, Rows]:
    """(nq, k) scores and rows of the nearest rows where `mask`, nearest first, ties by the smaller key.

    Where `params` holds `radius`, only scores beyond it up to `range_filter`. Rows are -1 where fewer match.
    """
    if metric in BINARY_METRICS:
        return exact_binary.exact_search(reader, field_id, queries, k, metric, mask, params)
    ranged = params is not None and "radius" in params
    selected = None
    visible = reader.rows
    if mask is not None:
        visible = int(np.count_nonzero(mask))
        if visible < GATHERED_BELOW * reader.rows:
            selected, mask = np.flatnonzero(mask), None
    at_once = QUERIES_AT_ONCE
    if ranged:
        # A range may hold every row for every query.
        at_once = max(1, min(at_once, scratch_bytes // (_PAIR_BYTES * max(visible, 1))))
    found = []
    for start in range(0, len(queries), at_once):
        block = np.ascontiguousarray(queries[start : start + at_once])
        candidates = _Candidates(block, min(k, max(visible, 1)), metric, params if ranged else None)
        rows_at_once = max(1, scratch_bytes // (4 * len(block)))
        for window in _windows(reader, field_id, selected, mask, rows_at_once, scratch_bytes):
            patience.check()
            candidates.add(window)
        found.append(_final(reader, field_id, block, candidates, k, metric, params or {}, scratch_bytes))
    if len(found) == 1:
        return found[0]
    return np.concatenate([s for s, _ in found]), np.concatenate([r for _, r in found])


class _Chunk(NamedTuple):
    """(m, dim) vectors with (m,) squared lengths."""

    matrix: Callable[[], Matrix]
    norms: Matrix


class _Window(NamedTuple):
    """Chunks that are scored together; `rows` are their numbers, or the first one's."""

    rows: Rows | int
    chunks: list[_Chunk]
    mask: Mask | None

    @property
    def size(self) -> int:
        return sum(len(chunk.norms) for chunk in self.chunks)


def _windows(
    reader: Reader, field_id: int, selected: Rows | None, mask: Mask | None, at_once: int, scratch_bytes: int
) -> Iterator[_Window]:
    """Consecutive rows, at most `at_once` together."""
    field = reader.schema.by_id[field_id]
    # Vectors that are copied or converted take part of the scratch memory.
    copied = max(1, min(at_once, scratch_bytes // (_COPY_BYTES * field.dim)))
    if selected is not None:
        for start in range(0, len(selected), copied):
            rows = selected[start : start + copied]
            matrix = as_floats(reader.vectors_at(field_id, rows), field.type)
            yield _Window(rows, [_Chunk(_always(matrix), squared_lengths(matrix))], None)
        return
    longest = at_once if field.type is DataType.FLOAT_VECTOR else copied
    first, chunks, held = 0, list[_Chunk](), 0
    for block in reader.vectors(field_id):
        norms = block.norms()
        for start in range(0, len(norms), longest):
            part = slice(start, min(start + longest, len(norms)))
            if chunks and held + part.stop - start > at_once:
                yield _Window(first, chunks, None if mask is None else mask[first : first + held])
                first, chunks, held = first + held, [], 0
            chunks.append(_Chunk(_floats(block.matrix[part], field.type), norms[part]))
            held += part.stop - start
    if chunks:
        yield _Window(first, chunks, None if mask is None else mask[first : first + held])


def _always(matrix: Matrix) -> Callable[[], Matrix]:
    return lambda: matrix


def _floats(matrix: npt.NDArray[Any], type: DataType) -> Callable[[], Matrix]:
    """Converted when it is its turn, so that one chunk at a time is in memory."""
    return lambda: as_floats(matrix, type)


class _Candidates:
    """Pairs (query, row) that may be among the k nearest, with approximate costs."""

    def __init__(self, queries: Matrix, k: int, metric: Metric, range_params: dict[str, Any] | None) -> None:
        self.queries = queries
        self.k = k
        self.metric = metric
        self.lengths = np.sqrt(np.einsum("ij,ij->i", queries, queries, dtype=np.float64))
        self.error = np.zeros(len(queries))
        """Bound of the rounding error of the costs seen so far, by query."""
        self.kth = np.full(len(queries), np.inf)
        """k-th smallest approximate cost seen so far, by query."""
        self.range = None if range_params is None else _cost_range(range_params, metric, self.lengths)
        self._owners: list[Rows] = []
        self._rows: list[Rows] = []
        self._costs: list[Costs] = []
        self._pending = 0

    def add(self, window: _Window) -> None:
        costs = self._approximate(window)
        if window.mask is not None:
            costs[:, ~window.mask] = np.inf
        if costs.shape[1] >= self.k:
            sure = costs if self.range is None else self._surely_inside(costs)
            self.kth = np.minimum(self.kth, np.partition(sure, self.k - 1, axis=1)[:, self.k - 1])
        low, high = self._bounds(costs.dtype)
        inside = costs <= high[:, None]
        if low is not None:
            inside &= costs >= low[:, None]
        places = np.flatnonzero(inside)
        if not len(places):
            return
        owners = np.zeros(len(places), np.int64)
        if len(costs) > 1:
            owners, places = np.divmod(places, costs.shape[1])
        self._owners.append(owners)
        self._costs.append(costs[owners, places])
        self._rows.append(window.rows + places if isinstance(window.rows, int) else window.rows[places])
        self._pending += len(owners)
        if len(self._owners) > 1 and self._pending > 2 * self.k * len(self.queries):
            self._prune()

    def pairs(self) -> tuple[Rows, Rows]:
        """(query, row) of each candidate, sorted by query."""
        if len(self._owners) == 1:
            return self._owners[0], self._rows[0]
        self._prune()
        if not self._owners:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        owners, rows = np.concatenate(self._owners), np.concatenate(self._rows)
        order = np.argsort(owners, kind="stable")
        return owners[order], rows[order]

    def _approximate(self, window: _Window) -> Costs:
        """(nq, m) costs; raises the error bound to cover them."""
        longest = max(float(chunk.norms.max(initial=0)) for chunk in window.chunks) ** 0.5
        if not longest * max(longest, float(self.lengths.max())) < _FLOAT32_MAX / 8:
            return np.concatenate([self._wide(chunk.matrix()) for chunk in window.chunks], axis=1)
        self._cover(longest, self.queries.shape[1])
        queries = self._directed(np.float32)
        costs = np.empty((len(queries), window.size), np.float32)
        stop = 0
        for chunk in window.chunks:
            start, stop = stop, stop + len(chunk.norms)
            part, matrix = costs[:, start:stop], chunk.matrix()
            _multiply(queries, matrix, part)
            self._as_costs(part, chunk.norms)
            if self.metric is Metric.COSINE:
                short = np.flatnonzero(chunk.norms < _SHORT)
                if len(short):
                    part[:, short] = self._wide(matrix[short])
        return costs

    def _wide(self, matrix: Matrix) -> Costs:
        """The same in double precision, for vectors whose products leave the range of single precision."""
        costs = np.empty((len(self.queries), len(matrix)))
        queries = self._directed(np.float64)
        for start in range(0, len(matrix), _WIDE_AT_ONCE):
            wide = matrix[start : start + _WIDE_AT_ONCE].astype(np.float64)
            norms = np.einsum("ij,ij->i", wide, wide)
            self._cover(float(np.sqrt(norms.max(initial=0))), matrix.shape[1])
            costs[:, start : start + _WIDE_AT_ONCE] = self._as_costs(queries @ wide.T, norms)
        return costs

    def _cover(self, longest: float, dim: int) -> None:
        """Raise the error bound for vectors of at most this length."""
        # A dot product of n terms errs by at most n eps |x| |q|; the lengths likewise.
        unit = (dim + 8) * _EPSILON
        match self.metric:
            case Metric.L2:
                error = unit * (longest + self.lengths) ** 2
            case Metric.IP:
                error = unit * longest * self.lengths
            case _:
                error = np.full(len(self.queries), 2 * unit)
        self.error = np.maximum(self.error, error + dim * _SMALLEST)

    def _directed(self, dtype: type[np.float32] | type[np.float64]) -> Costs:
        """Queries as they are multiplied: of length 1 for COSINE."""
        if self.metric is not Metric.COSINE:
            return self.queries.astype(dtype, copy=False)
        return (self.queries / np.where(self.lengths == 0, 1, self.lengths)[:, None]).astype(dtype)

    def _as_costs(self, products: Costs, norms: Costs) -> Costs:
        """L2 costs lack |q|^2, which is the same for all rows of a query."""
        match self.metric:
            case Metric.L2:
                products *= -2
                products += norms
            case Metric.IP:
                np.negative(products, out=products)
            case _:
                products /= -np.sqrt(np.where(norms == 0, np.inf, norms))
        return products

    def _bounds(self, dtype: npt.DTypeLike) -> tuple[Costs | None, Costs]:
        """(nq,) least and largest cost of a candidate, rounded outwards to `dtype`, finite."""
        if self.range is None:
            return None, _rounded(self.kth + 2 * self.error, dtype, up=True)
        low, high = self.range
        low = None if low is None else _rounded(low - self.error, dtype, up=False)
        return low, _rounded(np.minimum(high + self.error, self.kth + 2 * self.error), dtype, up=True)

    def _surely_inside(self, costs: Costs, owners: Rows | None = None) -> Costs:
        """`costs`, infinite where rounding alone may have put one into the range; of `owners`, or (nq, m)."""
        assert self.range is not None
        low, high = self.range
        bounds = [high - self.error, *([] if low is None else [low + self.error])]
        high, *rest = (b[:, None] if owners is None else b[owners] for b in bounds)
        inside = costs <= high
        for least in rest:
            inside &= costs >= least
        return np.where(inside, costs, np.inf)

    def _prune(self) -> None:
        """Drop the candidates that k others beat for certain."""
        if not self._owners:
            return
        owners, costs = np.concatenate(self._owners), np.concatenate(self._costs)
        rows = np.concatenate(self._rows)
        sure = costs if self.range is None else self._surely_inside(costs, owners)
        order = np.lexsort((sure, owners))
        starts = np.searchsorted(owners, np.arange(len(self.queries)), sorter=order)
        counts = np.bincount(owners, minlength=len(self.queries))
        full = counts >= self.k
        kth = sure[order[starts[full] + self.k - 1]]
        self.kth[full] = np.minimum(self.kth[full], kth)
        kept = costs <= self._bounds(np.float64)[1][owners]
        self._owners, self._rows, self._costs = [owners[kept]], [rows[kept]], [costs[kept]]
        self._pending = int(np.count_nonzero(kept))


def _multiply(queries: Matrix, matrix: Matrix, out: Matrix) -> None:
    """(nq, m) inner products. One query at a time needs no second thread: BLAS would wait for one to wake."""
    if len(queries) >= _BLAS_FROM:
        np.matmul(queries, matrix.T, out=out)
        return
    for query, products in zip(queries, out, strict=True):
        np.einsum("ij,j->i", matrix, query, out=products)


def _rounded(bounds: Costs, dtype: npt.DTypeLike, up: bool) -> Costs:
    """Finite, so that masked rows, whose cost is infinite, stay outside."""
    largest = _FLOAT64_MAX if dtype == np.float64 else _FLOAT32_MAX
    cut = np.minimum(np.maximum(bounds, -largest), largest)
    if dtype == np.float64:
        return cut
    rounded: Costs = np.nextafter(cut.astype(dtype), np.float32(largest if up else -largest))
    return rounded


def _cost_range(params: dict[str, Any], metric: Metric, lengths: Costs) -> tuple[Costs | None, Costs]:
    """(nq,) smallest and largest approximate cost of scores in the range."""
    radius, inner = params["radius"], params.get("range_filter")
    sign, shift = (-1.0, np.zeros_like(lengths)) if metric.larger_is_nearer else (1.0, lengths**2)
    return (None if inner is None else sign * inner - shift), sign * radius - shift


def _final(
    reader: Reader,
    field_id: int,
    queries: Matrix,
    candidates: _Candidates,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    scratch_bytes: int,
) -> tuple[Matrix, Rows]:
    """Exact scores of the candidates, sorted and cut to k."""
    owners, rows = candidates.pairs()
    kind = reader.schema.by_id[field_id].type
    at_once = max(1, scratch_bytes // (_WIDENING * 4 * queries.shape[1]))
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), at_once):
        patience.check()
        stop = start + at_once
        matrix = as_floats(reader.vectors_at(field_id, rows[start:stop]), kind)
        scores[start:stop] = exact_scores(queries[owners[start:stop]], matrix, metric)
    if "radius" in params:
        inside = in_range(scores, metric, params)
        owners, rows, scores = owners[inside], rows[inside], scores[inside]
    best = top_k(owners, scores, rows, len(queries), k, metric)
    if _has_ties(owners, scores):
        best = top_k(owners, scores, rows, len(queries), k, metric, ranks(reader.keys_at(rows)))
    return best


def exact_scores(queries: Matrix, matrix: Matrix, metric: Metric) -> Matrix:
    """(m,) scores of (m, dim) queries and vectors, pair by pair."""
    left, right = queries.astype(np.float64), matrix.astype(np.float64)
    if metric is Metric.L2:
        left -= right
        right = left
    scores = np.einsum("ij,ij->i", left, right)
    if metric is Metric.COSINE:
        lengths = np.sqrt(np.einsum("ij,ij->i", left, left)) * np.sqrt(np.einsum("ij,ij->i", right, right))
        lengths[lengths == 0] = np.inf
        scores = np.clip(scores / lengths, -1, 1)
    with np.errstate(over="ignore"):
        return scores.astype(np.float32)  # type: ignore[no-any-return]  # einsum is typed Any


def _has_ties(owners: Rows, scores: Matrix) -> bool:
    if not owners.any():
        scores = np.sort(scores)
        return bool(np.any(scores[1:] == scores[:-1]))
    order = np.lexsort((scores, owners))
    owners, scores = owners[order], scores[order]
    return bool(np.any((scores[1:] == scores[:-1]) & (owners[1:] == owners[:-1])))
