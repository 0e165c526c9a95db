"""What all histories share: a collection on a real instance, its reference, and how they are compared."""

import functools
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.machine.clock import Clock
from tests.machine.deployment import Deployment
from tests.machine.progress import progress
from tests.machine.samples import ADDED, DYNAMIC, KEY, KEYS, SCALARS, Shape
from tests.machine.vectors import EXACT
from tests.reference import LARGER_IS_NEARER, Hit, Reference, Row, everywhere, newest, tolerance
from tests.reference import Key as KeyValue

NAMES = ("things", "stuff")
ALIAS = "nick"
DEFAULT = "_default"
PARTITIONS = ("p1", "p2")
STRONG = "Strong"
LEAST_RECALL = 0.9
LEAST_WANTED = 100
"""Fewer hits than this say nothing about recall."""
ALWAYS = "rank >= 0"
"""A filter that is true for all rows and is not one of keys."""

numbers = st.integers(0, KEYS - 1)
seeds = st.integers(0, 5000)
some = st.lists(numbers, max_size=8)
picks = st.integers(0, 11)
recent = st.lists(picks, min_size=1, max_size=6)
"""Rows that are there, counted from the newest."""
fields = st.sets(st.sampled_from((*SCALARS, "v", "w", "a"))) | st.just({"*"})
vector_names = st.sampled_from(("v", "v", "w"))
levels = st.sampled_from((STRONG, "Session"))


def step(**arguments: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule whose failure is told where it happens: one that does not happen again when the history is
    replayed would otherwise be reported as nothing but flaky."""

    def decorate(function: Callable[..., None]) -> Any:
        @functools.wraps(function)
        def run(self: "History", *given: Any, **drawn: Any) -> None:
            shown = [*map(repr, given), *(f"{name}={value!r}" for name, value in drawn.items())]
            self.steps.append(f"{function.__name__}({', '.join(shown)})")
            progress.step(function.__name__, len(self.reference.rows))
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

    def begin(self, shape: Shape) -> None:
        self.clock = Clock()
        self.clock.install()
        self.deployment = Deployment()
        self.steps: list[str] = []
        """What has been done, for the report of a failure."""
        self.found = self.wanted = 0
        self.incarnation = 0
        self.create(shape)

    @property
    def client(self) -> Any:
        return self.deployment.client

    @property
    def name(self) -> str:
        """The collection's own name or its alias, in turns."""
        return ALIAS if self.alias and len(self.steps) % 2 else self.own_name

    def create(self, shape: Shape) -> None:
        self.shape = shape
        self.indexes = dict(shape.indexes)
        self.reference = Reference(shape.metrics)
        self.labels = {DEFAULT: DEFAULT}
        self.loaded: set[str] | None = None
        """Names of the partitions that can be read; None: the collection is not loaded."""
        self.whole = False
        self.own_name, self.alias = NAMES[0], False
        self.added: set[str] = set()
        self.scalar_indexes: set[str] = set()
        self.ttl: int | None = None
        partitions = {"num_partitions": shape.tenants} if shape.tenants else {}
        self.client.create_collection(
            self.own_name, schema=shape.schema(), num_shards=shape.shards, **partitions
        )
        for field in shape.kinds:
            self.make_vector_index(field)
        if not shape.tenants:
            self.make_partition(PARTITIONS[0])
        self.client.load_collection(self.own_name)
        self.loaded, self.whole = set(self.labels), True

    def make_vector_index(self, field: str) -> None:
        build, _ = self.shape.kinds[field].indexes[self.indexes[field]]
        index = self.client.prepare_index_params()
        index.add_index(
            field,
            index_type=self.indexes[field],
            index_name=f"on_{field}",
            metric_type=self.shape.metrics[field],
            params=build,
        )
        self.client.create_index(self.name, index, sync=False)

    def make_partition(self, name: str) -> None:
        if name not in self.labels:
            self.incarnation += 1
            self.labels[name] = f"{name}#{self.incarnation}"
            if self.whole and self.loaded is not None:
                self.loaded.add(name)
        self.client.create_partition(self.name, name)

    def teardown(self) -> None:
        if not hasattr(self, "deployment"):
            return
        try:
            self.check_everything()
            if self.wanted >= LEAST_WANTED:
                assert self.found >= LEAST_RECALL * self.wanted, f"recall {self.found / self.wanted:.3f}"
        finally:
            self.deployment.close()
            self.clock.uninstall()
            progress.history()

    def check_everything(self) -> None:
        """All rows that can be read are there with all their fields, and no others."""
        if self.loaded is None:
            return
        rows = self.reference.matching(everywhere, self.readable())
        [answer] = self.client.query(self.name, output_fields=["count(*)"], consistency_level=STRONG)
        assert answer["count(*)"] == len(rows)
        got = self.client.query(self.name, ALWAYS, ["*"], consistency_level=STRONG)
        assert self.is_state(got, newest(rows)), differences(got, newest(rows))

    def check_hits(
        self, field: str, got: Sequence[Any], known: dict[KeyValue, Hit], output: Collection[str]
    ) -> None:
        """Each hit is a row that matches, with its best score; no key twice; nearest first."""
        assert len({hit[KEY] for hit in got}) == len(got), "a key twice"
        for hit in got:
            right = known.get(hit[KEY])
            assert right is not None, f"{hit[KEY]} does not match or is not there"
            assert abs(hit["distance"] - right.score) <= tolerance(right.score), (hit, right.score)
            assert any(self.same(hit["entity"], r, output, with_key=False) for r in right.rows), (hit, right)
        distances = [hit["distance"] for hit in got]
        assert distances == sorted(distances, key=lambda s: self.sign(field) * s)

    def check_nearest(self, field: str, got: list[float], wanted: list[float]) -> None:
        """Scores are those of the nearest rows: all with an exact index, else most of them, over time."""
        if self.indexes[field] in EXACT:
            assert len(got) == len(wanted)
            near = [abs(g - w) <= tolerance(w) for g, w in zip(got, wanted, strict=True)]
            assert all(near), (got, wanted)
        self.wanted += len(wanted)
        if wanted:
            sign = self.sign(field)
            worst = sign * wanted[-1] + tolerance(wanted[-1])
            self.found += sum(sign * score <= worst for score in got)

    def sign(self, field: str) -> int:
        """What makes smaller scores nearer."""
        return -1 if self.shape.metrics[field] in LARGER_IS_NEARER else 1

    # Any: answers of pymilvus have no types.
    def same(self, answer: dict[str, Any], row: Row, output: Collection[str], with_key: bool = True) -> bool:
        """Whether `answer` is exactly the output fields of `row`."""
        scalars = {n: v for n, v in row.values.items() if n != DYNAMIC}
        for name in self.added:
            scalars.setdefault(name, ADDED[name][2])
        scalars = {KEY: row.key, **scalars, **row.values[DYNAMIC]}
        asked = {n for n in (*scalars, *row.vectors) if "*" in output or n in output}
        asked |= {KEY} if with_key else set()
        if answer.keys() != asked:
            return False
        kinds = self.shape.kinds
        return all(
            kinds[name].equals(value, row.vectors[name]) if name in kinds else plain(value) == scalars[name]
            for name, value in answer.items()
        )

    def is_state(self, got: list[dict[str, Any]], state: dict[KeyValue, list[Row]]) -> bool:
        return [a[KEY] for a in got] == list(state) and all(
            any(self.same(a, r, {"*"}) for r in state[a[KEY]]) for a in got
        )

    # names and labels

    def pick(self, number: int) -> str:
        return sorted(self.labels)[number % len(self.labels)]

    def partition(self, name: str) -> dict[str, str]:
        """The argument that names it; rows of a collection with a partition key have no named partition."""
        return {} if self.shape.tenants else {"partition_name": name}

    def some_partitions(self, pick: int) -> list[str]:
        if self.shape.tenants:
            return []
        return (
            [self.pick(pick)] if pick % 3 == 0 else sorted(self.labels) if pick % 3 == 1 and pick > 6 else []
        )

    def can_read(self, named: list[str]) -> bool:
        return self.loaded is not None and self.loaded.issuperset(named)

    def readable(self, named: Collection[str] = ()) -> set[str]:
        return {self.labels[n] for n in (named or self.loaded or ())}

    def some_keys(self, chosen: list[int], existing: list[int]) -> list[KeyValue]:
        there = self.reference.rows
        keys = [self.shape.key(n) for n in chosen]
        return keys + [there[-1 - n * 3].key for n in existing if n * 3 < len(there)]


def plain(value: Any) -> Any:
    """Lists of pymilvus are of a class of their own."""
    return list(value) if not isinstance(value, str | bytes | dict) and hasattr(value, "__iter__") else value


def differences(got: list[dict[str, Any]], state: dict[KeyValue, list[Row]]) -> str:
    there = [a[KEY] for a in got]
    missing, surplus = [k for k in state if k not in there], [k for k in there if k not in state]
    return f"missing {missing}, surplus {surplus}; else wrong values or order"
