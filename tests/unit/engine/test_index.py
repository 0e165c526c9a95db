"""Index families: recall against the exact search, filters, ranges, files."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elanus.engine import index as indexes
from elanus.engine.deletes import Deletes
from elanus.engine.exact import exact_search
from elanus.engine.index.faiss_index import normalised
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import search
from elanus.model.errors import CorruptError, InvalidParameter, NewerFormatError
from elanus.model.index_parameters import check_build, check_search, has_file, resolve
from elanus.model.nouns import IndexFile
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric
from tests.unit.engine.samples import VECTOR, batch_of, key_array, schema_of, seal, table_of

ROWS, DIM = 5000, 16
SCHEMA = schema_of(dim=DIM)
FIELD = SCHEMA.by_id[VECTOR]
BUILDS: dict[str, dict[str, Any]] = {
    "HNSW": {"M": 16, "efConstruction": 100},
    "IVF_FLAT": {"nlist": 64},
}
SEARCHES: dict[str, dict[str, Any]] = {"HNSW": {"ef": 100}, "IVF_FLAT": {"nprobe": 24}}
METRICS = [Metric.L2, Metric.IP, Metric.COSINE]
CASES = list(itertools.product(BUILDS, METRICS))


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(ROWS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def queries() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(30, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def files(vectors: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Metric], Path]:
    folder = tmp_path_factory.mktemp("indexes")
    paths = {}
    for name, metric in CASES:
        params = check_build(name, metric, BUILDS[name], FIELD)
        paths[name, metric] = folder / f"{name}-{metric}"
        indexes.build(name, vectors, metric, params, threads=2).save(paths[name, metric])
    return paths


@pytest.fixture
def segment(vectors: np.ndarray, tmp_path: Path) -> SealedSegment:
    batch = batch_of(SCHEMA, list(range(ROWS)), [1 + r % 2 for r in range(ROWS)], vectors)
    # One timestamp a partition, so that the file keeps each partition's rows in order.
    return seal(table_of(batch, [5] * ROWS), SCHEMA, tmp_path / "segment")


def attached(segment: SealedSegment, name: str, metric: Metric, folder: Path) -> SealedSegment:
    stored = next(iter(segment.reader(100).vectors(VECTOR))).matrix
    params = check_build(name, metric, BUILDS[name], FIELD)
    path = folder / "index"
    indexes.build(name, stored, metric, params).save(path)
    file = IndexFile(index_id=1, field_id=VECTOR, type=name, metric=metric, path="index", bytes=1)
    segment.attach_index(file, path)
    return segment


@pytest.mark.parametrize(("name", "metric"), CASES)
@pytest.mark.parametrize("share", [None, 0.9, 0.3, 0.1])
def test_an_index_finds_most_of_the_nearest_rows_and_only_selected_ones(
    name: str,
    metric: Metric,
    share: float | None,
    segment: SealedSegment,
    queries: np.ndarray,
    files: dict[tuple[str, Metric], Path],
    vectors: np.ndarray,
) -> None:
    index = indexes.load(name, files[name, metric], metric)
    mask = None if share is None else np.random.default_rng(4).random(ROWS) < share
    params = check_search(name, SEARCHES[name], 10)
    scores, rows = index.search(queries, 10, mask, params)
    assert rows.shape == scores.shape == (30, 10)
    assert (rows >= 0).all()
    if mask is not None:
        assert mask[rows].all()
    cost = -scores if metric.larger_is_nearer else scores
    assert (np.diff(cost, axis=1) >= 0).all()
    found = 0
    for which, query in enumerate(queries):
        true = _scores(query, vectors, metric)
        np.testing.assert_allclose(scores[which], true[rows[which]], rtol=1e-4, atol=1e-5)
        order = np.argsort(-true if metric.larger_is_nearer else true)
        order = order if mask is None else order[mask[order]]
        found += len(set(order[:10].tolist()) & set(rows[which].tolist()))
    assert found / 300 > 0.85


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_a_search_through_an_index_agrees_with_the_exact_one(
    name: str, metric: Metric, segment: SealedSegment, queries: np.ndarray, tmp_path: Path
) -> None:
    exact = search([segment.reader(100)], FIELD, queries, 10, metric, {})
    attached(segment, name, metric, tmp_path)
    dead = exact.keys.to_numpy()[::3].tolist()
    segment.apply(Deletes.from_record(key_array(SCHEMA, dead), -1, 50))
    params = check_search(name, SEARCHES[name], 10, metric)
    now, before = segment.reader(100), segment.reader(49)
    hits = search([now], FIELD, queries, 10, metric, params)
    assert not set(hits.keys.to_pylist()) & set(dead)
    again = search([before], FIELD, queries, 10, metric, params)
    assert len(set(again.keys.to_pylist()) & set(exact.keys.to_pylist())) > 0.8 * len(
        set(exact.keys.to_pylist())
    )
    few = segment.reader(100, frozenset({2}))
    hits = search([few], FIELD, queries, 10, metric, params)
    assert (hits.keys.to_numpy() % 2 == 1).all()
    segment.detach_index(1)
    assert segment.reader(100).index(VECTOR) is None


@pytest.mark.parametrize("name", list(BUILDS))
def test_a_search_for_more_than_the_index_reaches_is_completed_exactly(
    name: str, segment: SealedSegment, queries: np.ndarray, tmp_path: Path
) -> None:
    attached(segment, name, Metric.L2, tmp_path)
    params = {"ef": 1, "nprobe": 1}
    hits = search([segment.reader(100)], FIELD, queries[:2], 4000, Metric.L2, params)
    assert hits.counts.tolist() == [4000, 4000]
    hits = search([segment.reader(100)], FIELD, queries[:2], 16384, Metric.L2, params)
    assert hits.counts.tolist() == [ROWS, ROWS]


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_a_range_search_finds_most_rows_of_the_range_and_none_beyond(
    name: str, metric: Metric, segment: SealedSegment, queries: np.ndarray, tmp_path: Path
) -> None:
    reader = segment.reader(100)
    ladder, _ = exact_search(reader, VECTOR, queries, 100, metric, None)
    attached(segment, name, metric, tmp_path)
    found = wanted = 0
    for which in range(len(queries)):
        given = {"radius": float(ladder[which, 60]), "range_filter": float(ladder[which, 10])}
        params = check_search(name, {**SEARCHES[name], **given}, 100, metric)
        query = queries[which : which + 1]
        exact = search([reader], FIELD, query, 100, metric, given)
        hits = search([segment.reader(100)], FIELD, query, 100, metric, params)
        wanted += int(exact.counts[0])
        found += len(set(exact.keys.to_pylist()) & set(hits.keys.to_pylist()))
        # The kernel's scores may differ in the last bit from those the range was taken from.
        assert len(set(hits.keys.to_pylist()) - set(exact.keys.to_pylist())) <= 2
    assert found > 0.8 * wanted > 1000


@pytest.mark.parametrize("name", list(BUILDS))
def test_a_loaded_index_answers_as_the_built_one_from_many_threads(
    name: str, vectors: np.ndarray, queries: np.ndarray, tmp_path: Path
) -> None:
    params = check_build(name, Metric.L2, BUILDS[name], FIELD)
    built = indexes.build(name, vectors, Metric.L2, params)
    built.save(tmp_path / "index")
    loaded = indexes.load(name, tmp_path / "index", Metric.L2)
    assert loaded.rows == ROWS
    (tmp_path / "index").unlink()
    search_params = check_search(name, SEARCHES[name], 10)
    mask = np.random.default_rng(9).random(ROWS) < 0.5
    expected = built.search(queries, 10, mask, search_params)

    def one(which: int) -> bool:
        at = which % len(queries)
        scores, rows = loaded.search(queries[at : at + 1], 10, mask, search_params)
        return bool((rows == expected[1][at]).all() and np.allclose(scores, expected[0][at]))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(one, range(400)))


@pytest.mark.parametrize("name", list(BUILDS))
@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_rows_make_an_index_too(name: str, rows: int, tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(rows, DIM)).astype(np.float32)
    params = check_build(name, Metric.COSINE, {"nlist": 1024}, FIELD)
    built = indexes.build(name, vectors, Metric.COSINE, params)
    built.save(tmp_path / "index")
    loaded = indexes.load(name, tmp_path / "index", Metric.COSINE)
    scores, found = loaded.search(vectors, 60, None, check_search(name, {"nprobe": 1024}, 60))
    assert found.shape == (rows, 60)
    assert found[:, 0].tolist() == list(range(rows))
    assert (np.sort(found[:, :rows], axis=1) == np.arange(rows)).all()
    assert (found[:, rows:] == -1).all()
    assert np.isneginf(scores[:, rows:]).all()


@pytest.mark.parametrize("name", list(BUILDS))
def test_a_damaged_or_newer_index_file_is_refused_by_name(
    name: str, files: dict[tuple[str, Metric], Path], tmp_path: Path
) -> None:
    body = files[name, Metric.L2].read_bytes()
    path = tmp_path / "the-index"
    for damaged in (
        b"",
        body[:10],
        body[:-1],
        body[: len(body) // 2],
        body[100:],
        body[:500] + b"\x7f" + body[501:],
    ):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match="the-index"):
            indexes.load(name, path, Metric.L2)
    newer = bytearray(body)
    newer[-16] = 9
    path.write_bytes(newer)
    with pytest.raises(NewerFormatError, match="the-index has format 9"):
        indexes.load(name, path, Metric.L2)


def test_an_index_of_other_rows_is_refused(
    segment: SealedSegment, vectors: np.ndarray, tmp_path: Path
) -> None:
    params = check_build("HNSW", Metric.L2, {}, FIELD)
    indexes.build("HNSW", vectors[:10], Metric.L2, params).save(tmp_path / "index")
    file = IndexFile(index_id=1, field_id=VECTOR, type="HNSW", metric=Metric.L2, path="index", bytes=1)
    with pytest.raises(CorruptError, match="10 rows"):
        segment.attach_index(file, tmp_path / "index")


def test_build_parameters_have_defaults_types_and_ranges() -> None:
    check = check_build
    assert check("HNSW", Metric.L2, {}, FIELD) == {"M": 30, "efConstruction": 360}
    assert check("AUTOINDEX", Metric.L2, {}, FIELD) == {"M": 18, "efConstruction": 240}
    assert check("HNSW", Metric.L2, {"M": "16", "efConstruction": 64.0, "other": 1}, FIELD) == {
        "M": 16,
        "efConstruction": 64,
    }
    assert check("FLAT", Metric.IP, {"nlist": 5}, FIELD) == {}
    assert resolve("AUTOINDEX", FIELD) == "HNSW"
    assert not has_file("FLAT")
    assert has_file("HNSW")
    for params in (
        {"M": 1},
        {"M": 2049},
        {"M": "x"},
        {"M": True},
        {"M": 1.5},
        {"M": None},
        {"M": float("inf")},
    ):
        with pytest.raises(InvalidParameter, match="M is"):
            check("HNSW", Metric.L2, params, FIELD)
    with pytest.raises(InvalidParameter, match="nlist is 0; it must be in \\[1, 65536\\]"):
        check("IVF_FLAT", Metric.L2, {"nlist": 0}, FIELD)
    with pytest.raises(InvalidParameter, match="SCANN"):
        check("SCANN", Metric.L2, {}, FIELD)
    with pytest.raises(InvalidParameter, match="HAMMING"):
        check("HNSW", Metric.HAMMING, {}, FIELD)
    with pytest.raises(InvalidParameter, match="VARCHAR"):
        check("HNSW", Metric.L2, {}, Field(id=1, name="a", type=DataType.VARCHAR))


def test_search_parameters_have_defaults_types_and_ranges() -> None:
    check = check_search
    assert check("HNSW", {}, 10) == {"ef": 16}
    assert check("HNSW", {}, 100) == {"ef": 100}
    assert check("HNSW", {"ef": 20, "nprobe": 3}, 100) == {"ef": 100}
    assert check("HNSW", {"radius": "2"}, 10) == {"ef": 512, "radius": 2.0}
    assert check("IVF_FLAT", {"ef": 3}, 10) == {"nprobe": 8}
    assert check("FLAT", {"ef": 3}, 10) == {}
    for params in ({"nprobe": 0}, {"nprobe": 65537}, {"nprobe": "many"}):
        with pytest.raises(InvalidParameter, match="nprobe is"):
            check("IVF_FLAT", params, 10)
    with pytest.raises(InvalidParameter, match="radius is 'x'"):
        check("FLAT", {"radius": "x"}, 10)
    with pytest.raises(InvalidParameter, match="without radius"):
        check("FLAT", {"range_filter": 1}, 10)
    assert check("FLAT", {"radius": 2, "range_filter": 1}, 10, Metric.L2)
    assert check("FLAT", {"radius": 1, "range_filter": 2}, 10, Metric.IP)
    with pytest.raises(InvalidParameter, match="must be less than"):
        check("FLAT", {"radius": 1, "range_filter": 2}, 10, Metric.L2)
    with pytest.raises(InvalidParameter, match="must be greater than"):
        check("FLAT", {"radius": 2, "range_filter": 1}, 10, Metric.COSINE)


def _scores(query: np.ndarray, vectors: np.ndarray, metric: Metric) -> np.ndarray:
    if metric is Metric.L2:
        return np.asarray(((vectors - query) ** 2).sum(axis=1))
    dots = vectors @ query
    if metric is Metric.IP:
        return np.asarray(dots)
    return np.asarray(dots / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query))


def test_one_vector_is_normalised_as_many_are() -> None:
    vectors = np.random.default_rng(3).standard_normal((50, 33), dtype=np.float32) * 10
    vectors[7] = 0
    together = normalised(vectors)
    apart = np.concatenate([normalised(vectors[i : i + 1]) for i in range(len(vectors))])
    np.testing.assert_allclose(apart, together, rtol=2e-7)
    assert apart.dtype == np.float32
    assert not apart[7].any()
