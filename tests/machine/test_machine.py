"""Random histories on a real instance, through the real protocol, against the reference.

ELANUS_MACHINE=soak runs it for long (ELANUS_MACHINE_EXAMPLES histories); a failure prints what reproduces it.
"""

import functools
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

pytest.importorskip("pymilvus")

from pymilvus import MilvusException

from elanus.engine import search as engine
from tests.machine.deployment import Deployment
from tests.machine.filters import EVERYTHING, Filter, filters
from tests.machine.samples import EXACT, INDEXES, KEYS, SCALARS, Shape, entity, row, shapes, vector
from tests.reference import Key, Reference, Row, everywhere, matching, newest, tolerance

pytestmark = pytest.mark.timeout(0 if os.environ.get("ELANUS_MACHINE") else 900)

NAME = "things"
DEFAULT = "_default"
PARTITIONS = ("p1", "p2")
STRONG = "Strong"
SETTLE_SECONDS = 60
LEAST_RECALL = 0.9
LEAST_WANTED = 100
"""Fewer hits than this say nothing about recall."""

numbers = st.integers(0, KEYS - 1)
seeds = st.integers(0, 5000)
batches = st.lists(st.tuples(numbers, seeds), min_size=1, max_size=12)
some = st.lists(numbers, max_size=8)
picks = st.integers(0, 11)
recent = st.lists(picks, min_size=1, max_size=6)
"""Rows that are there, counted from the newest."""
fields = st.sets(st.sampled_from((*SCALARS, "v", "extra"))) | st.just({"*"})
levels = st.sampled_from((STRONG, "Session"))
stale_levels = st.sampled_from(("Eventually", "Bounded"))


def step(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule whose failure is told where it happens: one that does not happen again when the history is
    replayed would otherwise be reported as nothing but flaky."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(self: "History", *given: Any, **drawn: Any) -> None:
            shown = [*map(repr, given), *(f"{name}={value!r}" for name, value in drawn.items())]
            self.steps.append(f"{function.__name__}({', '.join(shown)})")
            try:
                function(self, *given, **drawn)
            except Exception:
                print(f"{self.shape}\n", *self.steps, traceback.format_exc(), sep="\n", file=sys.stderr)
                raise

        # Any: the types of `rule` know no arguments that come as a dictionary.
        make: Any = rule
        return make(**arguments)(run)

    return decorate


class History(RuleBasedStateMachine):
    """One collection at a time. A partition made again under the same name is another one: `labels`."""

    @initialize(shape=shapes)
    def open(self, shape: Shape) -> None:
        self.deployment = Deployment()
        self.steps: list[str] = []
        """What has been done, for the report of a failure."""
        self.found = self.wanted = 0
        self.incarnation = 0
        self.create(shape)

    @property
    def client(self) -> Any:
        return self.deployment.client

    def create(self, shape: Shape) -> None:
        self.shape = shape
        self.reference = Reference(shape.metric)
        self.labels = {DEFAULT: DEFAULT}
        self.loaded: set[str] | None = None
        """Names of the partitions that can be read; None: the collection is not loaded."""
        self.whole = False
        self.client.create_collection(NAME, schema=shape.schema(), num_shards=shape.shards)
        build, _ = INDEXES[shape.index]
        index = self.client.prepare_index_params()
        index.add_index("v", index_type=shape.index, metric_type=shape.metric, params=build)
        self.client.create_index(NAME, index, sync=False)
        self.create_partition(PARTITIONS[0])
        self.load([])

    def teardown(self) -> None:
        if not hasattr(self, "deployment"):
            return
        try:
            self.check_everything()
            if self.wanted >= LEAST_WANTED:
                assert self.found >= LEAST_RECALL * self.wanted, f"recall {self.found / self.wanted:.3f}"
        finally:
            self.deployment.close()

    # writes

    @step(batch=batches, pick=picks)
    def insert(self, batch: list[tuple[int, int]], pick: int) -> None:
        self.write_rows(batch, self.pick(pick))

    @step(first=seeds, count=st.integers(24, 120), pick=picks)
    def insert_many(self, first: int, count: int, pick: int) -> None:
        """Enough for an index, or for a flush by size."""
        self.write_rows([(100 + first + i, first + i) for i in range(count)], self.pick(pick))

    def write_rows(self, batch: Iterable[tuple[int, int]], partition: str) -> None:
        rows = [row(self.shape.key(n), seed, self.labels[partition]) for n, seed in batch]
        answer = self.client.insert(
            NAME, [entity(r, not self.shape.auto_id) for r in rows], partition_name=partition
        )
        assert answer["insert_count"] == len(rows)
        if self.shape.auto_id:
            rows = [Row(k, r.values, r.vector, r.partition) for k, r in zip(answer["ids"], rows, strict=True)]
        assert list(answer["ids"]) == [r.key for r in rows]
        self.reference.insert(rows)

    @step(batch=batches, existing=recent, pick=picks)
    def upsert(self, batch: list[tuple[int, int]], existing: list[int], pick: int) -> None:
        """Keys that are there, keys that are not, keys twice in a batch."""
        partition = self.pick(pick)
        rows = [row(self.shape.key(n), seed, self.labels[partition]) for n, seed in batch]
        there = self.reference.rows
        rows += [row(there[-1 - n].key, n, self.labels[partition]) for n in existing if n < len(there)]
        answer = self.client.upsert(NAME, [entity(r, True) for r in rows], partition_name=partition)
        assert answer["upsert_count"] == len(rows)
        self.reference.upsert(rows)

    @step(chosen=some, existing=recent, pick=picks)
    def delete_keys(self, chosen: list[int], existing: list[int], pick: int) -> None:
        there = self.reference.rows
        keys = [self.shape.key(n) for n in chosen]
        keys += [there[-1 - n * 3].key for n in existing if n * 3 < len(there)]
        if not keys:
            return
        partition = self.pick(pick) if pick % 3 == 0 else None
        if self.shape.auto_id and self.shape.text_keys:
            keys = [str(k) for k in keys]
        self.client.delete(NAME, ids=keys, **({"partition_name": partition} if partition else {}))
        self.reference.delete_keys(keys, partition and self.labels[partition])

    @step(chosen=filters, pick=picks)
    def delete_where(self, chosen: Filter, pick: int) -> None:
        partition = self.pick(pick) if pick % 3 == 0 else None
        # A filter on keys alone would be a delete by keys, which needs nothing loaded.
        text = f"({chosen.text}) and i64 > -1000"
        named = {"partition_name": partition} if partition else {}
        if self.loaded is None or (partition is not None and partition not in self.loaded):
            with pytest.raises(MilvusException, match="not loaded"):
                self.client.delete(NAME, filter=text, **named)
            return
        answer = self.client.delete(NAME, filter=text, **named)
        count = self.reference.delete_where(
            chosen.test, self.readable(), partition and self.labels[partition]
        )
        assert answer["delete_count"] == count

    # partitions

    @step(name=st.sampled_from(PARTITIONS))
    def create_partition(self, name: str) -> None:
        if name not in self.labels:
            self.incarnation += 1
            self.labels[name] = f"{name}#{self.incarnation}"
            if self.whole and self.loaded is not None:
                self.loaded.add(name)
        self.client.create_partition(NAME, name)

    @step(name=st.sampled_from(PARTITIONS))
    def drop_partition(self, name: str) -> None:
        if self.loaded is not None and name in self.loaded:
            with pytest.raises(MilvusException, match="release"):
                self.client.drop_partition(NAME, name)
            self.release([name])
        self.client.drop_partition(NAME, name)
        label = self.labels.pop(name, None)
        if label is not None:
            self.reference.drop_partition(label)

    # what must not change an answer

    @step()
    def flush(self) -> None:
        self.client.flush(NAME)
        self.check_everything()

    @step()
    def settle(self) -> None:
        """Waits until every index that is missing is built."""
        self.client.flush(NAME)
        deadline = time.monotonic() + SETTLE_SECONDS
        while int(self.client.describe_index(NAME, "v")["pending_index_rows"]):
            assert time.monotonic() < deadline, "the index is not built"
            time.sleep(0.01)
        self.check_everything()

    @step(names=st.sets(st.sampled_from((DEFAULT, *PARTITIONS))))
    def load(self, names: Collection[str]) -> None:
        there = sorted(n for n in names if n in self.labels)
        if there:
            self.client.load_partitions(NAME, there)
            if not self.whole or self.loaded is None:
                self.loaded, self.whole = {*(self.loaded or ()), *there}, False
        else:
            self.client.load_collection(NAME)
            self.loaded, self.whole = set(self.labels), True
        self.check_everything()

    @step(names=st.sets(st.sampled_from((DEFAULT, *PARTITIONS))))
    def release(self, names: Collection[str]) -> None:
        there = sorted(n for n in names if n in self.labels)
        if not there:
            self.client.release_collection(NAME)
            self.loaded, self.whole = None, False
            return
        self.client.release_partitions(NAME, there)
        if self.loaded is not None:
            self.loaded, self.whole = (self.loaded - set(there)) or None, False

    @step()
    def restart(self) -> None:
        self.deployment.restart()
        self.check_everything()

    @step()
    def crash(self) -> None:
        self.deployment.crash()
        self.check_everything()

    @step(shape=shapes)
    def drop_and_create_again(self, shape: Shape) -> None:
        self.client.drop_collection(NAME)
        assert not self.client.has_collection(NAME)
        self.create(shape)

    # reads

    @step(
        chosen=st.just(EVERYTHING) | filters,
        seed=seeds,
        limit=st.integers(1, 40),
        offset=st.sampled_from((0, 0, 1, 7)),
        queries=st.integers(1, 3),
        output=fields,
        pick=picks,
        level=levels,
    )
    def search(
        self,
        chosen: Filter,
        seed: int,
        limit: int,
        offset: int,
        queries: int,
        output: set[str],
        pick: int,
        level: str,
    ) -> None:
        named = self.some_partitions(pick)
        vectors = [vector(np.random.default_rng([seed, i])) for i in range(queries)]
        _, params = INDEXES[self.shape.index]

        def ask() -> Any:
            return self.client.search(
                NAME,
                data=[v.tolist() for v in vectors],
                filter=chosen.text,
                limit=limit,
                output_fields=sorted(output),
                search_params={
                    "metric_type": self.shape.metric,
                    "params": {**params, "offset": offset},
                    "offset": offset,
                },
                partition_names=named,
                consistency_level=level,
            )

        if not self.can_read(named):
            with pytest.raises(MilvusException, match="not loaded"):
                ask()
            return
        readable = self.readable(named)
        for query, hits in zip(vectors, ask(), strict=True):
            wanted = self.reference.search(query, chosen.test, readable)
            by_key = {hit.key: hit for hit in wanted}
            wanted = wanted[offset : offset + limit]
            assert len(hits) == len(wanted)
            assert len({hit["id"] for hit in hits}) == len(hits), "a key twice"
            for hit in hits:
                known = by_key.get(hit["id"])
                assert known is not None, f"{hit['id']} does not match or is not there"
                assert abs(hit["distance"] - known.score) <= tolerance(known.score), (hit, known.score)
                assert any(same(hit["entity"], r, output, with_key=False) for r in known.rows), (hit, known)
            self.check_order([hit["distance"] for hit in hits], [hit.score for hit in wanted])

    def check_order(self, got: list[float], wanted: list[float]) -> None:
        sign = -1 if self.shape.metric != "L2" else 1
        assert got == sorted(got, key=lambda s: sign * s)
        near = [abs(g - w) <= tolerance(w) for g, w in zip(got, wanted, strict=True)]
        if self.shape.index in EXACT:
            assert all(near), (got, wanted)
        self.wanted += len(wanted)
        if wanted:
            worst = sign * wanted[-1] + tolerance(wanted[-1])
            self.found += sum(sign * score <= worst for score in got)

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
                NAME,
                filter=chosen.text,
                output_fields=sorted(output),
                partition_names=named,
                consistency_level=level,
                **window,
            )

        if not self.can_read(named):
            with pytest.raises(MilvusException, match="not loaded"):
                ask()
            return
        rows = newest(self.reference.matching(chosen.test, self.readable(named)))
        wanted = list(rows)
        if limit is not None:
            wanted = wanted[offset : offset + limit]
        got = ask()
        output = output or {"*"}  # the client takes none for all
        assert [r["id"] for r in got] == wanted
        for answer in got:
            assert any(same(answer, r, output) for r in rows[answer["id"]]), (answer, rows[answer["id"]])

    @step(chosen=st.just(EVERYTHING) | filters, pick=picks)
    def count(self, chosen: Filter, pick: int) -> None:
        named = self.some_partitions(pick)
        if not self.can_read(named):
            return
        [answer] = self.client.query(
            NAME,
            filter=chosen.text,
            output_fields=["count(*)"],
            partition_names=named,
            consistency_level=STRONG,
        )
        assert answer["count(*)"] == len(self.reference.matching(chosen.test, self.readable(named)))

    @precondition(lambda self: self.loaded is not None)
    @step(chosen=st.lists(numbers, min_size=1, max_size=8), existing=recent)
    def get(self, chosen: list[int], existing: list[int]) -> None:
        there = self.reference.rows
        keys = [self.shape.key(n) for n in chosen]
        keys += [there[-1 - n * 3].key for n in existing if n * 3 < len(there)]
        rows = newest(r for r in self.reference.matching(everywhere, self.readable()) if r.key in keys)
        got = self.client.get(NAME, ids=keys, output_fields=["*"], consistency_level=STRONG)
        assert [r["id"] for r in got] == list(rows)
        assert all(any(same(answer, r, {"*"}) for r in rows[answer["id"]]) for answer in got)

    @precondition(lambda self: self.loaded is not None)
    @step(level=stale_levels)
    def stale_query(self, level: str) -> None:
        """A prefix of each channel's writes; with one channel, a state that there was."""
        got = self.client.query(NAME, filter="i64 > -1000", output_fields=["*"], consistency_level=level)
        states = [newest(matching(rows, everywhere, self.readable())) for rows in self.reference.history]
        if self.shape.shards == 1:
            assert any(is_state(got, state) for state in states), got
        for answer in got:
            assert any(same(answer, r, {"*"}) for state in states for r in state.get(answer["id"], ())), (
                f"{answer} never existed"
            )

    def check_everything(self) -> None:
        """All rows that can be read are there with all their fields, and no others."""
        if self.loaded is None:
            return
        rows = self.reference.matching(everywhere, self.readable())
        [answer] = self.client.query(NAME, output_fields=["count(*)"], consistency_level=STRONG)
        assert answer["count(*)"] == len(rows)
        got = self.client.query(NAME, "i64 > -1000", ["*"], consistency_level=STRONG)
        assert is_state(got, newest(rows))

    # names and labels

    def pick(self, number: int) -> str:
        return sorted(self.labels)[number % len(self.labels)]

    def some_partitions(self, pick: int) -> list[str]:
        return (
            [self.pick(pick)] if pick % 3 == 0 else sorted(self.labels) if pick % 3 == 1 and pick > 6 else []
        )

    def can_read(self, named: list[str]) -> bool:
        return self.loaded is not None and self.loaded.issuperset(named)

    def readable(self, named: Collection[str] = ()) -> set[str]:
        return {self.labels[n] for n in (named or self.loaded or ())}


# Any: answers of pymilvus have no types.
def same(answer: dict[str, Any], row: Row, output: Collection[str], with_key: bool = True) -> bool:
    """Whether `answer` is exactly the output fields of `row`."""
    everything = {**row.values, "v": row.vector.tolist(), "id": row.key}
    wanted: dict[str, Any] = {n: v for n, v in everything.items() if "*" in output or n in output}
    if with_key:
        wanted["id"] = row.key
    return {n: plain(v) for n, v in answer.items()} == wanted


def plain(value: Any) -> Any:
    return [float(x) for x in value] if isinstance(value, list | np.ndarray) else value


def is_state(got: list[dict[str, Any]], state: dict[Key, list[Row]]) -> bool:
    return [a["id"] for a in got] == list(state) and all(
        any(same(a, r, {"*"}) for r in state[a["id"]]) for a in got
    )


PROFILES = {
    "ci": settings(
        max_examples=30, stateful_step_count=30, phases=(Phase.explicit, Phase.reuse, Phase.generate)
    ),
    "soak": settings(
        max_examples=int(os.environ.get("ELANUS_MACHINE_EXAMPLES", "2000")),
        stateful_step_count=60,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    ),
    "shrink": settings(max_examples=2000, stateful_step_count=60),
}
"""A failure of the first two prints what reproduces it; the third, which takes its time, makes it small."""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    # So few rows would be compared one by one, and no index would be asked.
    monkeypatch.setattr(engine, "EXACT_BELOW_ROWS", 0)
    # It writes a traceback for every error, also for those that are the right answer.
    monkeypatch.setattr(logging.getLogger("pymilvus.decorators"), "disabled", True)


TestHistory = History.TestCase
TestHistory.settings = settings(
    PROFILES[os.environ.get("ELANUS_MACHINE", "ci")],
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
