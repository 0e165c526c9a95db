"""The right answers and the recall that is measured against them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import exact
from benchmarks.model import FILTERS, Filter, columns


@given(
    rows=st.integers(1, 200),
    k=st.integers(1, 12),
    metric=st.sampled_from(["L2", "IP", "COSINE"]),
    filter=st.sampled_from([None, *FILTERS]),
    block=st.sampled_from([7, 50, 1000]),
)
def test_it_is_what_sorting_all_rows_gives(
    rows: int, k: int, metric: str, filter: Filter | None, block: int
) -> None:
    generator = np.random.default_rng(rows)
    vectors = generator.standard_normal((rows, 6)).astype(np.float32)
    queries = generator.standard_normal((5, 6)).astype(np.float32)
    before, exact.BLOCK_ROWS = exact.BLOCK_ROWS, block
    try:
        found = exact.search(vectors, queries, k, metric, filter)
    finally:
        exact.BLOCK_ROWS = before
    ids = np.arange(rows)
    kept = ids[filter.mask(ids)] if filter else ids
    for query, answer in zip(queries.astype(float), found, strict=True):
        among = vectors[kept].astype(float)
        if metric == "L2":
            distances = ((among - query) ** 2).sum(axis=1)
        else:
            lengths = np.linalg.norm(among, axis=1) if metric == "COSINE" else 1.0
            distances = -(among @ query) / lengths
        want = kept[np.argsort(distances, kind="stable")[:k]].tolist()
        assert [id for id in answer.tolist() if id >= 0] == want
        assert (answer[len(want) :] == -1).all()


def test_recall_counts_true_neighbours_of_answered_queries_only() -> None:
    truth = np.array([[1, 2], [3, 4], [5, -1]])
    assert exact.recall({0: [2, 9], 2: [5]}, truth) == pytest.approx(0.75)
    assert exact.recall({}, truth) == -1.0


@pytest.mark.parametrize("filter", FILTERS, ids=lambda one: f"{one.kind}-{one.selectivity}")
def test_a_filter_keeps_the_share_of_rows_that_it_names(filter: Filter) -> None:
    ids = np.arange(100_000, dtype=np.int64)
    assert filter.mask(ids).mean() == pytest.approx(filter.selectivity, rel=0.1)


def test_columns_depend_on_the_id_alone() -> None:
    whole = columns(np.arange(1000))
    part = columns(np.arange(400, 500))
    assert all((whole[name][400:500] == part[name]).all() for name in whole)
