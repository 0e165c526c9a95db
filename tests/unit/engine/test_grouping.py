"""Grouped searches against their definition."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine.grouping import grouped
from elanus.engine.growing import GrowingSegment
from elanus.engine.reader import Reader
from elanus.model.types import Metric
from tests.unit.engine.samples import TAG, VECTOR, batch_of, schema_of, scores_of

SCHEMA = schema_of(dim=4)
LATE = 1 << 62


def tag(key: int) -> int | None:
    """As in `batch_of`."""
    return None if key % 3 == 0 else key % 7


def readers_of(vectors: np.ndarray, cut: int) -> list[Reader]:
    readers = []
    for keys in (range(cut), range(cut, len(vectors))):
        growing = GrowingSegment(SCHEMA)
        growing.append(batch_of(SCHEMA, list(keys), [1] * len(keys), vectors[list(keys)]), 1)
        readers.append(growing.reader(LATE))
    return readers


def expected(order: list[int], groups: int, size: int) -> list[int]:
    found: dict[int | None, list[int]] = {}
    for key in order:
        found.setdefault(tag(key), []).append(key)
    return [key for keys in list(found.values())[:groups] for key in keys[:size]]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 200),
    share=st.floats(0, 1),
    groups=st.integers(1, 9),
    size=st.integers(1, 12),
    metric=st.sampled_from([Metric.L2, Metric.IP, Metric.COSINE]),
    seed=st.integers(0, 99),
)
def test_the_best_groups_come_first_each_with_its_best_hits(
    rows: int, share: float, groups: int, size: int, metric: Metric, seed: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, 4)).astype(np.float32)
    queries = random.standard_normal((3, 4)).astype(np.float32)
    readers = readers_of(vectors, int(share * rows))
    field, by = SCHEMA.by_id[VECTOR], SCHEMA.by_id[TAG]
    hits = grouped(readers, field, queries, groups, metric, {}, None, by, size, strict=True)
    ends = np.cumsum(hits.counts)
    keys = hits.keys.to_pylist()
    for number, query in enumerate(queries):
        scores = scores_of(query, vectors, metric)
        order = np.argsort(-scores if metric.larger_is_nearer else scores, kind="stable").tolist()
        found = keys[ends[number] - hits.counts[number] : ends[number]]
        assert found == expected(order, groups, size)


def test_groups_that_need_not_be_full_are_as_many_as_asked_for() -> None:
    vectors = np.zeros((700, 4), np.float32)
    vectors[:, 0] = np.arange(700)
    vectors[[1, 2, 3, 4, 5, 6]] += 10_000
    readers = readers_of(vectors, 0)
    field, by = SCHEMA.by_id[VECTOR], SCHEMA.by_id[TAG]
    hits = grouped(readers, field, np.zeros((1, 4), np.float32), 7, Metric.L2, {}, None, by, 50)
    found = [tag(key) for key in hits.keys.to_pylist()]
    assert len(set(found)) == 7
