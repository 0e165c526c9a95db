"""Searches, queries and counts."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from pymilvus import MilvusException

from tests.machine.filters import EVERYTHING, Filter, filters
from tests.machine.history import (
    ALWAYS,
    STRONG,
    History,
    fields,
    levels,
    numbers,
    picks,
    recent,
    seeds,
    step,
    vector_names,
)
from tests.machine.samples import KEY
from tests.reference import Vector, everywhere, matching, newest, scores, tolerance


@dataclass(frozen=True)
class Request:
    """What all searches are asked with."""

    field: str
    chosen: Filter
    seed: int
    limit: int
    output: set[str]
    pick: int
    level: str


requests = st.builds(
    Request,
    field=vector_names,
    chosen=st.just(EVERYTHING) | filters,
    seed=seeds,
    limit=st.integers(1, 40),
    output=fields,
    pick=picks,
    level=levels,
)


class Reads(History):
    @step(request=requests, offset=st.sampled_from((0, 0, 1, 7)), queries=st.integers(1, 3))
    def search(self, request: Request, offset: int, queries: int) -> None:
        field, limit = request.field, request.limit
        vectors = self.queries(request, queries)
        asked = {"data": [self.shape.kinds[field].asked(v) for v in vectors], "offset": offset}
        if not self.can_read(self.some_partitions(request.pick)):
            with pytest.raises(MilvusException, match="not loaded"):
                self.ask(request, {}, **asked)
            return
        readable = self.readable(self.some_partitions(request.pick))
        for query, hits in zip(vectors, self.ask(request, {}, **asked), strict=True):
            wanted = self.reference.search(field, query, request.chosen.truth, readable)
            known = {hit.key: hit for hit in wanted}
            wanted = wanted[offset : offset + limit]
            assert len(hits) == len(wanted)
            self.check_hits(field, hits, known, request.output)
            self.check_nearest(field, [hit["distance"] for hit in hits], [hit.score for hit in wanted])

    @precondition(lambda self: self.loaded is not None)
    @step(request=requests, ends=st.tuples(picks, picks), inner=st.booleans())
    def range_search(self, request: Request, ends: tuple[int, int], inner: bool) -> None:
        named = self.some_partitions(request.pick)
        if not self.can_read(named):
            return
        field, [query] = request.field, self.queries(request, 1)
        near, far, within = self.range_of(field, query, *ends)
        asked = {"radius": far, "range_filter": near} if inner else {"radius": far}
        if not inner:
            within = self.range_of(field, query, *ends, inner=False)[2]
        wanted = self.reference.search(field, query, request.chosen.truth, self.readable(named), within)
        [hits] = self.ask(request, asked, data=[self.shape.kinds[field].asked(query)])
        self.check_hits(field, hits, {hit.key: hit for hit in wanted}, request.output)
        wanted = wanted[: request.limit]
        assert len(hits) <= len(wanted)
        self.check_nearest(field, [hit["distance"] for hit in hits], [hit.score for hit in wanted])

    def range_of(
        self, field: str, query: Vector, first: int, last: int, inner: bool = True
    ) -> tuple[float, float, Callable[[float], bool]]:
        """Ends between the scores that there are, so that rounding decides nothing."""
        sign = self.sign(field)
        found = self.reference.search(field, query, everywhere, self.readable())
        there = [sign * hit.score for hit in found]
        # All copies of a key count, not only the best.
        every = sorted({*there, *(sign * s for s in self.all_scores(field, query))})
        gaps = [(a + b) / 2 for a, b in itertools.pairwise(every) if b - a > 3 * tolerance(b)]
        gaps = [every[0] - 1, *gaps, every[-1] + 1] if every else [0.0, 1.0]
        low, high = sorted((first % len(gaps), last % len(gaps)))
        if low == high:
            low, high = (low, high + 1) if high + 1 < len(gaps) else (low - 1, high)
        near, far = gaps[low], gaps[high]
        least = near if inner else -np.inf
        return sign * near, sign * far, lambda score: least < sign * score < far

    def all_scores(self, field: str, query: Vector) -> list[float]:
        rows = self.reference.matching(everywhere, self.readable())
        if not rows:
            return []
        stacked = np.stack([r.vectors[field] for r in rows])
        return [float(s) for s in scores(query, stacked, self.shape.metrics[field])]

    @precondition(lambda self: self.loaded is not None)
    @step(request=requests, existing=recent)
    def search_by_keys(self, request: Request, existing: list[int]) -> None:
        named = self.some_partitions(request.pick)
        if not self.can_read(named):
            return
        field, readable = request.field, self.readable(named)
        alone = {k: rows[0] for k, rows in self.copies(readable).items() if len(rows) == 1}
        keys = list(dict.fromkeys(k for k in self.some_keys([], existing) if k in alone))
        if not keys:
            return
        for key, hits in zip(keys, self.ask(request, {}, ids=keys), strict=True):
            query = alone[key].vectors[field]
            wanted = self.reference.search(field, query, request.chosen.truth, readable)
            known = {hit.key: hit for hit in wanted}
            wanted = wanted[: request.limit]
            assert len(hits) == len(wanted)
            self.check_hits(field, hits, known, request.output)
            self.check_nearest(field, [hit["distance"] for hit in hits], [hit.score for hit in wanted])

    def copies(self, readable: set[str]) -> dict[Any, list[Any]]:
        found: dict[Any, list[Any]] = {}
        for row in self.reference.matching(everywhere, readable):
            found.setdefault(row.key, []).append(row)
        return found

    @precondition(lambda self: self.loaded is not None)
    @step(
        request=requests,
        by=st.sampled_from(("tag", "small", "flag", "rank")),
        groups=st.integers(1, 6),
        size=st.integers(1, 3),
        strict=st.booleans(),
    )
    def grouped_search(self, request: Request, by: str, groups: int, size: int, strict: bool) -> None:
        named = self.some_partitions(request.pick)
        if not self.can_read(named):
            return
        field, [query] = request.field, self.queries(request, 1)
        wanted = self.reference.search(field, query, request.chosen.truth, self.readable(named))
        if any(len({r.values[by] for r in hit.rows}) > 1 for hit in wanted):
            return  # copies of a key that are as near: either may be shown
        best: dict[Any, list[float]] = {}
        for hit in wanted:
            best.setdefault(hit.rows[0].values[by], []).append(hit.score)
        [hits] = self.ask(
            request,
            {},
            data=[self.shape.kinds[field].asked(query)],
            limit=groups,
            output_fields=[by],
            group_by_field=by,
            group_size=size,
            strict_group_size=strict,
        )
        shown: dict[Any, list[float]] = {}
        known = {hit.key: hit for hit in wanted}
        last: Any = object()
        for hit in hits:
            value, right = hit["entity"][by], known[hit[KEY]]
            assert value == last or value not in shown, "a group in two pieces"
            assert value == right.rows[0].values[by]
            assert abs(hit["distance"] - right.score) <= tolerance(right.score)
            shown.setdefault(value, []).append(hit["distance"])
            last = value
        assert len(hits) == len({hit[KEY] for hit in hits}), "a key twice"
        assert len(shown) == min(groups, len(best)), (shown, best)
        for value, distances in shown.items():
            assert len(distances) <= size
            assert not strict or len(distances) == min(size, len(best[value])), (value, best[value])
        firsts = [distances[0] for distances in shown.values()]
        self.check_nearest(field, firsts, [first for first, *_ in best.values()][:groups])

    def queries(self, request: Request, count: int) -> list[Vector]:
        kind = self.shape.kinds[request.field]
        return [kind.make(np.random.default_rng([request.seed, i]), kind.dim) for i in range(count)]

    # Any: pymilvus has no types.
    def ask(self, request: Request, inside: dict[str, Any], **more: Any) -> Any:
        _, params = self.shape.kinds[request.field].indexes[self.indexes[request.field]]
        more = {"limit": request.limit, "output_fields": sorted(request.output), **more}
        return self.client.search(
            self.name,
            anns_field=request.field,
            filter=request.chosen.text,
            filter_params=request.chosen.values,
            search_params={
                "metric_type": self.shape.metrics[request.field],
                "params": {**params, **inside},
            },
            partition_names=self.some_partitions(request.pick),
            consistency_level=request.level,
            **more,
        )

    @step(
        chosen=filters,
        limit=st.none() | st.integers(1, 30),
        offset=st.integers(0, 5),
        output=fields,
        pick=picks,
        level=levels,
    )
    def query(
        self, chosen: Filter, limit: int | None, offset: int, output: set[str], pick: int, level: str
    ) -> None:
        named = self.some_partitions(pick)
        window = {} if limit is None else {"limit": limit, "offset": offset}

        def ask() -> Any:
            return self.client.query(
                self.name,
                filter=chosen.text,
                filter_params=chosen.values,
                output_fields=sorted(output),
                partition_names=named,
                consistency_level=level,
                **window,
            )

        if not self.can_read(named):
            with pytest.raises(MilvusException, match="not loaded"):
                ask()
            return
        rows = newest(self.reference.matching(chosen.truth, self.readable(named)))
        wanted = list(rows)
        if limit is not None:
            wanted = wanted[offset : offset + limit]
        got = ask()
        output = output or {"*"}  # the client takes none for all
        assert [r[KEY] for r in got] == wanted
        for answer in got:
            right = rows[answer[KEY]]
            assert any(self.same(answer, r, output) for r in right), (answer, right)

    @step(chosen=st.just(EVERYTHING) | filters, pick=picks)
    def count(self, chosen: Filter, pick: int) -> None:
        named = self.some_partitions(pick)
        if not self.can_read(named):
            return
        [answer] = self.client.query(
            self.name,
            filter=chosen.text,
            filter_params=chosen.values,
            output_fields=["count(*)"],
            partition_names=named,
            consistency_level=STRONG,
        )
        assert answer["count(*)"] == len(self.reference.matching(chosen.truth, self.readable(named)))

    @precondition(lambda self: self.loaded is not None)
    @step(chosen=st.lists(numbers, min_size=1, max_size=8), existing=recent)
    def get(self, chosen: list[int], existing: list[int]) -> None:
        keys = self.some_keys(chosen, existing)
        rows = newest(r for r in self.reference.matching(everywhere, self.readable()) if r.key in keys)
        got = self.client.get(self.name, ids=keys, output_fields=["*"], consistency_level=STRONG)
        assert [r[KEY] for r in got] == list(rows)
        assert all(any(self.same(answer, r, {"*"}) for r in rows[answer[KEY]]) for answer in got)

    @precondition(lambda self: self.loaded is not None)
    @step(level=st.sampled_from(("Eventually", "Bounded")))
    def stale_query(self, level: str) -> None:
        """A prefix of each channel's writes; with one channel, a state that there was."""
        got = self.client.query(self.name, filter=ALWAYS, output_fields=["*"], consistency_level=level)
        states = [newest(matching(rows, everywhere, self.readable())) for rows in self.reference.history]
        if self.shape.shards == 1:
            assert any(self.is_state(got, state) for state in states), got
        for answer in got:
            assert any(self.same(answer, r, {"*"}) for state in states for r in state.get(answer[KEY], ())), (
                f"{answer} never existed"
            )
