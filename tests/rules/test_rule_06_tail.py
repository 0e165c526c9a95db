"""Rule 6: many growing rows get a light index; what a read sees is the same with it and without."""

import numpy as np
import pyarrow as pa
import pytest

from elanus.access import requests as q
from elanus.engine.index.light import LightIndex
from elanus.engine.reader import Block
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from elanus.runtime.standalone import Instance
from tests.rules.stage import ID, VECTOR, Stage, channel, delete, flush, served_at_floor, wait_for

DIM, ROWS = 16, 5000
EARLY = {
    "elanus__serve__growingBlockRows": ROWS,
    "elanus__lightIndex__blockBytes": 1024,
    "elanus__lightIndex__queries": 1,
    "indexCoord__segment__minSegmentNumRowsToEnableIndex": 1_000_000,
}
VECTORS = np.random.default_rng(1).standard_normal((3 * ROWS, DIM)).astype(np.float32)


def make(instance: Instance, index: str = "HNSW") -> None:
    schema = Schema(
        fields=(
            Field(id=ID, name="id", type=DataType.INT64, primary=True),
            Field(id=VECTOR, name="v", type=DataType.FLOAT_VECTOR, dim=DIM),
        )
    )
    instance.proxy.create_collection(q.CreateCollection(database="", name="a", schema=schema, shards=1))
    create_index(instance, index)


def create_index(instance: Instance, index: str) -> None:
    instance.proxy.create_index("", "a", "v", "v", {"index_type": index, "metric_type": "L2"})
    instance.proxy.load("", "a", [], 1, [], False)


def insert(instance: Instance, first: int, stop: int) -> None:
    for start in range(first, stop, 500):
        keys = np.arange(start, min(start + 500, stop))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[keys].ravel()), DIM)
        rows = pa.RecordBatch.from_arrays([pa.array(keys), vectors], names=[str(ID), str(VECTOR)])
        instance.proxy.insert(q.Write(database="", collection="a", rows=rows))


def search(instance: Instance, rows: list[int], k: int = 5, at_ts: int = 0) -> q.SearchResult:
    """What is nearest to the vectors of these rows."""
    asked = q.Search(database="", collection="a", queries=VECTORS[rows], limit=k, at_ts=at_ts)
    return instance.proxy.search(asked)


def nearest(result: q.SearchResult) -> list[int]:
    """The best hit of each query."""
    stops = np.cumsum(result.counts)
    return result.keys.take(pa.array(stops - np.array(result.counts))).to_pylist()  # type: ignore[no-any-return]


def blocks(instance: Instance) -> list[Block]:
    serving = instance.query_node._channels[channel(instance).id]
    growing = serving.growing.reader(1 << 62, serving.growing._state.released_to).parts
    sealed = [p for s in serving.segments.values() for p in s.reader(1 << 62).parts]
    return [p.block for p in (*sealed, *growing)]


def indexed(instance: Instance) -> list[bool]:
    return [isinstance(b.light.get(VECTOR), LightIndex) for b in blocks(instance)]


def test_a_cut_inside_an_indexed_block_hides_what_came_later(stage: Stage) -> None:
    instance = stage.open(**EARLY)
    make(instance)
    insert(instance, 0, 2000)
    before = search(instance, [0]).ts
    insert(instance, 2000, 4000)
    assert nearest(search(instance, [3999])) == [3999]
    wait_for(lambda: indexed(instance) == [True])
    assert nearest(search(instance, [3999, 1])) == [3999, 1]
    earlier = search(instance, [3999, 2000, 1], at_ts=before)
    assert max(earlier.keys.to_pylist()) < 2000
    costs = ((VECTORS[:2000, None] - VECTORS[[3999, 2000, 1]]) ** 2).sum(axis=2)
    assert nearest(earlier) == np.argmin(costs, axis=0).tolist()


def test_a_deleted_row_of_an_indexed_block_is_found_only_by_reads_of_earlier(stage: Stage) -> None:
    instance = stage.open(**EARLY)
    make(instance)
    insert(instance, 0, 4000)
    before = search(instance, [7]).ts
    wait_for(lambda: indexed(instance) == [True])
    delete(instance, "a", "id in [7, 8]")
    assert not {7, 8} & set(search(instance, [7, 8]).keys.to_pylist())
    assert nearest(search(instance, [7, 8], at_ts=before)) == [7, 8]


def test_flushed_rows_are_found_once_while_the_view_changes_below_an_index(stage: Stage) -> None:
    """The nodes go on with the old view, then the floor cuts the indexed block away."""
    instance = stage.open(**EARLY, elanus__serve__viewGraceSeconds=0.001)
    make(instance)
    insert(instance, 0, 4000)
    search(instance, [0])
    wait_for(lambda: indexed(instance) == [True])
    flush(instance)
    insert(instance, 4000, 4500)
    some = [0, 1999, 3999, 4001]
    assert nearest(search(instance, some)) == some
    served_at_floor(instance)
    assert nearest(search(instance, some)) == some
    wait_for(lambda: indexed(instance) == [True, False])
    assert nearest(search(instance, some)) == some, "the segment waits for its index with a light one"
    assert nearest(search(stage.reopen(**EARLY), some)) == some


def test_an_exact_index_type_compares_all_even_where_a_light_index_is_left(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**EARLY)
    make(instance)
    insert(instance, 0, 4000)
    search(instance, [0])
    wait_for(lambda: indexed(instance) == [True])
    queries = list(range(4000, 4040))
    [light] = [b.light.get(VECTOR) for b in blocks(instance)]
    assert light is not None
    monkeypatch.setattr(light, "search", pytest.fail)
    # What holds the view keeps the block, too.
    serving = instance.query_node._channels[channel(instance).id]
    [view] = serving.views
    with serving.pin(view):
        instance.proxy.release("", "a", [])
        instance.proxy.drop_index("", "a", "v", "v")
        create_index(instance, "FLAT")
        found = search(instance, queries, 10)
    costs = ((VECTORS[:4000, None] - VECTORS[queries]) ** 2).sum(axis=2)
    assert nearest(found) == np.argmin(costs, axis=0).tolist()


def test_nothing_is_indexed_by_the_defaults_for_so_few_rows(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, 0, 4000)
    for _ in range(3):
        search(instance, list(range(100)))
    assert instance.query_node._light.bytes == 0
