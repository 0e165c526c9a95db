"""Rule 10: only garbage collection deletes objects, and only those that nothing names or will name."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from elanus.model.errors import RetriableStorageError
from elanus.runtime.standalone import Instance
from elanus.storage import keys
from tests.rules.stage import (
    Barrier,
    Crash,
    Stage,
    channel,
    count,
    delete,
    failing,
    flush,
    insert,
    make,
    once,
    read,
    served_at_floor,
    touches,
    wait_for,
)
from tests.rules.test_rule_06_compaction import compact, held_builds, make_indexed, two_segments

QUIET: dict[str, Any] = {
    "dataCoord__compaction__enableAutoCompaction": False,
    "dataCoord__gc__interval": 3600,
    "elanus__compaction__attempts": 1,
    "elanus__serve__viewGraceSeconds": 0.01,
}
DATA = (keys.SEGMENT_OBJECTS, keys.DELETE_OBJECTS, keys.INDEX_OBJECTS)


def collect(instance: Instance) -> int:
    """A pass that deletes what it finds at once: the order of reading alone keeps what is needed."""
    instance.garbage._policy = msgspec.structs.replace(instance.garbage._policy, grace_seconds=-1)
    return instance.garbage.collect()


def objects(instance: Instance, *prefixes: str) -> set[str]:
    return {o.path for p in prefixes or ("",) for o in instance.objects.list(p)}


def data(instance: Instance) -> set[str]:
    return objects(instance, *DATA)


def test_what_a_compaction_replaced_goes_and_what_it_made_stays(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    two_segments(instance)
    before = data(instance)
    compact(instance)
    served_at_floor(instance)
    made = data(instance) - before
    assert made
    assert collect(instance)
    assert data(instance) == made
    assert [k for k, _ in read(stage.reopen(**QUIET))] == [1, 2, 3, 4]


def test_nothing_goes_before_the_grace_time_is_over(stage: Stage) -> None:
    instance = stage.open(**QUIET, dataCoord__gc__dropTolerance=100)
    make(instance)
    two_segments(instance)
    compact(instance)
    served_at_floor(instance)
    before = objects(instance)
    now = [0.0]
    instance.garbage._clock = lambda: now[0]
    assert instance.garbage.collect() == 0
    now[0] = 99
    assert instance.garbage.collect() == 0
    assert objects(instance) == before
    now[0] = 101
    assert instance.garbage.collect()


def test_old_bodies_of_manifests_and_views_go(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    for key in range(5):
        insert(instance, "a", [key])
        flush(instance)
    served_at_floor(instance)
    collect(instance)
    assert len(objects(instance, keys.MANIFEST_OBJECTS)) == 1
    assert len(objects(instance, keys.VIEW_OBJECTS)) == 1
    assert len(read(stage.reopen(**QUIET))) == 5


def test_a_flush_that_is_being_written_keeps_its_objects(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    insert(instance, "a", [2])
    delete(instance, "a", "id in [1]")

    def in_between(_: Any) -> None:
        collect(instance)

    stage.hooks.before_txn = once(lambda: in_between(None), touches(keys.MANIFESTS))
    flush(instance)
    assert read(stage.reopen(**QUIET)) == [(2, 0)]


def test_the_objects_of_a_flush_that_never_came_go_after_the_next_one(stage: Stage) -> None:
    instance = stage.open(**QUIET, elanus__flush__retrySeconds=3600)
    make(instance)
    insert(instance, "a", [1])
    crashed = []

    def crash() -> None:
        crashed.append(True)
        raise Crash

    stage.hooks.before_txn = once(crash, touches(keys.MANIFESTS))
    stage.do(instance._data_node.wait_sealed, channel(instance).id, 1 << 62, 1)
    wait_for(lambda: bool(crashed))
    orphans = data(instance)
    assert orphans
    instance = stage.reopen(**QUIET)
    collect(instance)
    assert data(instance) == orphans, "for all we know the owner is still at it"
    flush(instance)
    collect(instance)
    assert not data(instance) & orphans
    assert read(instance) == [(1, 0)]


@pytest.mark.parametrize("indexed", [False, True])
def test_a_job_that_is_under_way_keeps_its_objects(stage: Stage, indexed: bool) -> None:
    settings = {"indexCoord__segment__minSegmentNumRowsToEnableIndex": 3} if indexed else {}
    instance = stage.open(**QUIET, **settings)
    make_indexed(instance)
    two_segments(instance)

    # Each edit of a job: of the compaction, then of the index that its output gets.
    def collect_before_each(touched: Sequence[str]) -> None:
        if touches(keys.MANIFESTS)(touched):
            collect(instance)

    stage.hooks.before_txn = collect_before_each
    compact(instance)
    if indexed:
        wait_for(lambda: not instance.manifests.read(channel(instance)).segments[0].replaces)
    stage.hooks.before_txn = lambda _: None
    collect(instance)
    assert [k for k, _ in read(stage.reopen(**QUIET))] == [1, 2, 3, 4]


def test_a_job_that_is_presumed_dead_cannot_commit_what_was_taken_from_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = stage.open(**QUIET, elanus__garbage__jobSeconds=1e-3)
    make(instance)
    inputs = two_segments(instance)
    node = instance.compaction._node
    done = Barrier()

    class Slow:
        def compact(self, task: Any) -> Any:
            result = node.compact(task)
            done.hold()
            return result

    monkeypatch.setattr(instance.compaction, "_node", Slow())
    collection = instance.proxy.collection("", "a")
    asked = instance.proxy.compact(collection, None)
    done.wait()
    before = data(instance)
    assert collect(instance)
    assert data(instance) < before
    done.let_go()
    wait_for(lambda: all(p.done for p in instance.proxy.compaction_plans(asked)))
    assert "changed hands" in instance.proxy.compaction_plans(asked)[0].failure
    assert {s.name for s in instance.manifests.read(channel(instance)).segments} == inputs
    assert [k for k, _ in read(stage.reopen(**QUIET))] == [1, 2, 3, 4]


def test_a_failed_job_leaves_its_objects_to_the_collection(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    two_segments(instance)
    before = data(instance)
    stage.hooks.before_txn = once(failing(RetriableStorageError("full")), touches(keys.MANIFESTS))
    asked = instance.proxy.compact(instance.proxy.collection("", "a"), None)
    wait_for(lambda: all(p.done for p in instance.proxy.compaction_plans(asked)))
    assert data(instance) > before
    collect(instance)
    assert data(instance) == before
    assert count(instance) == 4


def test_inputs_stay_as_long_as_their_output_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = stage.open(**QUIET, indexCoord__segment__minSegmentNumRowsToEnableIndex=3)
    make_indexed(instance)
    two_segments(instance)
    before = data(instance)
    barrier = held_builds(instance, monkeypatch)
    compact(instance)
    barrier.wait()
    instance.proxy.release("", "a", [])
    collect(instance)
    assert data(instance) > before
    instance.proxy.load("", "a", [], 1, [], False)
    assert count(instance) == 4
    barrier.let_go()


def test_a_view_keeps_what_it_names(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    two_segments(instance)
    served_at_floor(instance)
    monkeypatch.setattr(instance.proxy._query, "_refresh", lambda _: None)
    before = data(instance)
    compact(instance)
    collect(instance)
    assert data(instance) > before


@pytest.mark.parametrize("first", ["_read_manifest", "_read_views"])
def test_a_view_that_is_made_while_garbage_is_looked_for_keeps_its_parts(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Views are read after manifests: whatever a view may be made of meanwhile was in a manifest then."""
    instance = stage.open(**QUIET)
    make(instance, load=False)
    two_segments(instance)
    before = data(instance)
    phase: Callable[..., None] = getattr(instance.garbage, first)
    left = [True]

    def then_a_view_and_a_compaction(*arguments: Any) -> None:
        phase(*arguments)
        if left.pop() if left else False:
            instance.proxy.load("", "a", [], 1, [], False)
            served_at_floor(instance)
            monkeypatch.setattr(instance.proxy._query, "_refresh", lambda _: None)
            compact(instance)

    monkeypatch.setattr(instance.garbage, first, then_a_view_and_a_compaction)
    collect(instance)
    assert not left
    assert before <= data(instance)
    assert count(instance) == 4


def test_nothing_is_left_of_a_dropped_collection(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    make(instance, "b")
    two_segments(instance)
    insert(instance, "b", [7])
    flush(instance, "b")
    served_at_floor(instance, "b")
    of = channel(instance).id
    instance.proxy.drop_collection("", "a")
    collect(instance)
    left = objects(instance)
    assert not [p for p in left if f"/{of}/" in p]
    assert [k for k, _ in read(stage.reopen(**QUIET), "b")] == [7]


def test_what_is_of_an_unknown_form_is_left_alone(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    strange = {"segments/1/2/z9/1/rows", "notes.txt", "manifests/x/1", "views/7", "segments/a/b/c/d"}
    for path in strange:
        instance.objects.put(path, b"?")
    collect(instance)
    assert strange <= objects(instance)


def test_a_view_whose_body_is_lost_is_made_anew(stage: Stage) -> None:
    instance = stage.open(**QUIET)
    make(instance)
    two_segments(instance)
    served_at_floor(instance)
    for path in objects(instance, keys.VIEW_OBJECTS):
        instance.objects.delete(path)
    assert collect(instance) == 0, "who knows what it named"
    assert count(stage.reopen(**QUIET)) == 4
