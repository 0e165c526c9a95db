"""Concurrent searches that differ only in their vector share one call of the kernel.

A search that finds nobody at work begins at once. One that comes while others of its kind run waits for them
with those that come after it, and then one of them searches for all: waiting costs nothing where the cores
are busy anyway.
"""

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from elanus.roles.query import SearchCall, SearchHits

Queries = npt.NDArray[np.float32]
Search = Callable[[Queries], SearchHits]


class BatchLimits(msgspec.Struct, frozen=True, kw_only=True):
    queries: int
    """Searches that share a call; 1: none do."""
    at_once: int
    """Calls of one kind that run side by side before others wait for them."""


@dataclass
class _Batch:
    """Searches that wait. The first one searches for all."""

    queries: list[Queries] = field(default_factory=list)
    gates: list[threading.Lock] = field(default_factory=list)
    """Held; opened for the first one when it may begin, for the others when the answers are there."""
    answers: SearchHits | None = None

    def join(self, query: Queries) -> int:
        gate = threading.Lock()
        gate.acquire()
        self.queries.append(query)
        self.gates.append(gate)
        return len(self.gates) - 1


@dataclass
class _Kind:
    running: int = 0
    waiting: deque[_Batch] = field(default_factory=deque)


class Batches:
    """Of one query node. Safe to use from many threads."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._kinds: dict[Hashable, _Kind] = {}
        self._lock = threading.Lock()

    def search(self, call: SearchCall, queries: Queries, search: Search) -> SearchHits:
        """What `search(queries)` returns, which may have been asked together with other queries."""
        kind = kind_of(call, queries) if self._limits.queries > 1 else None
        if kind is None:
            return search(queries)
        with self._lock:
            batch, place = self._enter(kind, queries)
        if batch is None:
            try:
                return search(queries)
            finally:
                self._leave(kind)
        batch.gates[place].acquire()
        if place == 0:
            self._search_for_all(kind, batch, search)
        if batch.answers is None:
            # It failed for one of them; which one, each finds out for itself.
            return search(queries)
        return _of(batch.answers, place)

    def _enter(self, kind: Hashable, queries: Queries) -> tuple[_Batch | None, int]:
        """The batch to wait in and the place in it; None: begin."""
        state = self._kinds.setdefault(kind, _Kind())
        if state.running < self._limits.at_once:
            state.running += 1
            return None, 0
        if not state.waiting or len(state.waiting[-1].queries) >= self._limits.queries:
            state.waiting.append(_Batch())
        return state.waiting[-1], state.waiting[-1].join(queries)

    def _leave(self, kind: Hashable) -> None:
        """Gives the turn to the batch that has waited longest."""
        with self._lock:
            state = self._kinds[kind]
            if state.waiting:
                state.waiting.popleft().gates[0].release()
                return
            state.running -= 1
            if not state.running:
                del self._kinds[kind]

    def _search_for_all(self, kind: Hashable, batch: _Batch, search: Search) -> None:
        try:
            if len(batch.queries) > 1:
                batch.answers = search(np.concatenate(batch.queries))
        except Exception:  # noqa: BLE001  # each one searches again and raises what is its own
            batch.answers = None
        finally:
            for gate in batch.gates[1:]:
                gate.release()
            self._leave(kind)


def kind_of(call: SearchCall, queries: Queries) -> Hashable | None:
    """What two searches must have in common to be answered together; None: this one goes alone."""
    if len(queries) != 1 or call.iterator or call.group is not None or call.templates:
        return None
    # Any: parameters are the index's own.
    params: tuple[tuple[str, Any], ...] = tuple(call.params.items())
    return (
        call.collection_id,
        call.schema_version,
        call.targets,
        call.field_id,
        call.k,
        call.metric,
        params,
        call.expression,
        call.partitions,
        call.at_ts,
        call.ignore_growing,
        call.expired_below,
        call.fields,
    )


def _of(hits: SearchHits, query: int) -> SearchHits:
    """The answer to one of the queries."""
    stop = int(hits.counts[: query + 1].sum())
    count = int(hits.counts[query])
    start = stop - count
    return SearchHits(
        counts=hits.counts[query : query + 1],
        scores=hits.scores[start:stop],
        keys=hits.keys.slice(start, count),
        rows=hits.rows.slice(start, count),
        read_ts=hits.read_ts,
    )
