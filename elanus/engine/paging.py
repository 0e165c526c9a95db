"""Pages of a search iterator: the next hits beyond a score, each row on exactly one page.

Pages are cut by scores, so a row must have the same score wherever it is held at the time: in the log's tail,
in a segment without an index, in one with an index. Hence an index only chooses candidates, and all scores
are computed anew as the exact search does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from elanus.engine.exact import exact_scores, exact_search
from elanus.engine.index.vector_index import in_range, top_k
from elanus.engine.keys import Rows
from elanus.engine.reader import Matrix, Reader
from elanus.engine.search import EXACT_BELOW_ROWS, WIDENING, Hits, deep_enough, search
from elanus.engine.visibility import Mask
from elanus.model import patience
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric

if TYPE_CHECKING:
    from elanus.expr.plan import Plan


def page(
    readers: Sequence[Reader],
    field: Field,
    query: Matrix,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    plan: "Plan | None" = None,
    beyond: float | None = None,
) -> Hits:
    """The k nearest to `query`, (1, dim), whose scores are worse than `beyond`, within the range of `params`.

    Of hits with equal scores a page holds all or none, as the next page goes on beyond its last score: it is
    a little shorter than k, or longer where all k scores are equal.
    """
    params = _range_beyond(params, metric, beyond)
    hits = search(readers, field, query, k + 1, metric, params, plan, find=_nearest)
    count = len(hits.scores)
    if count <= k:
        return hits
    whole = int(np.count_nonzero(hits.scores != hits.scores[k]))
    if not whole:
        return _all_at(readers, field, query, hits.scores[k], metric, params, plan)
    return hits.first(min(whole, k))


def _range_beyond(params: dict[str, Any], metric: Metric, beyond: float | None) -> dict[str, Any]:
    """`params` with a range that begins just beyond a score."""
    if beyond is None:
        return params
    away = np.float32(-np.inf if metric.larger_is_nearer else np.inf)
    near = float(np.nextafter(np.float32(beyond), away))
    inner = params.get("range_filter", near)
    near = min(near, inner) if metric.larger_is_nearer else max(near, inner)
    return {**params, "radius": params.get("radius", float(away)), "range_filter": near}


def _all_at(
    readers: Sequence[Reader],
    field: Field,
    query: Matrix,
    score: np.float32,
    metric: Metric,
    params: dict[str, Any],
    plan: "Plan | None",
) -> Hits:
    """Every hit with this very score."""
    away = np.float32(-np.inf if metric.larger_is_nearer else np.inf)
    only = {**params, "range_filter": float(score), "radius": float(np.nextafter(score, away))}
    most = sum(r.rows for r in readers)
    return search(readers, field, query, most, metric, only, plan, find=_nearest)


def _nearest(
    reader: Reader,
    field: Field,
    queries: Matrix,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    mask: Mask | None,
    threads: int,
    scratch_bytes: int,
) -> tuple[Matrix, Rows]:
    """(1, k) exact scores and rows within the range of `params`."""
    index = reader.index(field.id)
    selected = reader.rows if mask is None else int(np.count_nonzero(mask))
    indexed = index is not None and index.metric is metric and field.type is DataType.FLOAT_VECTOR
    depth = 2 * k
    # A deep page costs an index about as much as comparing all.
    while index is not None and indexed and depth < max(EXACT_BELOW_ROWS, index.exact_below * selected):
        patience.check()
        rows = index.search(queries, depth, mask, deep_enough(params, depth), threads)[1][0]
        rows = rows[rows >= 0]
        if len(rows) < min(depth, selected):
            break
        vectors = reader.vectors_at(field.id, rows)
        scores = exact_scores(np.broadcast_to(queries, vectors.shape), vectors, metric)
        done = len(rows) == selected or _past(scores[-1], metric, params)
        if "radius" in params:
            inside = in_range(scores, metric, params)
            rows, scores = rows[inside], scores[inside]
        if done or len(rows) >= k:
            return top_k(np.zeros(len(rows), np.int64), scores, rows, 1, k, metric)
        depth *= WIDENING
    return exact_search(reader, field.id, queries, k, metric, mask, params, scratch_bytes)


def _past(score: np.float32, metric: Metric, params: dict[str, Any]) -> bool:
    """Whether the score lies beyond the far end of the range."""
    radius = params.get("radius")
    if radius is None:
        return False
    return bool(score <= radius if metric.larger_is_nearer else score >= radius)
