"""Rule 9, loading: a segment gets the deletes of the manifest's files, then those from the floor to now."""

import msgspec
import pytest

from elanus.engine import search
from elanus.engine.sealed import SealedSegment
from elanus.model.nouns import DeleteFile, Manifest, RangeDelete, Segment, View
from elanus.storage import keys
from elanus.storage.manifests import leave_passed_deletes
from elanus.workers.channel_serving import ChannelServing
from tests.rules.stage import (
    SECONDS,
    Barrier,
    Stage,
    channel,
    delete,
    failing,
    flush,
    insert,
    make,
    once,
    read,
    served_at_floor,
    upsert,
    view_version,
)


def test_a_loaded_segment_gets_the_deletes_of_the_files_below_the_floor(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    insert(instance, "a", [1, 2, 3], tag=1)
    flush(instance)
    delete(instance, "a", "id in [1]")
    upsert(instance, "a", [2], tag=2)
    flush(instance)
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(2, 2), (3, 1)]
    assert read(stage.reopen()) == [(2, 2), (3, 1)]


def test_a_loaded_segment_gets_the_deletes_from_the_floor_to_now(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    insert(instance, "a", [1, 2, 3], tag=1)
    flush(instance)
    delete(instance, "a", "id in [1]")
    upsert(instance, "a", [2], tag=2)
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(2, 2), (3, 1)]
    assert read(stage.reopen()) == [(2, 2), (3, 1)]


def test_a_delete_that_comes_while_a_segment_is_being_loaded_hides_its_rows(stage: Stage) -> None:
    """The node has the channel's tail already; the segment joins it later."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    flush(instance)
    loading.wait()
    delete(instance, "a", "id in [1]")
    assert read(instance) == [(2, 1)], "the view before serves"
    loading.let_go()
    served_at_floor(instance)
    assert read(instance) == [(2, 1)]


def test_deletes_are_kept_from_the_lowest_floor_of_any_view_served_or_prepared(stage: Stage) -> None:
    """A view is prepared at floor 1, a delete comes, a newer view at floor 2 leaves the delete behind."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    flush(instance)
    served_at_floor(instance)
    of = channel(instance)
    node = instance.query_node
    serving = node._channels[of.id]
    (pointer,) = instance.catalog.views(instance.proxy.collection("", "a").id)
    view = msgspec.structs.replace(serving.views[pointer.name].view, name="being prepared")
    serving.begin(view)
    loaded = node._load(view, {})
    delete(instance, "a", "id in [1]")
    flush(instance)
    served_at_floor(instance)
    newest = view_version(instance, of)
    node.drop([n for n, served in serving.views.items() if served.view.manifest.version < newest])
    serving.add(view, loaded)
    assert read(instance) == [(2, 1)]
    with serving.pin("being prepared") as served:
        readers = serving.readers(served, instance.tails["dml_0"].position.ts, None)
        assert search.count(readers) == 1


def test_segments_that_a_view_being_prepared_needs_outlive_their_last_reader(stage: Stage) -> None:
    """Released while it is read, and loaded again: the reader of the old view must not close the segment."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2], tag=1)
    flush(instance)
    served_at_floor(instance)
    of = channel(instance)
    node = instance.query_node
    serving = node._channels[of.id]
    (pointer,) = instance.catalog.views(instance.proxy.collection("", "a").id)
    follow, reached = node._follow, Barrier()

    def held(*arguments: object) -> None:
        reached.hold()
        follow(*arguments)  # type: ignore[arg-type]

    with serving.pin(pointer.name):
        instance.proxy.release("", "a", [])
        node._follow = held  # type: ignore[method-assign, assignment]
        loading = stage.do(instance.proxy.load, "", "a", [], 1, [], False)
        reached.wait()
    reached.let_go()
    loading.result(SECONDS)
    assert read(instance) == [(1, 1), (2, 1)]
    assert instance.query_node._channels[of.id] is serving
    assert not instance.proxy._query.failure(instance.proxy.collection("", "a").id)


def test_a_channel_whose_last_view_was_dropped_while_it_was_read_is_let_go(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    read(instance)
    of = channel(instance)
    serving = instance.query_node._channels[of.id]
    query = stage.do(read, instance)
    query.result(SECONDS)
    readers = serving.readers

    def released_first(*arguments: object) -> object:
        instance.proxy.release("", "a", [])
        return readers(*arguments)  # type: ignore[arg-type]

    serving.readers = released_first  # type: ignore[method-assign, assignment]
    assert read(instance) == [(1, 0)], "a pinned view is read to the end"
    assert of.id not in instance.query_node._channels
    assert serving not in [f.follower for f in instance.tails["dml_0"]._followers.get(of.id, [])]


def test_a_prepare_that_fails_half_way_leaves_nothing_behind(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first channel's view is there already when the second's fails."""
    instance = stage.open()
    collection = make(instance, shards=2, load=False)
    insert(instance, "a", list(range(10)))
    add, calls = ChannelServing.add, []

    def second_fails(self: ChannelServing, view: View, loaded: dict[str, SealedSegment]) -> None:
        calls.append(view)
        if len(calls) == 2:
            raise OSError("a bad moment")
        add(self, view, loaded)

    monkeypatch.setattr(ChannelServing, "add", second_fails)
    instance.proxy.load("", "a", [], 1, [], False)
    assert len(read(instance)) == 10
    assert len(calls) == 4
    for each in collection.channels:
        assert len(instance.query_node._channels[each.id].views) == 1
        assert len(instance.tails["dml_0"]._followers[each.id]) == 2, "the data node's and the query node's"


def test_a_prepare_that_fails_reserves_nothing(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    stage.hooks.before_open = once(failing(OSError("a bad moment")))
    flush(instance)
    served_at_floor(instance)
    assert instance.query_node._channels[channel(instance).id]._preparing == {}


# Delete files leave


def segment(min_ts: int, applied_to: int = 0, *inputs: Segment) -> Segment:
    return Segment(
        name=f"{min_ts}",
        prefix="",
        rows=1,
        bytes=1,
        min_ts=min_ts,
        max_ts=min_ts + 1,
        partitions=(),
        schema_version=1,
        deletes_applied_to=applied_to,
        replaces=inputs,
    )


@pytest.mark.parametrize(
    ("segments", "stays"),
    [
        ((segment(5),), True),
        ((segment(5, 9), segment(6)), True),
        ((segment(5, 10),), False),
        ((segment(10),), False),
        ((), False),
        ((segment(5, 10, segment(5)),), True),
    ],
    ids=["older segment", "one of two passed", "passed", "younger", "none", "inputs still listed"],
)
def test_a_delete_file_leaves_when_every_older_segment_has_passed_it(
    segments: tuple[Segment, ...], stays: bool
) -> None:
    manifest = Manifest(
        channel_id=1,
        version=1,
        floor_offset=0,
        floor_ts=0,
        segments=segments,
        delete_files=(DeleteFile(name="d", path="d", rows=1, min_ts=8, max_ts=10),),
        range_deletes=(RangeDelete(partition_id=-1, ts=10, as_of=9),),
    )
    left = leave_passed_deletes(manifest)
    assert (len(left.delete_files), len(left.range_deletes)) == ((1, 1) if stays else (0, 0))
