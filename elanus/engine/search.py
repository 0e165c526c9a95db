"""Search, query, count and fetch over the readers of a node: from segments to the node's answer."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elanus.engine.exact import SCRATCH_BYTES, exact_search
from elanus.engine.filter import evaluate
from elanus.engine.filter_bounds import possible
from elanus.engine.index.vector_index import Queries
from elanus.engine.keys import Rows, ranks
from elanus.engine.reader import Matrix, Reader
from elanus.engine.visibility import Mask, Times
from elanus.model import patience
from elanus.model.columns import arrow_type
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric

if TYPE_CHECKING:
    from elanus.expr.plan import Plan

_NO_FIELDS = pa.RecordBatch.from_arrays([], schema=pa.schema([]))

Ordinals = npt.NDArray[np.int32]
Find = Callable[
    [Reader, Field, Matrix, int, Metric, dict[str, Any], Mask | None, int, int], tuple[Matrix, Rows]
]

EXACT_BELOW_ROWS = 1000
"""Where fewer rows are selected, they are compared one by one whatever the index."""
HITS_BYTES = 64 << 20
"""Temporary memory for merging hits, about; more queries are answered block by block."""
_HIT_BYTES = 48
QUERIES_AT_ONCE = 256
"""Queries of one call of a kernel: between two calls a search notices that nobody waits for it."""
FEW_KEYS = 100
"""Up to so many keys are compared as Python values, which is quicker."""
WIDENING = 4
"""How much deeper a search looks again when duplicate keys left it short of k."""


class Hits(NamedTuple):
    """Answers of nq queries one after the other, nearest first within each.

    `counts` (nq,) int64; for each hit its score, which reader, which row there, and its primary key.
    """

    counts: Rows
    scores: Matrix
    ordinals: Ordinals
    rows: Rows
    keys: pa.Array

    def first(self, count: int) -> "Hits":
        """The first hits of a single query."""
        return Hits(
            np.array([count]),
            self.scores[:count],
            self.ordinals[:count],
            self.rows[:count],
            self.keys[:count],
        )


class Found(NamedTuple):
    """Rows of a query, sorted by primary key: which reader, which row there, its key and timestamp."""

    ordinals: Ordinals
    rows: Rows
    keys: pa.Array
    ts: Times


def search(
    readers: Sequence[Reader],
    field: Field,
    queries: Queries,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    plan: "Plan | None" = None,
    threads: int = 1,
    scratch_bytes: int = SCRATCH_BYTES,
    find: "Find | None" = None,
) -> Hits:
    """The k rows nearest to each of (nq, dim) queries; of equal keys the best score.

    Queries are float32, or (nq, dim / 8) uint8 for binary vectors.

    `params` as `index.check_search` returned them for the field's index type; with `radius`, a range search.
    Equal scores are ordered by key. `find` looks into one reader; by default through its index.
    """
    find = find or _search_reader
    queries = np.ascontiguousarray(queries, np.uint8 if field.type is DataType.BINARY_VECTOR else np.float32)
    numbered = [(i, r) for i, r in enumerate(readers) if r.rows]
    if not numbered or not len(queries):
        return _no_hits(readers, len(queries))
    if len(numbered) == 1 and len(queries) == 1:
        plain = _plain(*numbered[0], field, queries, k, metric, params, plan, find, threads, scratch_bytes)
        if plain is not None:
            return plain
    masks = [_candidates(r, plan, field) for _, r in numbered]
    most = sum(r.rows for _, r in numbered)
    k = min(k, most)
    at_once = min(QUERIES_AT_ONCE, max(1, HITS_BYTES // (_HIT_BYTES * k * len(numbered))))
    blocks = []
    for start in range(0, len(queries), at_once):
        block, depth, short = queries[start : start + at_once], k, True
        while short:
            patience.check()
            results = [
                find(reader, field, block, depth, metric, params, mask, threads, scratch_bytes)
                for (_, reader), mask in zip(numbered, masks, strict=True)
            ]
            hits, short = _merge(readers, numbered, results, len(block), k, depth, metric)
            # k good hits hold a key twice: what takes its place may lie deeper.
            short = short and depth < most
            depth = min(depth * WIDENING, most)
        blocks.append(hits)
    return blocks[0] if len(blocks) == 1 else _concatenated(blocks)


def query(readers: Sequence[Reader], plan: "Plan | None" = None, limit: int | None = None) -> Found:
    """The visible rows that match, in the order of their keys, at most `limit`; of equal keys the newest."""
    numbered = [(i, r, _matching(r, plan)) for i, r in enumerate(readers) if r.rows]
    numbered = [entry for entry in numbered if len(entry[2])]
    if not numbered:
        return Found(np.empty(0, np.int32), np.empty(0, np.int64), _no_keys(readers), np.empty(0, np.uint64))
    at_once = None if limit is None else 2 * limit
    while True:
        patience.check()
        found, cut = _smallest_keys(numbered, at_once)
        if limit is None or not cut or len(found.rows) >= limit:
            return found if limit is None else _first(found, limit)
        at_once = None if at_once is None else at_once * WIDENING


def count(readers: Sequence[Reader], plan: "Plan | None" = None) -> int:
    """How many visible rows match, those with equal keys each for itself."""
    total = 0
    for reader in readers:
        if reader.rows:
            mask = _selected(reader, plan)
            total += reader.rows if mask is None else int(np.count_nonzero(mask))
    return total


def fetch(
    readers: Sequence[Reader], ordinals: Ordinals, rows: Rows, field_ids: Sequence[int]
) -> pa.RecordBatch:
    """Fields of rows of several readers, in the given order."""

    def take(reader: Reader, wanted: Rows) -> pa.RecordBatch:
        return reader.take(field_ids, wanted)

    if not readers:
        raise ValueError("fetch needs the readers that found the rows")
    if not field_ids:
        return _NO_FIELDS
    parts, places = _by_reader(readers, ordinals, rows, take)
    if not parts:
        return readers[0].take(field_ids, rows)
    if len(parts) == 1:
        return parts[0]
    return pa.concat_batches(parts).take(pa.array(np.argsort(np.concatenate(places))))


# Selection -----------------------------------------------------------------------------------------------


def _selected(reader: Reader, plan: "Plan | None") -> Mask | None:
    """Rows that are visible and match; None where all do."""
    visible = reader.mask()
    if plan is None or plan.is_true:
        return visible
    may = possible(plan.root, reader.bounds, reader.rows)
    if not may.true:
        return np.zeros(reader.rows, np.bool_)
    if not (may.false or may.null):
        return visible
    keys = plan.primary_keys()
    if keys is not None:
        matching = np.zeros(reader.rows, np.bool_)
        matching[reader.rows_of(keys)] = True
    else:
        matching = reader.matching(plan, lambda: evaluate(plan, reader))
    return matching if visible is None else matching & visible


def _candidates(reader: Reader, plan: "Plan | None", field: Field) -> Mask | None:
    """Rows that are visible, match and have a vector; None where all do."""
    mask, valid = _selected(reader, plan), reader.valid(field)
    if mask is None or valid is None:
        return valid if mask is None else mask
    return mask & valid


def _matching(reader: Reader, plan: "Plan | None") -> Rows:
    """Numbers of the rows that are visible and match, ascending."""
    keys = None if plan is None or plan.is_true else plan.primary_keys()
    if keys is not None:
        rows, visible = reader.rows_of(keys), reader.mask()
        return rows if visible is None else rows[visible[rows]]
    mask = _selected(reader, plan)
    return np.arange(reader.rows) if mask is None else np.flatnonzero(mask)


# Search --------------------------------------------------------------------------------------------------


def _search_reader(
    reader: Reader,
    field: Field,
    queries: Queries,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    mask: Mask | None,
    threads: int,
    scratch_bytes: int,
) -> tuple[Matrix, Rows]:
    """(nq, k) scores and rows: by the index where there is one and it pays, else exactly."""
    index = reader.index(field.id)
    if index is None or index.metric is not metric:
        return exact_search(reader, field.id, queries, k, metric, mask, params, scratch_bytes)
    selected = reader.rows if mask is None else int(np.count_nonzero(mask))
    if mask is not None and selected < max(EXACT_BELOW_ROWS, index.exact_below * reader.rows):
        return exact_search(reader, field.id, queries, k, metric, mask, params, scratch_bytes)
    if "radius" in params:
        return index.range_search(queries, k, mask, params, threads)
    scores, rows = index.search(queries, k, mask, deep_enough(params, k), threads)
    short = rows[:, min(k, selected) - 1] < 0
    if np.count_nonzero(short):
        # The walk through the graph or the probed lists ended before k rows that match were seen.
        again = np.flatnonzero(short)
        scores[again], rows[again] = exact_search(
            reader, field.id, queries[again], k, metric, mask, None, scratch_bytes
        )
    return scores, rows


def deep_enough(params: dict[str, Any], k: int) -> dict[str, Any]:
    """Search parameters of an index that is to give k rows."""
    return {**params, "ef": k} if params.get("ef", k) < k else params


def _plain(
    number: int,
    reader: Reader,
    field: Field,
    queries: Matrix,
    k: int,
    metric: Metric,
    params: dict[str, Any],
    plan: "Plan | None",
    find: Find,
    threads: int,
    scratch_bytes: int,
) -> Hits | None:
    """The answer of one reader to one query; None where hits tie or hold a key twice, which is rare.

    Most searches are this one; the general way costs as much again as a small index's search.
    """
    depth = min(k, reader.rows)
    scores, rows = find(
        reader,
        field,
        queries,
        depth,
        metric,
        params,
        _candidates(reader, plan, field),
        threads,
        scratch_bytes,
    )
    found = rows[0] if rows[0, -1] >= 0 else rows[0][rows[0] >= 0]
    best = scores[0, : len(found)]
    if np.count_nonzero(best[1:] == best[:-1]):
        return None
    keys = reader.keys_at(found)
    if len(set(keys.to_pylist() if len(found) <= FEW_KEYS else ranks(keys).tolist())) < len(found):
        return None
    return Hits(np.array([len(found)]), best, np.full(len(found), number, np.int32), found, keys)


def _merge(
    readers: Sequence[Reader],
    numbered: Sequence[tuple[int, Reader]],
    results: Sequence[tuple[Matrix, Rows]],
    nq: int,
    k: int,
    depth: int,
    metric: Metric,
) -> tuple[Hits, bool]:
    """The k best of the readers' `depth` best; and whether duplicates left a query short of what there is."""
    if len(results) == 1:
        scores, rows = results[0]
        columns: npt.NDArray[np.intp] = np.zeros(rows.shape, np.intp)
    else:
        scores = np.concatenate([s for s, _ in results], axis=1)
        rows = np.concatenate([r for _, r in results], axis=1)
        order = np.argsort(-scores if metric.larger_is_nearer else scores, axis=1, kind="stable")
        # Equal scores at the cut are all kept until their keys decide.
        sorted_scores = np.take_along_axis(scores, order, axis=1)
        last = sorted_scores[:, min(depth, sorted_scores.shape[1]) - 1]
        width = int(np.max(_no_worse(sorted_scores, last[:, None], metric).sum(axis=1)))
        order = order[:, :width]
        scores, rows = sorted_scores[:, :width], np.take_along_axis(rows, order, axis=1)
        columns = order // results[0][0].shape[1]
    there = rows >= 0
    if there.all():
        counts = np.full(nq, rows.shape[1], np.int64)
        scores, rows, columns = scores.ravel(), rows.ravel(), columns.ravel()
    else:
        counts = np.count_nonzero(there, axis=1)
        scores, rows, columns = scores[there], rows[there], columns[there]
    ordinals = np.array([i for i, _ in numbered], np.int32)[columns]
    hits = Hits(counts, scores, ordinals, rows, _keys(readers, ordinals, rows))
    owners = np.repeat(np.arange(nq), counts)
    hits, owners = _ordered_ties(hits, owners, metric)
    hits, owners, dropped = _without_duplicates(hits, owners)
    short = False
    if dropped:
        more = counts >= depth
        counts = np.bincount(owners, minlength=nq)
        short = bool(np.any((counts < k) & more))
    if counts.max(initial=0) > k:
        place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        hits, counts = kept(hits, place < k), np.minimum(counts, k)
    return Hits(counts, hits.scores, hits.ordinals, hits.rows, hits.keys), short


def _concatenated(blocks: Sequence[Hits]) -> Hits:
    return Hits(
        np.concatenate([b.counts for b in blocks]),
        np.concatenate([b.scores for b in blocks]),
        np.concatenate([b.ordinals for b in blocks]),
        np.concatenate([b.rows for b in blocks]),
        pa.concat_arrays([b.keys for b in blocks]),
    )


def _no_worse(scores: Matrix, than: Matrix, metric: Metric) -> Mask:
    return scores >= than if metric.larger_is_nearer else scores <= than


def _ordered_ties(hits: Hits, owners: Rows, metric: Metric) -> tuple[Hits, Rows]:
    """Equal scores of a query in the order of their keys."""
    equal = (hits.scores[1:] == hits.scores[:-1]) & (owners[1:] == owners[:-1])
    if not equal.any():
        return hits, owners
    cost = -hits.scores if metric.larger_is_nearer else hits.scores
    order = np.lexsort((ranks(hits.keys), cost, owners))
    return kept(hits, order), owners[order]


def _without_duplicates(hits: Hits, owners: Rows) -> tuple[Hits, Rows, bool]:
    """The first hit of each key of a query, and whether there were others."""
    numbers = ranks(hits.keys)
    one_query = not len(owners) or owners[-1] == 0
    order = np.argsort(numbers, kind="stable") if one_query else np.lexsort((numbers, owners))
    numbers, sorted_owners = numbers[order], owners[order]
    again = (numbers[1:] == numbers[:-1]) & (sorted_owners[1:] == sorted_owners[:-1])
    if not again.any():
        return hits, owners, False
    chosen = np.ones(len(owners), np.bool_)
    chosen[order[1:][again]] = False
    return kept(hits, chosen), owners[chosen], True


def kept(hits: Hits, chosen: Rows | Mask) -> Hits:
    """Some of the hits, by a mask or in the order of numbers; `counts` is left as it was."""
    keys = (
        hits.keys.filter(pa.array(chosen)) if chosen.dtype == np.bool_ else hits.keys.take(pa.array(chosen))
    )
    return Hits(hits.counts, hits.scores[chosen], hits.ordinals[chosen], hits.rows[chosen], keys)


def _keys(readers: Sequence[Reader], ordinals: Ordinals, rows: Rows) -> pa.Array:
    parts, places = _by_reader(readers, ordinals, rows, Reader.keys_at)
    if not parts:
        return _no_keys(readers)
    if len(parts) == 1:
        return parts[0]
    return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(places))))


def _by_reader(
    readers: Sequence[Reader], ordinals: Ordinals, rows: Rows, get: Callable[[Reader, Rows], Any]
) -> tuple[list[Any], list[Rows]]:
    """What `get` returns for the rows of each reader, and where in `rows` they stood."""
    if not len(rows):
        return [], []
    first = ordinals[0]
    if len(readers) == 1 or bool(np.all(ordinals == first)):
        return [get(readers[first], rows)], [np.arange(len(rows))]
    parts, places = [], []
    for ordinal in np.unique(ordinals):
        place = np.flatnonzero(ordinals == ordinal)
        parts.append(get(readers[ordinal], rows[place]))
        places.append(place)
    return parts, places


def _no_hits(readers: Sequence[Reader], nq: int) -> Hits:
    nothing = np.empty(0, np.int64)
    return Hits(
        np.zeros(nq, np.int64), np.empty(0, np.float32), np.empty(0, np.int32), nothing, _no_keys(readers)
    )


def _no_keys(readers: Sequence[Reader]) -> pa.Array:
    return pa.array([], arrow_type(readers[0].schema.primary) if readers else pa.int64())


# Query ---------------------------------------------------------------------------------------------------


def _first(found: Found, limit: int) -> Found:
    return Found(found.ordinals[:limit], found.rows[:limit], found.keys[:limit], found.ts[:limit])


def _smallest_keys(numbered: Sequence[tuple[int, Reader, Rows]], at_once: int | None) -> tuple[Found, bool]:
    """Distinct keys in order, the newest row of each; and whether there are more than these.

    With `at_once`, every reader gives only so many of its smallest keys.
    """
    ordinals, rows, keys, stamps = [], [], [], []
    bounds = []
    for ordinal, reader, matching in numbered:
        chosen, found = matching, reader.keys_at(matching)
        if at_once is not None and len(matching) > at_once:
            smallest = pc.partition_nth_indices(found, pivot=at_once)[:at_once]
            chosen, found = matching[smallest.to_numpy()], found.take(smallest)
            bounds.append(pc.max(found))
        ordinals.append(np.full(len(chosen), ordinal, np.int32))
        rows.append(chosen)
        keys.append(found)
        stamps.append(reader.ts_at(chosen))
    all_keys = pa.concat_arrays(keys)
    columns = (np.concatenate(ordinals), np.concatenate(rows), np.concatenate(stamps))
    if bounds:
        # A reader that was cut may hold more rows of its largest key, and all the keys beyond it.
        complete = pc.less(all_keys, min(bounds, key=lambda bound: bound.as_py())).to_numpy(
            zero_copy_only=False
        )
        all_keys = all_keys.filter(pa.array(complete))
        columns = (columns[0][complete], columns[1][complete], columns[2][complete])
    numbers = ranks(all_keys)
    order = np.lexsort((np.iinfo(np.uint64).max - columns[2], numbers))
    if len(order) > 1:
        numbers = numbers[order]
        order = order[np.concatenate([[True], numbers[1:] != numbers[:-1]])]
    return (
        Found(columns[0][order], columns[1][order], all_keys.take(pa.array(order)), columns[2][order]),
        bool(bounds),
    )
