"""Rule 2: one cut per channel, at or above the view's floor."""

from typing import Any

import msgspec
import pytest

from elanus.model.types import ConsistencyLevel
from elanus.roles.query import CountCall, Target
from tests.rules.stage import (
    MOMENT,
    SECONDS,
    Stage,
    channel,
    count,
    delete,
    flush,
    insert,
    make,
    read,
    served_at_floor,
    upsert,
)


def test_rows_below_the_floor_of_a_view_are_read_from_its_segments_only(stage: Stage) -> None:
    """The view before is in its grace time, so the node still holds its growing rows."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    flush(instance)
    insert(instance, "a", [3], tag=1)
    served_at_floor(instance)
    assert len(instance.query_node._channels[channel(instance).id].views) == 2
    assert count(instance) == 3


def test_a_read_never_sees_an_upsert_in_halves(stage: Stage) -> None:
    """Old row in a segment, new one in memory: the record comes between the cut and the reading."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    flush(instance)
    served_at_floor(instance)
    serving = instance.query_node._channels[channel(instance).id]
    readers = serving.readers

    def upsert_first(*arguments: Any) -> Any:
        upsert(instance, "a", [1], tag=2)
        instance.tails["dml_0"].wait(instance.broker.end_offset("dml_0"), SECONDS)
        found = readers(*arguments)
        delete(instance, "a", "id in [2]")
        instance.tails["dml_0"].wait(instance.broker.end_offset("dml_0"), SECONDS)
        return found

    serving.readers = upsert_first  # type: ignore[method-assign, assignment]
    assert read(instance) == [(1, 1), (2, 1)]
    serving.readers = readers  # type: ignore[method-assign]
    assert read(instance) == [(1, 2)]


@pytest.mark.parametrize(
    "level", [ConsistencyLevel.EVENTUALLY, ConsistencyLevel.BOUNDED, ConsistencyLevel.STRONG]
)
def test_a_node_that_has_not_come_to_the_floor_of_a_view_does_not_answer_from_it(
    stage: Stage, level: ConsistencyLevel
) -> None:
    """As on a node that lies behind the data node's: a view whose floor is still to be applied."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    read(instance)
    collection = instance.proxy.collection("", "a")
    (pointer,) = instance.catalog.views(collection.id)
    node = instance.query_node
    view = node._channels[channel(instance).id].views[pointer.name].view
    end = instance.broker.end_offset("dml_0")
    ahead = msgspec.structs.replace(view.manifest, floor_offset=end + 1, floor_ts=view.manifest.floor_ts)
    node.prepare([msgspec.structs.replace(view, name="ahead", manifest=ahead)])
    cut = end if level is ConsistencyLevel.STRONG else None
    staleness = 3_600_000 if level is ConsistencyLevel.BOUNDED else None
    target = Target(channel_id=view.channel_id, view="ahead", cut=cut, staleness_ms=staleness)
    call = CountCall(collection_id=collection.id, schema_version=1, targets=(target,))
    reading = stage.do(node.count, call)
    with pytest.raises(TimeoutError):
        reading.result(MOMENT)
    insert(instance, "a", [2])
    assert reading.result(SECONDS).rows == 2
