"""Masks of filters are kept by plan and segment, within a bound."""

from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from elanus.engine.deletes import Deletes
from elanus.engine.filter_cache import FilterCache
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import count
from elanus.expr import parse
from elanus.expr.plan import Always, Plan
from tests.unit.engine.samples import batch_of, schema_of, seal, table_of


def plan() -> Plan:
    return Plan(root=Always(True), fields=frozenset(), primary=100)


def mask(*values: bool) -> np.ndarray:
    return np.array(values)


def test_a_filter_is_evaluated_once_for_a_segment() -> None:
    cache, asked = FilterCache(100), plan()
    first = cache.matching("a", asked, lambda: mask(True, False))
    assert cache.matching("a", asked, lambda: mask(False, False)) is first
    assert cache.matching("b", asked, lambda: mask(False, True)).tolist() == [False, True]


def test_equal_filters_that_were_parsed_apart_are_kept_apart() -> None:
    cache = FilterCache(100)
    kept = [plan() for _ in range(3)]
    for number, asked in enumerate(kept):
        cache.matching("a", asked, partial(mask, number == 1))
    assert [cache.matching("a", p, lambda: mask(False)).tolist() for p in kept] == [[False], [True], [False]]


def test_the_longest_unused_masks_go_when_the_bound_is_reached() -> None:
    cache, old, used, new = FilterCache(8), plan(), plan(), plan()
    cache.matching("a", old, lambda: np.ones(4, np.bool_))
    cache.matching("a", used, lambda: np.ones(4, np.bool_))
    cache.matching("a", old, lambda: np.zeros(4, np.bool_))
    cache.matching("a", new, lambda: np.ones(4, np.bool_))
    assert cache.bytes == 8
    assert cache.matching("a", old, lambda: np.zeros(4, np.bool_)).all()
    assert not cache.matching("a", used, lambda: np.zeros(4, np.bool_)).any()


def test_a_mask_beyond_the_bound_is_given_but_not_kept() -> None:
    cache, asked = FilterCache(3), plan()
    assert cache.matching("a", asked, lambda: np.ones(4, np.bool_)).all()
    assert cache.bytes == 0


def test_a_closed_segment_leaves_nothing() -> None:
    cache, asked = FilterCache(100), plan()
    cache.matching("a", asked, lambda: mask(True))
    cache.matching("b", asked, lambda: mask(True, True))
    cache.forget("a")
    assert cache.bytes == 2
    assert not cache.matching("a", asked, lambda: mask(False)).any()


def test_what_it_gives_out_cannot_be_changed() -> None:
    assert not FilterCache(100).matching("a", plan(), lambda: mask(True)).flags.writeable


def test_deletes_and_partitions_count_after_a_filter_was_kept(tmp_path: Path) -> None:
    schema = schema_of()
    batch = batch_of(schema, range(10), [1] * 5 + [2] * 5, np.ones((10, 4), np.float32))
    files = seal(table_of(batch, [5] * 10), schema, tmp_path / "files")
    cache = FilterCache(1000)
    segment = SealedSegment.open(files.meta, schema, (tmp_path / "files").joinpath, filters=cache)
    filter = parse('name in ["name 1", "name 2", "name 7"]', schema)
    assert count([segment.reader(9)], filter) == 3
    assert cache.bytes == 10
    segment.apply(Deletes.from_record(pa.array([2]), -1, 10))
    assert count([segment.reader(9)], filter) == 3
    assert count([segment.reader(10)], filter) == 2
    assert count([segment.reader(10, frozenset([2]))], filter) == 1
    segment.close()
    assert cache.bytes == 0
