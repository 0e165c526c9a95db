"""Concurrent searches of one kind share calls, and each gets its own answer."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from elanus.model.errors import ViewGone
from elanus.roles.query import GroupBy, SearchCall, SearchHits, Target
from elanus.workers.batching import Batches, BatchLimits, Queries, kind_of

CALL = SearchCall(collection_id=1, schema_version=1, targets=(), field_id=7, k=2, metric="L2")
SECONDS = 20


def query(number: int) -> Queries:
    return np.array([[number, 0]], np.float32)


def answer(queries: Queries) -> SearchHits:
    """Query n has n % 3 hits with the key n."""
    numbers = queries[:, 0].astype(np.int64)
    counts = numbers % 3
    keys = np.repeat(numbers, counts)
    return SearchHits(
        counts=counts,
        scores=keys.astype(np.float32),
        keys=pa.array(keys),
        rows=pa.RecordBatch.from_arrays([pa.array(keys)], names=["1"]),
        read_ts=(5,),
    )


class Kernel:
    """The first call waits until it is let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        self.fail_for = -1

    def __call__(self, queries: Queries) -> SearchHits:
        self.sizes.append(len(queries))
        if len(self.sizes) == 1:
            self.begun.set()
            assert self.go.wait(SECONDS)
        if self.fail_for in queries[:, 0]:
            raise ViewGone("gone")
        return answer(queries)


def waiting(batches: Batches) -> int:
    return sum(len(b.queries) for kind in list(batches._kinds.values()) for b in kind.waiting)


def ask_all(batches: Batches, kernel: Kernel, count: int) -> list[Any]:
    """`count` searches of which all but the first come while that one runs."""
    with ThreadPoolExecutor(count) as pool:
        found = [pool.submit(batches.search, CALL, query(0), kernel)]
        assert kernel.begun.wait(SECONDS)
        found += [pool.submit(batches.search, CALL, query(n), kernel) for n in range(1, count)]
        pause = threading.Event()
        while waiting(batches) < count - 1:
            pause.wait(0.002)
        kernel.go.set()
        return [f.exception(SECONDS) or f.result() for f in found]


def test_searches_that_come_while_one_runs_share_the_next_calls_up_to_the_limit() -> None:
    batches, kernel = Batches(BatchLimits(queries=8, at_once=1)), Kernel()
    for number, hits in enumerate(ask_all(batches, kernel, 20)):
        assert (hits.counts.tolist(), hits.read_ts) == ([number % 3], (5,))
        assert hits.keys.to_pylist() == hits.rows.column(0).to_pylist() == [number] * (number % 3)
        assert hits.scores.tolist() == [number] * (number % 3)
    assert sorted(kernel.sizes) == [1, 3, 8, 8]
    assert not batches._kinds


def test_one_that_fails_fails_alone() -> None:
    batches, kernel = Batches(BatchLimits(queries=8, at_once=1)), Kernel()
    kernel.fail_for = 3
    found = ask_all(batches, kernel, 6)
    assert [n for n, hits in enumerate(found) if isinstance(hits, ViewGone)] == [3]
    assert [found[n].counts.tolist() for n in (1, 2, 4, 5)] == [[1], [2], [1], [2]]
    assert not batches._kinds


def test_an_idle_node_searches_at_once_and_a_limit_of_one_never_waits() -> None:
    for limits in (BatchLimits(queries=8, at_once=1), BatchLimits(queries=1, at_once=1)):
        batches, kernel = Batches(limits), Kernel()
        kernel.go.set()
        for number in range(3):
            assert batches.search(CALL, query(number), kernel).counts.tolist() == [number]
        assert kernel.sizes == [1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"k": 3},
        {"field_id": 8},
        {"params": {"ef": 9}},
        {"expression": "a > 1"},
        {"targets": (Target(channel_id=1, view="v", cut=4),)},
        {"partitions": (1,)},
        {"fields": (1,)},
        {"at_ts": 9},
        {"ignore_growing": True},
        {"expired_below": 5},
        {"metric": "IP"},
    ],
)
def test_searches_that_differ_are_not_asked_together(other: dict[str, Any]) -> None:
    changed = msgspec.structs.replace(CALL, **other)
    assert kind_of(changed, query(1)) not in (None, kind_of(CALL, query(1)))
    assert kind_of(msgspec.structs.replace(CALL, deadline_ms=7), query(2)) == kind_of(CALL, query(1))


def test_what_must_not_share_goes_alone() -> None:
    assert kind_of(CALL, np.zeros((2, 2), np.float32)) is None
    for other in ({"iterator": True}, {"group": GroupBy(field_id=1)}, {"templates": {"a": 1}}):
        assert kind_of(msgspec.structs.replace(CALL, **other), query(1)) is None
