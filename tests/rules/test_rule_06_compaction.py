"""Rules 3, 6 and 9 where segments are compacted: what a view holds, what a later load finds, how far back."""

import pytest

from elanus.access import requests as q
from elanus.model.errors import ElanusError
from elanus.model.nouns import IndexFile, Segment
from elanus.model.properties import AUTO_COMPACTION
from elanus.roles.data import CompactionResult, CompactionTask
from elanus.roles.index import IndexTask
from elanus.runtime.standalone import Instance
from elanus.storage.manifests import with_inputs
from tests.rules.stage import (
    Barrier,
    Stage,
    channel,
    delete,
    flush,
    insert,
    make,
    read,
    served_at_floor,
    view_version,
    wait_for,
)

INDEXED = {"indexCoord__segment__minSegmentNumRowsToEnableIndex": 3}
INDEXED_ALL = {"indexCoord__segment__minSegmentNumRowsToEnableIndex": 1}
AT_ONCE = {"elanus__compaction__retentionSeconds": 0.001}
UNASKED = {"dataCoord__compaction__enableAutoCompaction": False}


def make_indexed(instance: Instance, *, load: bool = True) -> None:
    make(instance, load=False)
    instance.proxy.drop_index("", "a", "v", "v")
    instance.proxy.create_index("", "a", "v", "v", {"index_type": "HNSW", "metric_type": "L2"})
    if load:
        instance.proxy.load("", "a", [], 1, [], False)


def compact(instance: Instance) -> None:
    """Returns when it is committed."""
    collection = instance.proxy.collection("", "a")
    asked = instance.proxy.compact(collection, None)
    wait_for(lambda: all(p.done for p in instance.proxy.compaction_plans(asked)))
    assert [p.failure for p in instance.proxy.compaction_plans(asked) if p.failure] == []


def stored(instance: Instance) -> list[Segment]:
    return list(instance.manifests.read(channel(instance)).segments)


def served(instance: Instance) -> set[str]:
    of = channel(instance)
    version = instance.manifests.pointer(of).version
    wait_for(lambda: view_version(instance, of) >= version)
    found = instance.proxy.topology.served(instance.proxy.collection("", "a"))
    return {str(s.segment.id) for s in found if not s.segment.growing}


def held_builds(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> Barrier:
    barrier = Barrier()
    build = instance._background.build

    def held(task: object) -> object:
        barrier.hold()
        return build(task)  # type: ignore[arg-type]

    monkeypatch.setattr(instance._background, "build", held)
    return barrier


def two_segments(instance: Instance) -> set[str]:
    for keys in ([1, 2], [3, 4]):
        insert(instance, "a", keys)
        flush(instance)
    return {s.name for s in stored(instance)}


def test_two_small_segments_become_one_and_are_read_from_it_at_once(stage: Stage) -> None:
    instance = stage.open(**UNASKED)
    make(instance)
    inputs = two_segments(instance)
    compact(instance)
    (output,) = stored(instance)
    assert output.name not in inputs
    assert output.replaces == ()
    assert served(instance) == {output.name}
    assert read(instance) == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert read(stage.reopen()) == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_a_compacted_segment_replaces_its_inputs_only_when_it_is_indexed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**UNASKED, **INDEXED)
    make_indexed(instance)
    inputs = two_segments(instance)
    barrier = held_builds(instance, monkeypatch)
    compact(instance)
    barrier.wait()
    (output,) = stored(instance)
    assert {s.name for s in output.replaces} == inputs
    assert served(instance) == inputs, "a view holds one or the others"
    assert read(instance) == [(1, 0), (2, 0), (3, 0), (4, 0)]
    barrier.let_go()
    wait_for(lambda: not stored(instance)[0].replaces)
    assert served(instance) == {output.name}
    assert len(stored(instance)[0].indexes) == 1
    assert read(instance) == [(1, 0), (2, 0), (3, 0), (4, 0)]


def two_unindexed(instance: Instance) -> set[str]:
    make(instance, load=False)
    instance.proxy.drop_index("", "a", "v", "v")
    return two_segments(instance)


def index(instance: Instance) -> None:
    instance.proxy.create_index("", "a", "v", "v", {"index_type": "HNSW", "metric_type": "L2"})


def test_segments_without_an_index_are_merged_before_they_get_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**INDEXED_ALL)
    inputs = two_unindexed(instance)
    built: list[str] = []
    build = instance._background.build

    def noted(task: IndexTask) -> IndexFile:
        built.append(task.segment.name)
        return build(task)

    monkeypatch.setattr(instance._background, "build", noted)
    index(instance)
    wait_for(lambda: len(stored(instance)) == 1 and bool(stored(instance)[0].indexes))
    (output,) = stored(instance)
    assert output.name not in inputs
    assert built == [output.name]
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_segments_whose_merge_fails_get_an_index_each(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = stage.open(**INDEXED_ALL, elanus__compaction__retrySeconds=0.01)
    inputs = two_unindexed(instance)

    def failing(task: CompactionTask) -> CompactionResult:
        raise OSError("no space left")

    monkeypatch.setattr(instance._background, "compact", failing)
    index(instance)
    wait_for(lambda: all(s.indexes for s in stored(instance)))
    assert {s.name for s in stored(instance)} == inputs


def test_segments_are_not_merged_before_their_index_where_nothing_is_merged_unasked(stage: Stage) -> None:
    instance = stage.open(**INDEXED_ALL, **UNASKED)
    inputs = two_unindexed(instance)
    index(instance)
    wait_for(lambda: all(s.indexes for s in stored(instance)))
    assert {s.name for s in stored(instance)} == inputs


def test_deletes_stay_as_long_as_inputs_are_served_that_have_not_passed_them(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output has the deletes in its column; a node that starts anew loads the inputs, which do not."""
    instance = stage.open(**UNASKED, **INDEXED)
    make_indexed(instance)
    two_segments(instance)
    delete(instance, "a", "id in [2, 3]")
    flush(instance)
    barrier = held_builds(instance, monkeypatch)
    compact(instance)
    barrier.wait()
    assert len(instance.manifests.read(channel(instance)).delete_files) == 1
    instance.proxy.release("", "a", [])
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(1, 0), (4, 0)]
    barrier.let_go()
    wait_for(lambda: not stored(instance)[0].replaces)
    assert instance.manifests.read(channel(instance)).delete_files == (), "all have passed it"
    assert read(instance) == [(1, 0), (4, 0)]
    assert read(stage.reopen()) == [(1, 0), (4, 0)]


def test_an_output_waits_no_longer_when_its_index_is_dropped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**UNASKED, **INDEXED)
    make_indexed(instance, load=False)
    two_segments(instance)
    barrier = held_builds(instance, monkeypatch)
    compact(instance)
    barrier.wait()
    assert stored(instance)[0].replaces
    instance.proxy.drop_index("", "a", "v", "v")
    assert not stored(instance)[0].replaces
    barrier.let_go()


def test_a_segment_that_waits_for_its_index_is_in_no_other_compaction(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**UNASKED, **INDEXED)
    make_indexed(instance)
    two_segments(instance)
    barrier = held_builds(instance, monkeypatch)
    compact(instance)
    barrier.wait()
    before = stored(instance)
    compact(instance)
    assert stored(instance) == before
    barrier.let_go()


def test_a_delete_file_leaves_when_every_older_segment_has_passed_it(stage: Stage) -> None:
    instance = stage.open(**UNASKED, **AT_ONCE)
    make(instance)
    two_segments(instance)
    delete(instance, "a", "id in [1]")
    flush(instance)
    of = channel(instance)
    one = stored(instance)[1]
    manifest = instance.manifests.read(of)
    collection = instance.proxy.collection("", "a")
    asked = instance.proxy.compact(collection, one.bytes)
    wait_for(lambda: all(p.done for p in instance.proxy.compaction_plans(asked)))
    assert manifest.delete_files, "it was there"
    assert all(s.deletes_applied_to >= manifest.floor_ts for s in with_inputs(instance.manifests.read(of)))
    assert instance.manifests.read(of).delete_files == ()
    assert read(stage.reopen()) == [(2, 0), (3, 0), (4, 0)]


def test_a_delete_file_stays_for_the_segment_that_has_not_passed_it(stage: Stage) -> None:
    instance = stage.open(**UNASKED, **AT_ONCE)
    make(instance)
    two_segments(instance)
    delete(instance, "a", "id in [1, 3]")
    flush(instance)
    first = stored(instance)[0]
    coordinator = instance.compaction
    collection = instance.proxy.collection("", "a")
    of = channel(instance)
    assert coordinator._submit(collection, of, [first], 1 << 30, 0.0)
    wait_for(lambda: not coordinator._busy)
    assert first.name not in {s.name for s in stored(instance)}
    assert len(instance.manifests.read(of).delete_files) == 1
    assert read(stage.reopen()) == [(2, 0), (4, 0)]


@pytest.mark.parametrize("kept", [True, False])
def test_a_deleted_row_is_kept_for_reads_of_earlier_as_long_as_the_retention_says(
    stage: Stage, kept: bool
) -> None:
    instance = stage.open(**UNASKED, **({} if kept else AT_ONCE))
    make(instance)
    two_segments(instance)
    before = instance.proxy.query(
        q.Query(database="", collection="a", expression="id > 0", output_fields=("id",))
    ).ts
    delete(instance, "a", "id in [1, 2, 3, 4]" if not kept else "id in [2]")
    flush(instance)
    compact(instance)
    served_at_floor(instance)

    def at(ts: int) -> list[int]:
        found = instance.proxy.query(
            q.Query(database="", collection="a", expression="id > 0", output_fields=("id",), at_ts=ts)
        )
        return list(found.rows.columns.column("id").to_pylist())

    if kept:
        assert [s.rows for s in stored(instance)] == [4]
        assert at(before) == [1, 2, 3, 4]
        assert read(instance) == [(1, 0), (3, 0), (4, 0)]
        instance = stage.reopen(**UNASKED)
        assert at(before) == [1, 2, 3, 4], "the delete column keeps when"
    else:
        assert stored(instance) == [], "nothing of them is left"
        with pytest.raises(ElanusError, match="too old"):
            at(before)
        assert read(instance) == []


def test_a_row_that_was_purged_is_not_missing_silently(stage: Stage) -> None:
    instance = stage.open(**UNASKED, **AT_ONCE)
    make(instance)
    two_segments(instance)
    before = instance.proxy.query(
        q.Query(database="", collection="a", expression="id > 0", output_fields=("id",))
    ).ts
    delete(instance, "a", "id in [2]")
    flush(instance)
    compact(instance)
    served_at_floor(instance)
    with pytest.raises(ElanusError, match="too old"):
        instance.proxy.query(
            q.Query(database="", collection="a", expression="id > 0", output_fields=("id",), at_ts=before)
        )
    assert read(instance) == [(1, 0), (3, 0), (4, 0)]


def test_small_segments_are_merged_without_a_call(stage: Stage) -> None:
    instance = stage.open(
        dataCoord__compaction__mix__triggerInterval=0.05, elanus__compaction__mergeSegments=2
    )
    make(instance)
    two_segments(instance)
    wait_for(lambda: len(stored(instance)) == 1)
    assert read(instance) == [(1, 0), (2, 0), (3, 0), (4, 0)]


def test_a_collection_that_says_so_is_compacted_by_calls_only(stage: Stage) -> None:
    instance = stage.open(**UNASKED, elanus__compaction__mergeSegments=2)
    made = make(instance)
    instance.proxy.alter_collection("", "a", {AUTO_COMPACTION: "false"}, [])
    two_segments(instance)
    instance.compaction.look()
    assert instance.compaction.plans_of(made.id) == []
    assert len(stored(instance)) == 2
    instance.proxy.alter_collection("", "a", {}, [AUTO_COMPACTION])
    instance.compaction.look()
    wait_for(lambda: len(stored(instance)) == 1)


def test_a_segment_full_of_deleted_rows_is_rewritten_without_a_call(stage: Stage) -> None:
    instance = stage.open(**AT_ONCE, dataCoord__compaction__mix__triggerInterval=0.05)
    make(instance)
    insert(instance, "a", list(range(10)))
    flush(instance)
    delete(instance, "a", "id in [0, 1]")
    flush(instance)
    wait_for(lambda: [s.rows for s in stored(instance)] == [8])
    wait_for(lambda: served(instance) == {s.name for s in stored(instance)})
    assert [k for k, _ in read(instance)] == list(range(2, 10))


def test_deletes_that_hit_nothing_rewrite_nothing(stage: Stage) -> None:
    instance = stage.open(**AT_ONCE, **UNASKED)
    make(instance)
    insert(instance, "a", list(range(10)))
    flush(instance)
    insert(instance, "a", [100])
    delete(instance, "a", "id in [100, 101, 102, 103]")
    flush(instance)
    before = stored(instance)
    instance.compaction.look()
    wait_for(lambda: not instance.compaction._busy)
    assert before[0] in stored(instance)


def test_a_compaction_whose_input_has_gone_meanwhile_is_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rule 8: all inputs present. Otherwise their rows would be there twice."""
    instance = stage.open(**UNASKED, elanus__compaction__jobs=2)
    make(instance)
    two_segments(instance)
    node = instance.compaction._node
    barrier = Barrier()

    class Slow:
        def compact(self, task: CompactionTask) -> CompactionResult:
            result = node.compact(task)
            if len(task.inputs) == 2:
                barrier.hold()
            return result

    monkeypatch.setattr(instance.compaction, "_node", Slow())
    collection = instance.proxy.collection("", "a")
    asked = instance.proxy.compact(collection, None)
    barrier.wait()
    assert instance.proxy.compaction_plans(instance.proxy.compact(collection, None)) == [], "they are taken"
    instance.compaction._busy.clear()
    first = stored(instance)[0]
    assert instance.compaction._submit(collection, channel(instance), [first], 1 << 30, 0.0)
    wait_for(lambda: first.name not in {s.name for s in stored(instance)})
    barrier.let_go()
    wait_for(lambda: all(p.done for p in instance.proxy.compaction_plans(asked)))
    assert (
        f"segments {first.name} are not in the manifest" in instance.proxy.compaction_plans(asked)[0].failure
    )
    assert sum(s.rows for s in stored(instance)) == 4
    assert [k for k, _ in read(stage.reopen())] == [1, 2, 3, 4]
