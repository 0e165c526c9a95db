"""Light indexes of growing rows, and of segments that wait for their own: as good as comparing all."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine import index as indexes
from elanus.engine import light
from elanus.engine.deletes import Deletes
from elanus.engine.exact import exact_search
from elanus.engine.grouping import grouped
from elanus.engine.growing import GrowingSegment
from elanus.engine.light import LightIndexes
from elanus.engine.paging import page
from elanus.engine.reader import Reader
from elanus.engine.search import Hits, query, search
from elanus.expr import parse
from elanus.model.columns import ALL_PARTITIONS, from_matrix
from elanus.model.index_parameters import check_build, check_search
from elanus.model.nouns import IndexFile
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric
from tests.unit.engine.samples import TAG, VECTOR, batch_of, schema_of, scores_of, seal, table_of

DIM, BLOCK, RECORD = 24, 6000, 500
SCHEMA = schema_of(dim=DIM)
FIELD = SCHEMA.by_id[VECTOR]
METRICS = [Metric.L2, Metric.IP, Metric.COSINE]
LATE = 1 << 62
GOAL = 0.95


def vectors_of(kind: str, rows: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    if kind == "uniform":
        return random.random((rows, DIM), np.float32)
    centres = np.random.default_rng(1).standard_normal((50, DIM)).astype(np.float32)
    return np.asarray(
        centres[random.integers(0, 50, rows)] + 0.3 * random.standard_normal((rows, DIM)), np.float32
    )


class Tail:
    """Three full blocks with a light index, and some rows more; record i has ts 10 * (i + 1)."""

    def __init__(self, kind: str, metric: Metric) -> None:
        rows = 2 * BLOCK + 700
        self.vectors = vectors_of(kind, rows, 2)
        self.metric = metric
        self.growing = GrowingSegment(SCHEMA, block_rows=BLOCK)
        self.partitions = np.random.default_rng(3).integers(1, 4, rows)
        for start in range(0, rows, RECORD):
            keys = list(range(start, min(start + RECORD, rows)))
            batch = batch_of(SCHEMA, keys, self.partitions[keys].tolist(), self.vectors[keys])
            self.growing.append(batch, self.ts(start))
        self.indexed = indexed(self.growing, metric)

    @staticmethod
    def ts(row: int) -> int:
        return 10 * (row // RECORD + 1)


def indexed(growing: GrowingSegment, metric: Metric) -> int:
    """Gives every full block its light index; how many there are."""
    count = 0
    for block in growing._state.blocks:
        if block.settled:
            index = light.build(block.column(FIELD), FIELD, metric, 0.97)
            assert index is not None
            assert block.light.put(VECTOR, index)
            count += 1
    return count


TAILS = {(kind, metric): Tail(kind, metric) for kind in ("uniform", "topics") for metric in METRICS}


def recall(found: Hits, true: Hits, metric: Metric) -> float:
    """Share of hits as good as the last true one of their query."""
    good = 0
    bounds = zip(np.cumsum(found.counts), found.counts, np.cumsum(true.counts), strict=True)
    for stop, count, true_stop in bounds:
        if not count:
            continue
        scores = found.scores[stop - count : stop]
        last = true.scores[true_stop - 1]
        good += int(np.count_nonzero(scores >= last if metric.larger_is_nearer else scores <= last))
    return good / len(true.rows) if len(true.rows) else 1.0


def test_full_blocks_are_read_by_their_indexes_and_the_rest_without() -> None:
    tail = TAILS["topics", Metric.L2]
    assert tail.indexed == 3
    readers = tail.growing.readers(VECTOR, LATE)
    assert [r.index(VECTOR) is not None for r in readers] == [True, True, True, False]
    assert sum(r.rows for r in readers) == tail.growing.rows
    assert [r.index(VECTOR) for r in [tail.growing.reader(LATE)]] == [None], "only a search is read so"


@settings(max_examples=60, deadline=None)
@given(
    tail=st.sampled_from(sorted(TAILS)),
    at=st.integers(0, 2 * BLOCK + 699),
    above=st.integers(0, 2 * BLOCK),
    partitions=st.sampled_from([None, frozenset({1}), frozenset({2, 3})]),
    expression=st.sampled_from(["", "tag == 3", "id % 2 == 0", "tag in [1, 2, 5]"]),
    k=st.sampled_from([1, 10, 100]),
    ef=st.sampled_from([16, 64, 300]),
    deleted=st.integers(0, 3000),
    seed=st.integers(0, 1 << 16),
)
def test_a_search_finds_what_comparing_all_finds(
    tail: tuple[str, Metric],
    at: int,
    above: int,
    partitions: frozenset[int] | None,
    expression: str,
    k: int,
    ef: int,
    deleted: int,
    seed: int,
) -> None:
    kind, metric = tail
    growing = TAILS[tail].growing
    # Deletes stay in the shared tail: as reads at other times, later examples see more of them.
    keys = np.random.default_rng(seed).integers(0, growing.rows, deleted)
    growing.apply(Deletes.from_record(pa.array(keys), ALL_PARTITIONS, LATE - 1 - seed % 7, 0))
    window = (Tail.ts(at), Tail.ts(above) - 1, partitions)
    for moment in (window[0], LATE - 4):
        readers = growing.readers(VECTOR, moment, *window[1:])
        whole = [growing.reader(moment, *window[1:])]
        plan = parse(expression, SCHEMA) if expression else None
        queries = vectors_of(kind, 32, seed)
        params = {"ef": max(ef, k)}
        found = search(readers, FIELD, queries, k, metric, params, plan)
        true = search(whole, FIELD, queries, k, metric, {}, plan)
        assert found.counts.tolist() == true.counts.tolist()
        assert recall(found, true, metric) >= GOAL
        keys = found.keys.to_numpy()
        assert set(keys.tolist()) <= set(query(whole, plan).keys.to_pylist())
        stops = np.cumsum(found.counts)
        for number, (stop, count) in enumerate(zip(stops, found.counts, strict=True)):
            hits = slice(stop - count, stop)
            scores = scores_of(queries[number], TAILS[tail].vectors[keys[hits]], metric)
            assert np.allclose(found.scores[hits], scores, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_a_read_at_a_cut_inside_an_indexed_block_sees_nothing_beyond_it(metric: Metric) -> None:
    tail = TAILS["uniform", metric]
    cut = 2250
    beyond = np.arange(cut // RECORD * RECORD + RECORD, BLOCK)
    queries = tail.vectors[beyond[::97]]
    readers = tail.growing.readers(VECTOR, Tail.ts(cut))
    assert [r.rows for r in readers] == [2500]
    assert readers[0].index(VECTOR) is not None
    hits = search(readers, FIELD, queries, 10, metric, {"ef": 16})
    assert max(hits.keys.to_pylist()) < 2500
    true = search([tail.growing.reader(Tail.ts(cut))], FIELD, queries, 10, metric, {})
    assert recall(hits, true, metric) >= GOAL


def test_rows_that_were_released_are_not_found_in_an_index_that_has_them() -> None:
    tail = Tail("uniform", Metric.L2)
    queries = tail.vectors[100:3000:211]
    held = tail.growing.readers(VECTOR, LATE)
    tail.growing.release_up_to(Tail.ts(2999))
    readers = tail.growing.readers(VECTOR, LATE, Tail.ts(2999))
    assert readers[0].index(VECTOR) is not None
    assert readers[0].rows == held[0].rows - 3000
    hits = search(readers, FIELD, queries, 10, Metric.L2, {"ef": 16})
    assert min(hits.keys.to_pylist()) >= 3000
    true = search([tail.growing.reader(LATE, Tail.ts(2999))], FIELD, queries, 10, Metric.L2, {})
    assert recall(hits, true, Metric.L2) >= GOAL
    again = search(held, FIELD, queries, 1, Metric.L2, {"ef": 16})
    assert again.scores.tolist() == [0.0] * len(queries), "open readers keep theirs"


def test_an_indexed_block_is_merged_with_nothing() -> None:
    tail = Tail("topics", Metric.L2)
    before = [b.rows for b in tail.growing._state.blocks if b.full]
    for step in range(30):
        keys = list(range(100_000 + step * RECORD, 100_000 + (step + 1) * RECORD))
        vectors = vectors_of("topics", RECORD, step)
        tail.growing.append(batch_of(SCHEMA, keys, [1] * RECORD, vectors), 100_000 + step)
    assert [b.rows for b in tail.growing._state.blocks if b.full][: len(before)] == before
    assert [b.light.get(VECTOR) is not None for b in tail.growing._state.blocks][: len(before)] == [True] * 3


@pytest.mark.parametrize("metric", METRICS)
def test_a_range_and_pages_hold_every_row_that_they_should(metric: Metric) -> None:
    tail = TAILS["uniform", metric]
    one = vectors_of("uniform", 1, 8)
    whole = tail.growing.reader(100_000)
    readers = tail.growing.readers(VECTOR, 100_000)
    scores, rows = exact_search(whole, VECTOR, one, whole.rows, metric, None)
    asked = {"radius": float(scores[0, 900]), "range_filter": float(scores[0, 100])}
    params = check_search("HNSW", asked, 2000, metric)
    hits = search(readers, FIELD, one, 2000, metric, params)
    assert sorted(hits.keys.to_pylist()) == sorted(rows[0, 100:900].tolist())
    seen: list[int] = []
    bound = None
    for _ in range(8):
        hits = page(readers, FIELD, one, 50, metric, {"ef": 50}, None, bound)
        seen += hits.keys.to_pylist()
        bound = float(hits.scores[-1])
    assert len(seen) == len(set(seen))
    assert len(set(seen) & set(rows[0, : len(seen)].tolist())) >= 0.99 * len(seen)


def test_groups_are_those_of_comparing_all() -> None:
    tail = TAILS["topics", Metric.COSINE]
    queries = vectors_of("topics", 5, 9)
    arguments: tuple[Any, ...] = (
        FIELD,
        queries,
        5,
        Metric.COSINE,
        {"ef": 16},
        None,
        SCHEMA.by_id[TAG],
        3,
        True,
    )
    found = grouped(tail.growing.readers(VECTOR, 100_000), *arguments)
    true = grouped([tail.growing.reader(100_000)], *arguments)
    assert found.counts.tolist() == true.counts.tolist()
    assert len(set(found.keys.to_pylist()) & set(true.keys.to_pylist())) >= GOAL * len(
        set(true.keys.to_pylist())
    )


@pytest.mark.parametrize("type", [DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.INT8_VECTOR])
@pytest.mark.parametrize("nulls", [False, True])
def test_vectors_of_every_type_and_missing_ones_have_a_light_index(type: DataType, nulls: bool) -> None:
    field = Field(id=VECTOR, name="v", type=type, dim=DIM, nullable=True)
    matrix: np.ndarray = vectors_of("topics", 4000, 4) * 20
    valid = np.arange(4000) % 3 > 0 if nulls else None
    stored = matrix.astype(
        {DataType.FLOAT16_VECTOR: np.float16, DataType.INT8_VECTOR: np.int8}.get(type, np.float32)
    )
    if type is DataType.INT8_VECTOR:
        stored = np.clip(matrix, -128, 127).astype(np.int8)
    index = light.build(from_matrix(stored, field, valid), field, Metric.L2, 0.97)
    assert index is not None
    assert index.rows == 4000
    queries = stored[1:4000:300].astype(np.float32)
    scores, rows = index.search(queries, 1, None, {"ef": 16})
    assert scores[:, 0].tolist() == [0.0] * len(queries)
    if nulls:
        assert bool(np.all(rows % 3 > 0))


@pytest.mark.parametrize("vectors", ["huge", "infinite", "few"])
def test_vectors_that_codes_cannot_tell_apart_are_compared_one_by_one(vectors: str) -> None:
    matrix = vectors_of("uniform", 1000 if vectors == "few" else 4000, 5)
    if vectors == "huge":
        matrix[7, 3] = 1e30
    if vectors == "infinite":
        matrix[7, 3] = np.inf
    assert light.build(from_matrix(matrix, FIELD, None), FIELD, Metric.L2, 0.97) is None


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_of_very_different_lengths_are_found_or_not_indexed(metric: Metric) -> None:
    random = np.random.default_rng(6)
    matrix = vectors_of("uniform", 4000, 6) * np.exp(random.normal(0, 3, (4000, 1))).astype(np.float32)
    growing = GrowingSegment(SCHEMA, block_rows=6000)
    growing.append(batch_of(SCHEMA, list(range(4000)), [1] * 4000, matrix), 1)
    [block] = growing._state.blocks
    index = light.build(block.column(FIELD), FIELD, metric, 0.97)
    if index is None:
        return
    block.light.put(VECTOR, index)
    queries = matrix[::37]
    found = search(growing.readers(VECTOR, 9), FIELD, queries, 10, metric, {"ef": 16})
    true = search([growing.reader(9)], FIELD, queries, 10, metric, {})
    assert recall(found, true, metric) >= 0.93


def test_equal_vectors_are_a_light_index_too() -> None:
    index = light.build(from_matrix(np.ones((4000, DIM), np.float32), FIELD, None), FIELD, Metric.L2, 0.97)
    assert index is not None
    assert index.search(np.ones((2, DIM), np.float32), 10, None, {})[0].tolist() == [[0.0] * 10] * 2


def test_a_segment_that_waits_for_its_index_is_searched_by_a_light_one(tmp_path: Path) -> None:
    vectors = vectors_of("topics", 4000, 10)
    table = table_of(batch_of(SCHEMA, list(range(4000)), [1] * 4000, vectors), [1] * 4000)
    segment = seal(table, SCHEMA, tmp_path / "s")
    reader: Reader = segment.reader(LATE)
    block = reader.parts[0].block
    assert block.settled
    index = light.build(block.column(FIELD), FIELD, Metric.L2, 0.97)
    assert index is not None
    assert block.light.put(VECTOR, index)
    assert segment.reader(LATE).index(VECTOR) is None, "an exact type compares all"
    segment.alter(SCHEMA)
    searched = segment.reader(LATE, light=VECTOR)
    assert searched.index(VECTOR) is index
    queries = vectors_of("topics", 20, 11)
    true = search([segment.reader(LATE)], FIELD, queries, 10, Metric.L2, {})
    assert recall(search([searched], FIELD, queries, 10, Metric.L2, {"ef": 16}), true, Metric.L2) >= GOAL

    built = indexes.build("HNSW", vectors, Metric.L2, check_build("HNSW", Metric.L2, {"M": 4}, FIELD))
    built.save(tmp_path / "index")
    file = IndexFile(index_id=1, field_id=VECTOR, type="HNSW", metric=Metric.L2, path="index", bytes=1)
    segment.attach_index(file, tmp_path / "index")
    own = segment.reader(LATE, light=VECTOR).index(VECTOR)
    assert own is not None
    assert own.type == "HNSW"
    assert block.light.get(VECTOR) is None, "its memory is free"
    assert not block.light.put(VECTOR, index), "one that comes too late is not kept"


def test_the_query_that_makes_it_enough_asks_for_the_index_once() -> None:
    counted = LightIndexes()
    assert [counted.wanted(VECTOR, 1, 3) for _ in range(5)] == [False, False, True, False, False]
    counted.again(VECTOR)
    assert counted.wanted(VECTOR, 40, 3)
    counted.close(VECTOR)
    assert not counted.wanted(VECTOR, 40, 3)
