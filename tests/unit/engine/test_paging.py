"""Pages of search iterators: every row on exactly one page, whatever holds it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elanus.engine import index as indexes
from elanus.engine.growing import GrowingSegment
from elanus.engine.paging import page
from elanus.engine.reader import Reader
from elanus.model.index_parameters import check_build, check_search, has_file
from elanus.model.nouns import IndexFile
from elanus.model.types import Metric
from tests.unit.engine.samples import VECTOR, batch_of, schema_of, scores_of, seal, table_of

SCHEMA = schema_of(dim=8)
FIELD = SCHEMA.by_id[VECTOR]
METRICS = [Metric.L2, Metric.IP, Metric.COSINE]
LATE = 1 << 62


def readers_of(vectors: np.ndarray, sealed: int, kind: str, metric: Metric, folder: Path) -> list[Reader]:
    """Two segments of `sealed` rows each, indexed where the kind has an index; the rest in memory."""
    readers = []
    for number in range(2):
        keys = list(range(number * sealed, (number + 1) * sealed))
        batch = batch_of(SCHEMA, keys, [1] * sealed, vectors[keys])
        segment = seal(table_of(batch, [1] * sealed), SCHEMA, folder / f"{kind}-{metric}-{number}")
        if has_file(kind):
            path = folder / f"{kind}-{metric}-{number}.index"
            built = indexes.build(kind, vectors[keys], metric, check_build(kind, metric, {}, FIELD))
            built.save(path)
            file = IndexFile(
                index_id=1,
                field_id=VECTOR,
                type=kind,
                metric=metric,
                path=str(path),
                bytes=path.stat().st_size,
            )
            segment.attach_index(file, path)
        readers.append(segment.reader(LATE))
    growing = GrowingSegment(SCHEMA)
    keys = list(range(2 * sealed, len(vectors)))
    growing.append(batch_of(SCHEMA, keys, [1] * len(keys), vectors[keys]), 1)
    return [*readers, growing.reader(LATE)]


def walk(
    readers: list[Reader], query: np.ndarray, size: int, metric: Metric, params: dict[str, Any]
) -> list[list[int]]:
    """The keys of each page."""
    pages: list[list[int]] = []
    bound = None
    while True:
        hits = page(readers, FIELD, query[None], size, metric, params, None, bound)
        if not len(hits.scores):
            return pages
        pages.append(hits.keys.to_pylist())
        assert len(pages) <= sum(r.rows for r in readers), "it never ends"
        bound = float(hits.scores[-1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["FLAT", "HNSW", "IVF_FLAT"])
def test_the_pages_are_the_exact_order_whatever_holds_the_rows(
    kind: str, metric: Metric, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    vectors = random.standard_normal((5000, 8)).astype(np.float32)
    query = random.standard_normal(8).astype(np.float32)
    readers = readers_of(vectors, 2000, kind, metric, tmp_path)
    pages = walk(readers, query, 333, metric, check_search(kind, {}, 333, metric))
    scores = scores_of(query, vectors, metric)
    cost = -scores if metric.larger_is_nearer else scores
    seen = [key for keys in pages for key in keys]
    assert len(seen) == len(set(seen))
    # A row that its graph hides from the search is on no page, as it is in no other answer.
    assert len(seen) >= (4990 if kind == "HNSW" else 5000)
    shown = cost[seen]
    assert float(np.mean(shown[1:] >= shown[:-1])) > 0.999
    nearest = np.argsort(cost, kind="stable")
    if kind == "FLAT":
        assert [set(keys) for keys in pages] == [set(nearest[i : i + 333]) for i in range(0, 5000, 333)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    size=st.integers(1, 20),
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 99),
)
def test_hits_with_equal_scores_are_neither_lost_nor_shown_twice(
    values: list[int], size: int, metric: Metric, seed: int
) -> None:
    kinds = np.random.default_rng(seed).standard_normal((6, 8)).astype(np.float32)
    vectors = kinds[values]
    growing = GrowingSegment(SCHEMA)
    growing.append(batch_of(SCHEMA, list(range(len(values))), [1] * len(values), vectors), 1)
    pages = walk([growing.reader(LATE)], kinds[0], size, metric, {})
    assert sorted(key for keys in pages for key in keys) == list(range(len(values)))
    of_page = [{values[key] for key in keys} for keys in pages]
    for first, second in pairwise(of_page):
        assert not first & second, "equal scores are on one page"
    assert all(len(keys) <= size or len(kinds_) == 1 for keys, kinds_ in zip(pages, of_page, strict=True))


@pytest.mark.parametrize("metric", METRICS)
def test_pages_keep_to_the_range_that_was_asked_for(metric: Metric, tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    vectors = random.standard_normal((3000, 8)).astype(np.float32)
    query = random.standard_normal(8).astype(np.float32)
    scores = np.sort(scores_of(query, vectors, metric))
    scores = scores[::-1] if metric.larger_is_nearer else scores
    readers = readers_of(vectors, 1200, "HNSW", metric, tmp_path)
    asked = {"radius": float(scores[700]), "range_filter": float(scores[100])}
    pages = walk(readers, query, 64, metric, check_search("HNSW", asked, 64, metric))
    seen = [key for keys in pages for key in keys]
    assert len(set(seen)) == len(seen)
    wanted = scores_of(query, vectors, metric)
    inside = (wanted <= scores[100]) & (wanted > scores[700])
    if not metric.larger_is_nearer:
        inside = (wanted >= scores[100]) & (wanted < scores[700])
    assert set(seen) == set(np.flatnonzero(inside).tolist())
