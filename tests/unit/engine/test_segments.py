"""Growing and sealed segments: blocks, snapshots, filters, concurrent use."""

import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from elanus.engine.deletes import Deletes
from elanus.engine.growing import GrowingSegment
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import count, fetch, query, search
from elanus.engine.segment_file import read_segment
from elanus.expr import parse
from elanus.model.errors import CorruptError, Unavailable
from elanus.model.nouns import RangeDelete
from elanus.model.types import DataType, Metric
from tests.unit.engine.samples import KEY, NAME, TAG, VECTOR, batch_of, key_array, schema_of, seal, table_of

SCHEMA = schema_of()
FIELD = SCHEMA.by_id[VECTOR]


def batch(keys: list[int], partition: int = 1) -> pa.RecordBatch:
    vectors = np.array([[k, 0, 0, 1] for k in keys], np.float32)
    return batch_of(SCHEMA, keys, [partition] * len(keys), vectors)


@pytest.fixture
def sealed(tmp_path: Path) -> SealedSegment:
    table = pa.concat_tables(
        [
            table_of(batch(list(range(0, 60))), range(1, 61)),
            table_of(batch(list(range(60, 100)), 2), range(61, 101)),
        ]
    )
    return seal(table, SCHEMA, tmp_path / "sealed")


def test_rows_that_come_one_by_one_end_up_in_few_blocks() -> None:
    growing = GrowingSegment(SCHEMA, block_rows=256)
    for key in range(1000):
        growing.append(batch([key]), key + 1)
    reader = growing.reader(2000)
    assert reader.rows == growing.rows == 1000
    assert len(list(reader.vectors(VECTOR))) <= 1000 / 256 * 2 + 4
    assert reader.keys().to_pylist() == list(range(1000))
    rows = np.array([999, 0, 500, 500, 3])
    assert reader.take([NAME], rows).column(0).to_pylist() == [f"name {r}" for r in rows]
    assert reader.vectors_at(VECTOR, rows)[:, 0].tolist() == rows.tolist()
    assert reader.ts_at(rows).tolist() == (rows + 1).tolist()
    assert reader.rows_of(pa.array([7, 1000, 500])).tolist() == [7, 500]


def test_a_growing_segment_holds_its_rows_about_once() -> None:
    growing = GrowingSegment(SCHEMA)
    one = batch(list(range(100)))
    for ts in range(1, 101):
        growing.append(one, ts)
    assert growing.rows == 10_000
    assert growing.bytes < 1.2 * 100 * (one.nbytes + 16 * 100)
    tracemalloc.start()
    readers = [growing.reader(ts) for ts in range(50, 100)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert readers
    assert peak < 500_000


def test_a_record_out_of_order_is_refused() -> None:
    growing = GrowingSegment(SCHEMA)
    growing.append(batch([1]), 5)
    with pytest.raises(ValueError, match="a record at 4 came after one at 5"):
        growing.append(batch([2]), 4)


def test_released_rows_are_gone_for_new_readers_and_stay_for_open_ones() -> None:
    growing = GrowingSegment(SCHEMA)
    for ts in range(1, 11):
        growing.append(batch([ts]), ts)
    growing.apply(Deletes.from_record(pa.array([2, 7]), -1, 11))
    before = growing.reader(11)
    growing.release_up_to(4)
    growing.release_up_to(3)
    after = growing.reader(11, above_ts=4)
    growing.apply(Deletes.from_record(pa.array([8]), -1, 12))
    assert query([before]).keys.to_pylist() == [1, 3, 4, 5, 6, 8, 9, 10]
    assert query([after]).keys.to_pylist() == [5, 6, 8, 9, 10]
    assert query([growing.reader(12, above_ts=6)]).keys.to_pylist() == [9, 10]
    assert growing.rows == 6
    with pytest.raises(Unavailable, match="released up to 4"):
        growing.reader(12, above_ts=3)


def test_readers_of_other_partitions_or_earlier_times_are_empty(sealed: SealedSegment) -> None:
    growing = GrowingSegment(SCHEMA)
    growing.append(batch([1]), 5)
    for segment in (sealed, growing):
        assert segment.reader(200, partitions=frozenset({9})).rows == 0
        assert segment.reader(0).rows == 0
    assert sealed.reader(200).mask() is None
    assert growing.reader(200).mask() is None
    assert [(r.partition_id, r.start, r.end) for r in sealed.reader(200).row_bounds] == [
        (1, 0, 60),
        (2, 60, 100),
    ]


def test_masks_are_shared_until_a_delete_changes_them(sealed: SealedSegment) -> None:
    two = frozenset({2})
    assert sealed.reader(200, two).mask() is sealed.reader(300, two).mask()
    first = sealed.reader(200, two).mask()
    sealed.apply(Deletes.from_record(pa.array([70]), 2, 150))
    sealed.apply(Deletes.from_record(pa.array([71]), 1, 150))
    second = sealed.reader(200, two).mask()
    assert first is not None
    assert second is not None
    assert np.flatnonzero(first & ~second).tolist() == [70]
    assert count([sealed.reader(149, two)]) == 40
    assert count([sealed.reader(150, two)]) == 39


def test_a_range_delete_hides_what_was_there_at_its_as_of(sealed: SealedSegment) -> None:
    sealed.apply_range(RangeDelete(partition_id=2, ts=200, as_of=80))
    sealed.apply_range(RangeDelete(partition_id=-1, ts=300, as_of=10))
    assert count([sealed.reader(199)]) == 100
    assert count([sealed.reader(200)]) == 80
    assert count([sealed.reader(300)]) == 70
    times = sealed.delete_times()
    assert times[:10].tolist() == [300] * 10
    assert times[60:80].tolist() == [200] * 20
    assert not times[10:60].any()


def test_a_segment_whose_rows_are_not_the_manifests_is_refused(sealed: SealedSegment, tmp_path: Path) -> None:
    from msgspec.structs import replace

    with pytest.raises(CorruptError, match="has 100 rows; its manifest says 99"):
        SealedSegment.open(replace(sealed.meta, rows=99), SCHEMA, (tmp_path / "sealed").joinpath)


def test_closing_a_segment_leaves_open_readers_alone(sealed: SealedSegment) -> None:
    reader = sealed.reader(200)
    sealed.close()
    assert reader.take([KEY, TAG, VECTOR], np.array([99, 0])).column(0).to_pylist() == [99, 0]
    assert len(search([reader], FIELD, np.ones((1, 4), np.float32), 3, Metric.L2, {}).rows) == 3


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", list(range(120))),
        ("id in [5, 70, 110, 500]", [5, 70, 110]),
        ("id == 3", [3]),
        ("tag == 2", [k for k in range(120) if k % 3 and k % 7 == 2]),
        ("not (tag == 2)", [k for k in range(120) if k % 3 and k % 7 != 2]),
        ("id > 55 and id < 65", list(range(56, 65))),
        ("id < 0", []),
    ],
)
def test_filters_select_over_sealed_and_growing_rows(
    text: str, wanted: list[int], sealed: SealedSegment
) -> None:
    growing = GrowingSegment(SCHEMA)
    growing.append(batch(list(range(100, 110))), 101)
    growing.append(batch(list(range(110, 120))), 102)
    plan = parse(text, SCHEMA)
    readers = [sealed.reader(200), growing.reader(200)]
    assert query(readers, plan).keys.to_pylist() == wanted
    assert query(readers, plan, 5).keys.to_pylist() == wanted[:5]
    assert count(readers, plan) == len(wanted)
    queries = np.array([[0, 0, 0, 1]], np.float32)
    hits = search(readers, FIELD, queries, 200, Metric.L2, {}, plan)
    assert hits.keys.to_pylist() == wanted
    fetched = fetch(readers, hits.ordinals, hits.rows, [NAME])
    assert fetched.column(0).to_pylist() == [f"name {k}" for k in wanted]
    assert fetched.schema.names == [str(NAME)]


def test_of_equal_keys_search_keeps_the_best_and_query_the_newest() -> None:
    growing = GrowingSegment(SCHEMA)
    vectors = np.array([[i, 0, 0, 0] for i in range(50)], np.float32)
    growing.append(batch_of(SCHEMA, [1] * 49 + [2], [1] * 50, vectors), 1)
    growing.append(batch_of(SCHEMA, [1], [1], np.array([[99, 0, 0, 0]], np.float32)), 2)
    readers = [growing.reader(9)]
    hits = search(readers, FIELD, np.zeros((1, 4), np.float32), 2, Metric.L2, {})
    assert hits.keys.to_pylist() == [1, 2]
    assert hits.scores.tolist() == [0, 49**2]
    found = query(readers)
    assert found.keys.to_pylist() == [1, 2]
    assert found.ts.tolist() == [2, 1]
    assert query(readers, None, 1).ts.tolist() == [2]
    assert count(readers) == 51


@pytest.mark.parametrize("key_type", [DataType.INT64, DataType.VARCHAR])
def test_upserts_are_never_seen_torn_or_doubled_while_they_are_written(key_type: DataType) -> None:
    schema = schema_of(key_type)
    growing = GrowingSegment(schema, block_rows=512)
    keys = list(range(40))
    done = threading.Event()
    wrong: list[object] = []
    applied = [1]

    def written(ts: int) -> pa.RecordBatch:
        return batch_of(schema, keys, [1] * 40, np.full((40, 4), ts, np.float32))

    growing.append(written(1), 1)

    def read() -> None:
        while not done.is_set():
            ts = applied[0]
            reader = growing.reader(ts)
            hits = search([reader], schema.by_id[VECTOR], np.zeros((1, 4), np.float32), 100, Metric.L2, {})
            found = query([reader])
            if set(hits.scores.tolist()) != {4.0 * ts * ts} or len(hits.rows) != 40:
                wrong.append((ts, hits))
            if set(found.ts.tolist()) != {ts} or len(found.rows) != 40:
                wrong.append((ts, found))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for ts in range(2, 120):
        growing.apply(Deletes.from_record(key_array(schema, keys), -1, ts))
        growing.append(written(ts), ts)
        applied[0] = ts
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_sealed_segment_answers_from_many_threads_while_deletes_are_applied(
    sealed: SealedSegment, tmp_path: Path
) -> None:
    applied = [200]
    wrong = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            ts = applied[0]
            if count([sealed.reader(ts)]) != 100 - (ts - 200):
                wrong.append(ts)
            if len(query([sealed.reader(ts - 1 if ts > 200 else ts)]).rows) not in (100 - (ts - 201), 100):
                wrong.append(ts)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for key in range(100):
        sealed.apply(Deletes.from_record(pa.array([key]), -1, 201 + key))
        applied[0] = 201 + key
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert read_segment((tmp_path / "sealed").joinpath, SCHEMA).num_rows == 100
