"""Which blocks a query node gives a light index, when, and what they may take together."""

import gc
import threading
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from elanus.engine import light
from elanus.engine.growing import GrowingSegment
from elanus.engine.index.vector_index import VectorIndex
from elanus.model.types import Metric
from elanus.roles.query import SearchCall
from elanus.workers.light_indexing import LightIndexing, LightLimits
from tests.unit.engine.samples import VECTOR, batch_of, schema_of

DIM, ROWS = 16, 4000
SCHEMA = schema_of(dim=DIM)
FIELD = SCHEMA.by_id[VECTOR]
LATE = 1 << 62
SIZE = light.bytes_of(ROWS, FIELD)
LIMITS = LightLimits(
    enabled=True,
    block_bytes=ROWS * DIM * 4,
    queries=5,
    recall=0.97,
    memory_bytes=10 * SIZE,
    threads=1,
    waiting=4,
    nice=5,
)


@pytest.fixture
def indexing() -> Iterator[LightIndexing]:
    made = LightIndexing(LIMITS)
    yield made
    made.stop()


def growing_of(blocks: int) -> GrowingSegment:
    random = np.random.default_rng(1)
    growing = GrowingSegment(SCHEMA, block_rows=ROWS)
    for number in range(blocks):
        keys = list(range(number * ROWS, (number + 1) * ROWS))
        vectors = random.standard_normal((ROWS, DIM)).astype(np.float32)
        growing.append(batch_of(SCHEMA, keys, [1] * ROWS, vectors), number + 1)
    return growing


def search(indexing: LightIndexing, growing: GrowingSegment, queries: int = 5) -> None:
    indexing.searched(growing.readers(VECTOR, LATE), FIELD, Metric.L2, queries)


def finish(indexing: LightIndexing) -> None:
    """Waits until every index that was asked for is made."""
    waiting, left = threading.Event(), 4000
    while indexing.waiting and left:
        left -= 1
        waiting.wait(0.005)
    assert not indexing.waiting


def indexed(growing: GrowingSegment) -> list[bool]:
    return [b.light.get(VECTOR) is not None for b in growing._state.blocks]


def test_what_was_searched_often_enough_gets_an_index(indexing: LightIndexing) -> None:
    growing = growing_of(2)
    search(indexing, growing, 4)
    assert indexing.bytes == 0
    search(indexing, growing, 1)
    assert indexing.bytes == 2 * SIZE
    finish(indexing)
    assert indexed(growing) == [True, True]
    assert all(r.index(VECTOR) is not None for r in growing.readers(VECTOR, LATE))


@pytest.mark.parametrize("limits", [{"block_bytes": ROWS * DIM * 4 + 1}, {"memory_bytes": SIZE - 1}])
def test_small_blocks_and_those_beyond_the_memory_stay_without(limits: dict[str, int]) -> None:
    indexing = LightIndexing(msgspec.structs.replace(LIMITS, **limits))
    growing = growing_of(2)
    for _ in range(3):
        search(indexing, growing)
    finish(indexing)
    indexing.stop()
    assert indexed(growing) == [False, False]
    assert indexing.bytes == 0


def test_rows_that_are_still_to_be_merged_stay_without(indexing: LightIndexing) -> None:
    growing = GrowingSegment(SCHEMA, block_rows=2 * ROWS)
    vectors = np.random.default_rng(1).standard_normal((ROWS, DIM)).astype(np.float32)
    growing.append(batch_of(SCHEMA, list(range(ROWS)), [1] * ROWS, vectors), 1)
    search(indexing, growing)
    finish(indexing)
    assert indexed(growing) == [False]


def test_the_memory_of_rows_that_are_gone_is_free_for_others(
    monkeypatch: pytest.MonkeyPatch, indexing: LightIndexing
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    build = light.build

    def held(*arguments: object) -> VectorIndex | None:
        begun.set()
        assert go_on.wait(20)
        return build(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(light, "build", held)
    growing = growing_of(3)
    search(indexing, growing)
    assert indexing.bytes == 3 * SIZE
    assert begun.wait(20)
    # The first is being made; the second and third lose their rows before their turn.
    growing.release_up_to(3)
    gc.collect()
    go_on.set()
    finish(indexing)
    gc.collect()
    assert indexing.bytes == 0


def test_one_that_fails_costs_the_search_nothing(
    monkeypatch: pytest.MonkeyPatch, indexing: LightIndexing, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*arguments: object) -> VectorIndex | None:
        raise MemoryError

    monkeypatch.setattr(light, "build", failing)
    growing = growing_of(1)
    search(indexing, growing)
    finish(indexing)
    assert indexed(growing) == [False]
    assert indexing.bytes == 0
    assert "no light index" in caplog.text


def test_a_search_while_the_node_stops_is_answered(indexing: LightIndexing) -> None:
    growing = growing_of(1)
    indexing.stop()
    search(indexing, growing)
    assert indexing.bytes == 0


@pytest.mark.parametrize(
    ("metric", "params", "allowed"),
    [
        ("L2", {"ef": 16}, True),
        ("COSINE", {"nprobe": 8}, True),
        ("L2", {}, False),
        ("IP", {"ef": 512, "radius": 0.5}, False),
        ("HAMMING", {"nprobe": 8}, False),
    ],
)
def test_exact_types_ranges_and_binary_vectors_are_compared_one_by_one(
    indexing: LightIndexing, metric: str, params: dict[str, object], allowed: bool
) -> None:
    call = SearchCall(
        collection_id=1,
        schema_version=1,
        targets=(),
        field_id=VECTOR,
        k=10,
        metric=metric,
        params=params,
        fields=(),
    )
    assert indexing.allows(call) is allowed
    off = LightIndexing(msgspec.structs.replace(LIMITS, enabled=False))
    assert not off.allows(call)
