"""Search grouped by a field: the best values of the field, and the best few hits of each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from elanus.engine.keys import Rows
from elanus.engine.reader import Matrix, Reader
from elanus.engine.search import WIDENING, Hits, fetch, kept, search
from elanus.model.schema import Field
from elanus.model.types import Metric

if TYPE_CHECKING:
    from elanus.expr.plan import Plan

FIRST_DEPTH = 4
"""Hits looked at first, for each hit of a full answer."""


def grouped(
    readers: Sequence[Reader],
    field: Field,
    queries: Matrix,
    groups: int,
    metric: Metric,
    params: dict[str, Any],
    plan: "Plan | None",
    grouped_by: Field,
    size: int = 1,
    strict: bool = False,
) -> Hits:
    """For each query the `groups` values whose best hit is nearest, with up to `size` hits each.

    A group's hits stand together, nearest first, the groups in the order of their best hits; rows without a
    value are a group. A group may stay short where its other rows lie deeper; `strict`: no group does.
    """
    most = sum(r.rows for r in readers)
    depth = FIRST_DEPTH * groups * size
    while True:
        hits = search(readers, field, queries, depth, metric, params, plan)
        chosen = _choose(readers, hits, grouped_by, groups, size)
        exhausted = hits.counts < depth
        full = (chosen.groups >= groups) & (chosen.full if strict else True)
        if depth >= most or bool(np.all(full | exhausted)):
            return kept(hits, chosen.order)._replace(counts=chosen.counts)
        depth *= WIDENING


class _Chosen(NamedTuple):
    """`order`: places of the hits in the answer. For each query how many hits and groups it has, and whether
    all its groups are full."""

    order: Rows
    counts: Rows
    groups: Rows
    full: np.ndarray[Any, np.dtype[np.bool_]]


def _choose(readers: Sequence[Reader], hits: Hits, grouped_by: Field, groups: int, size: int) -> _Chosen:
    nq = len(hits.counts)
    owners = np.repeat(np.arange(nq), hits.counts)
    column = fetch(readers, hits.ordinals, hits.rows, [grouped_by.id]).column(0)
    values = pc.fill_null(column.dictionary_encode().indices, -1).to_numpy().astype(np.int64)
    names = owners * (len(values) + 1) + values + 1
    _, firsts, group = np.unique(names, return_index=True, return_inverse=True)
    first = firsts[group]
    """The place of the best hit of each hit's group."""
    order = np.lexsort((np.arange(len(values)), first))
    begins = np.concatenate([[True], first[order][1:] != first[order][:-1]]) if len(order) else first > 0
    starts = np.flatnonzero(begins)
    within = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    owner = owners[order]
    number = np.cumsum(begins) - 1
    found = np.bincount(owner[starts], minlength=nq)
    rank = number - (np.cumsum(found) - found)[owner]
    wanted = (rank < groups) & (within < size)
    last = wanted & (within == size - 1)
    filled = np.bincount(owner[last], minlength=nq)
    shown = np.minimum(found, groups)
    return _Chosen(order[wanted], np.bincount(owner[wanted], minlength=nq), shown, filled >= shown)
