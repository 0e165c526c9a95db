"""Rule 3: all pages of an iterator are read at the timestamp of the first one."""

from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from elanus.access import requests as q
from elanus.model.errors import InvalidParameter
from elanus.model.hashing import channel_of
from elanus.model.nouns import ViewSegment
from elanus.model.records import Kind
from elanus.model.timestamps import from_ms
from elanus.model.types import ConsistencyLevel
from elanus.roles.query import CountCall, Target
from elanus.runtime.standalone import Instance
from tests.rules.stage import (
    Rows,
    Stage,
    channel,
    delete,
    flush,
    insert,
    make,
    read,
    reload,
    served_at_floor,
    upsert,
)

START_MS = 1_700_000_000_000


def page(
    instance: Instance, at_ts: int = 0, level: ConsistencyLevel = ConsistencyLevel.STRONG
) -> tuple[Rows, int]:
    """All rows as a page of an iterator, and the timestamp that it was read at."""
    result = instance.proxy.query(
        q.Query(
            database="",
            collection="a",
            expression="id > -1000000",
            output_fields=("id", "tag"),
            consistency_level=level,
            iterator=True,
            at_ts=at_ts,
        )
    )
    columns = result.rows.columns
    return list(zip(*(columns.column(n).to_pylist() for n in ("id", "tag")), strict=True)), result.ts


def keys_of(shard: int, shards: int, count: int) -> list[int]:
    keys = np.arange(100 * shards * count)
    mine = channel_of(pa.array(keys), shards) == shard
    return [int(key) for key in keys[mine][:count]]


@pytest.mark.parametrize("level", [ConsistencyLevel.STRONG, ConsistencyLevel.EVENTUALLY])
def test_a_record_of_a_log_that_lay_behind_does_not_slip_under_the_pages(
    stage: Stage, level: ConsistencyLevel
) -> None:
    """Two shards in two logs; the second one's broker appends at a time before the first page's."""
    now = START_MS
    stage.hooks.clock = lambda: now
    instance = stage.open(rootCoord__dmlChannelNum=2)
    collection = make(instance, shards=2)
    assert len({c.log for c in collection.channels}) == 2
    ahead, behind = keys_of(0, 2, 3), keys_of(1, 2, 3)
    insert(instance, "a", [behind[0]])
    now += 1000
    insert(instance, "a", [ahead[0]])
    expected = read(instance)
    first, ts = page(instance, level=level)
    assert first == expected
    now -= 500
    insert(instance, "a", behind[1:], tag=1)
    insert(instance, "a", ahead[1:], tag=1)
    assert page(instance, ts) == (first, ts)
    assert len(read(instance)) == 6


def test_a_record_in_the_millisecond_of_the_first_page_is_on_no_page(stage: Stage) -> None:
    stage.hooks.clock = lambda: START_MS
    instance = stage.open()
    make(instance)
    for tag in range(3):
        insert(instance, "a", [tag], tag)
        first, ts = page(instance)
        assert first == [(i, i) for i in range(tag + 1)]
        insert(instance, "a", [100 + tag])
        assert page(instance, ts)[0] == first
        delete(instance, "a", f"id in [{100 + tag}]")


def test_an_iterator_appends_one_fence_to_a_log_and_its_later_pages_nothing(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    _, ts = page(instance)
    page(instance, ts)
    page(instance, ts)
    fences = [h for h in stage.hooks.appended if h.kind is Kind.FENCE]
    assert [(h.channel, h.floor) for h in fences] == [(0, ts)]


def test_the_first_page_of_an_empty_log_has_a_timestamp(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    first, ts = page(instance)
    assert (first, ts > 0) == ([], True)
    insert(instance, "a", [1])
    assert page(instance, ts)[0] == []


def test_pages_stay_as_they_are_through_updates_deletes_a_flush_a_load_and_a_crash(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2, 3, 4])
    flush(instance)
    insert(instance, "a", [5, 6])
    first, ts = page(instance)
    upsert(instance, "a", [1, 5], tag=1)
    delete(instance, "a", "id in [2, 6]")
    delete(instance, "a", "tag == 0 and id < 4")
    insert(instance, "a", [7])
    assert page(instance, ts)[0] == first
    flush(instance)
    served_at_floor(instance)
    assert page(instance, ts)[0] == first
    reload(instance)
    assert page(instance, ts)[0] == first
    upsert(instance, "a", [3, 4], tag=2)
    assert page(instance, ts)[0] == first
    instance = stage.reopen()
    assert page(instance, ts)[0] == first
    assert page(instance)[0] == [(1, 1), (3, 2), (4, 2), (5, 1), (7, 0)]


def test_a_page_at_a_time_that_no_first_page_gave_is_refused(stage: Stage) -> None:
    """Later records would slip under it."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    _, ts = page(instance)
    with pytest.raises(InvalidParameter, match="ahead of log dml_0"):
        page(instance, ts + from_ms(60_000))


def test_a_page_below_what_compaction_has_purged_is_refused(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    served_at_floor(instance)
    collection = instance.proxy.collection("", "a")
    (pointer,) = instance.catalog.views(collection.id)
    node = instance.query_node
    view = node._channels[channel(instance).id].views[pointer.name].view
    _, ts = page(instance)
    segment = msgspec.structs.replace(view.placement[0].segment, name="compacted", purged_to=ts)
    placement = (ViewSegment(segment=segment, node=view.placement[0].node),)
    node.prepare([msgspec.structs.replace(view, name="purged", placement=placement)])

    def count(at_ts: int) -> Any:
        target = Target(channel_id=view.channel_id, view="purged")
        call = CountCall(collection_id=collection.id, schema_version=1, targets=(target,), at_ts=at_ts)
        return node.count(call).rows

    assert count(ts) == 1
    with pytest.raises(InvalidParameter, match="have been purged"):
        count(ts - 1)
