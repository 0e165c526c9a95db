"""The exact search against double-precision distances."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine.exact import exact_search
from elanus.engine.growing import GrowingSegment
from elanus.engine.index import check_search
from elanus.engine.search import search
from elanus.model.types import DataType, Metric
from tests.unit.engine.samples import VECTOR, batch_of, schema_of, scores_of, seal, table_of

METRICS = [Metric.L2, Metric.IP, Metric.COSINE]


def growing_of(vectors: np.ndarray, keys: list[int] | None = None, batches: int = 3) -> GrowingSegment:
    schema = schema_of(dim=vectors.shape[1])
    growing = GrowingSegment(schema, block_rows=max(1, len(vectors) // 2))
    keys = list(range(len(vectors))) if keys is None else keys
    for ts, rows in enumerate(np.array_split(np.arange(len(vectors)), batches), start=1):
        growing.append(batch_of(schema, [keys[r] for r in rows], [1] * len(rows), vectors[rows]), ts)
    return growing


def expected(
    query: np.ndarray, vectors: np.ndarray, metric: Metric, allowed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All allowed rows, nearest first, ties by row."""
    scores = scores_of(query, vectors, metric)
    cost = -scores if metric.larger_is_nearer else scores
    order = np.lexsort((np.arange(len(vectors)), cost))
    order = order[allowed[order]]
    return scores[order], order


@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    rows=st.integers(1, 300),
    dim=st.integers(1, 40),
    k=st.integers(1, 320),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    offset=st.sampled_from([0.0, 1000.0]),
    scale=st.sampled_from([1e-25, 1.0, 1e25]),
    scratch_bytes=st.sampled_from([64, 4096, 32 << 20]),
)
@settings(max_examples=150, deadline=None)
def test_the_nearest_rows_are_those_of_double_precision(
    seed: int,
    metric: Metric,
    rows: int,
    dim: int,
    k: int,
    share: float,
    offset: float,
    scale: float,
    scratch_bytes: int,
) -> None:
    random = np.random.default_rng(seed)
    vectors = ((random.normal(size=(rows, dim)) + offset) * scale).astype(np.float32)
    vectors[random.random(rows) < 0.1] = 0
    vectors[random.random(rows) < 0.2] = vectors[0]
    queries = ((random.normal(size=(3, dim)) + offset) * scale).astype(np.float32)
    queries[0] = vectors[rows // 2]
    mask = random.random(rows) < share
    reader = growing_of(vectors).reader(100)
    with np.errstate(over="ignore", under="ignore"):
        scores, found = exact_search(
            reader, VECTOR, queries, k, metric, None if share == 1 else mask, None, scratch_bytes
        )
        for which in range(3):
            allowed = np.ones(rows, bool) if share == 1 else mask
            best_scores, best = expected(queries[which], vectors, metric, allowed)
            count = min(k, len(best))
            assert (found[which, count:] == -1).all()
            # The reference sums in another order: scores that differ in the last bit may change places.
            np.testing.assert_allclose(scores[which, :count], best_scores[:count], rtol=2e-7, atol=1e-45)
            assert len(set(found[which, :count].tolist())) == count
            assert allowed[found[which, :count]].all()


@pytest.mark.parametrize("metric", METRICS)
def test_equal_scores_are_ordered_by_key(metric: Metric) -> None:
    random = np.random.default_rng(5)
    vectors = np.repeat(random.normal(size=(4, 16)), 500, axis=0).astype(np.float32)
    keys = random.permutation(2000).tolist()
    reader = growing_of(vectors, keys, batches=7).reader(100)
    hits = search([reader], reader.schema.by_id[VECTOR], vectors[:1], 700, metric, {})
    group = np.searchsorted(np.arange(0, 2000, 500), hits.rows, side="right")
    for one in np.unique(group[:500]):
        mine = hits.keys.to_numpy()[group == one]
        assert (np.diff(mine) > 0).all()
    assert hits.keys.to_numpy()[:500].tolist() == sorted(keys[:500])


def test_the_distance_of_a_vector_to_itself_is_zero_however_long_it_is() -> None:
    vectors = (np.random.default_rng(1).normal(size=(500, 64)) + 3000).astype(np.float32)
    scores, rows = exact_search(growing_of(vectors).reader(100), VECTOR, vectors, 1, Metric.L2, None)
    assert rows[:, 0].tolist() == list(range(500))
    assert (scores == 0).all()


def test_a_zero_vector_has_cosine_zero() -> None:
    vectors = np.array([[0, 0], [-1, 0], [1, 1]], np.float32)
    reader = growing_of(vectors).reader(100)
    scores, rows = exact_search(reader, VECTOR, np.array([[2, 0]], np.float32), 3, Metric.COSINE, None)
    assert rows.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(scores, [[np.sqrt(0.5), 0, -1]], rtol=1e-6)
    scores, _ = exact_search(reader, VECTOR, np.zeros((1, 2), np.float32), 3, Metric.COSINE, None)
    assert (scores == 0).all()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.1, 1.0])
@pytest.mark.parametrize("scratch_bytes", [4096, 32 << 20])
def test_a_range_holds_its_near_end_and_not_its_radius(
    metric: Metric, share: float, scratch_bytes: int
) -> None:
    random = np.random.default_rng(7)
    vectors = random.integers(-3, 4, (400, 3)).astype(np.float32)
    queries = random.integers(-3, 4, (5, 3)).astype(np.float32)
    mask = random.random(400) < share
    reader = growing_of(vectors).reader(100)
    for which in range(5):
        scores, order = expected(queries[which], vectors, metric, mask)
        near, radius = float(scores[len(scores) // 4]), float(scores[len(scores) // 2])
        params = {"radius": radius, "range_filter": near}
        _, rows = exact_search(
            reader, VECTOR, queries[which : which + 1], 400, metric, mask, params, scratch_bytes
        )
        if metric.larger_is_nearer:
            inside = (scores > np.float32(radius)) & (scores <= np.float32(near))
        else:
            inside = (scores < np.float32(radius)) & (scores >= np.float32(near))
        count = int(inside.sum())
        assert rows[0, :count].tolist() == order[inside].tolist()
        assert (rows[0, count:] == -1).all()


def test_many_queries_are_answered_in_bounded_blocks(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    vectors = random.normal(size=(200, 4)).astype(np.float32)
    schema = schema_of()
    table = table_of(batch_of(schema, list(range(200)), [1] * 200, vectors), [5] * 200)
    readers = [seal(table, schema, tmp_path / "s").reader(9), growing_of(vectors).reader(1)]
    queries = random.normal(size=(4000, 4)).astype(np.float32)
    hits = search(readers, schema.by_id[VECTOR], queries, 16384, Metric.L2, {}, scratch_bytes=1 << 20)
    assert (hits.counts == 200).all()
    nearest = hits.rows.reshape(4000, 200)[:, 0]
    wanted = ((queries[:, None] - vectors[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == wanted).mean() > 0.999


def test_no_readers_and_nothing_visible_give_no_hits(tmp_path: Path) -> None:
    schema = schema_of(DataType.VARCHAR)
    empty = GrowingSegment(schema).reader(100)
    queries = np.zeros((2, 4), np.float32)
    for readers in ([], [empty], [empty, empty]):
        hits = search(readers, schema.by_id[VECTOR], queries, 5, Metric.L2, check_search("FLAT", {}, 5))
        assert hits.counts.tolist() == [0, 0]
        assert len(hits.keys) == len(hits.rows) == len(hits.scores) == 0
