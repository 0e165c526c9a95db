"""Rule 8: an edit of a manifest is made once, by who may make it, on what it was meant for."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from elanus.coordinators.index import _with_index
from elanus.model.errors import AmbiguousError, ConflictError, RetriableStorageError, StorageError
from elanus.model.nouns import Channel, IndexDefinition, IndexFile, Manifest, Owner, Segment
from elanus.roles.index import IndexTask
from elanus.runtime.standalone import Instance
from elanus.storage import codec, keys
from elanus.storage.manifests import Manifests, edit_id
from elanus.workers.data_node import LocalDataNode
from elanus.workers.tail import Tails
from tests.rules.stage import (
    SCHEMA,
    Barrier,
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
    touches,
    wait_for,
)

LOST = AmbiguousError("the answer was lost")


def still_seals(instance: Instance) -> None:
    """The channel has not been given up, and nothing of it was sealed twice."""
    rows = count(instance)
    insert(instance, "a", [100])
    flush(instance)
    manifest = instance.manifests.read(channel(instance))
    assert manifest.rows == rows + 1
    assert manifest.floor_offset == instance.broker.end_offset("dml_0")
    assert instance.proxy.row_count("", "a") == rows + 1


def test_a_seal_that_was_made_and_not_answered_counts_as_made(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2])
    stage.hooks.after_txn = once(failing(LOST), touches(keys.MANIFESTS))
    flush(instance)
    assert instance.manifests.read(channel(instance)).rows == 2
    still_seals(instance)


def test_a_seal_that_was_not_made_is_made_again(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2])
    stage.hooks.before_txn = once(failing(LOST), touches(keys.MANIFESTS))
    flush(instance)
    still_seals(instance)


@pytest.mark.parametrize("outage", [StorageError("gone"), RetriableStorageError("gone for a moment")])
def test_a_seal_is_looked_for_under_its_own_id_however_long_nobody_can_tell(
    stage: Stage, outage: StorageError
) -> None:
    """The edit is made, its answer is lost, and so is the meta store, for as long as the edit is tried."""
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2])
    manifest = keys.manifest(channel(instance).id)

    def lost() -> None:
        stage.hooks.before_get = once(failing(outage), lambda key: key == manifest)
        raise LOST

    stage.hooks.after_txn = once(lost, touches(keys.MANIFESTS))
    insert(instance, "a", [3])
    flush(instance)
    still_seals(instance)


def test_files_that_cannot_be_written_are_written_again_and_the_log_says_why(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2])
    stage.hooks.before_put = once(failing(OSError("no space on the scratch disk")))
    flush(instance)
    assert "is not sealed, again in 0.02 s" in caplog.text
    assert "no space on the scratch disk" in caplog.text
    still_seals(instance)


# Edits by themselves


def add_segment(name: str) -> Callable[[Manifest], Manifest]:
    segment = Segment(
        name=name, prefix=name, rows=1, bytes=1, min_ts=1, max_ts=1, partitions=(), schema_version=1
    )
    return lambda m: msgspec.structs.replace(m, segments=(*m.segments, segment))


def names(manifests: Manifests, of: Channel) -> list[str]:
    return [s.name for s in manifests.read(of).segments]


@pytest.fixture
def instance(stage: Stage) -> Instance:
    made = stage.open()
    make(made, load=False)
    return made


def hold(instance: Instance, key: str, value: bytes = b"{}") -> dict[str, int]:
    """Puts a job key and returns the guard on it."""
    instance.meta.txn([], {key: value})
    item = instance.meta.get(key)
    assert item is not None
    return {key: item.revision}


def test_two_edits_at_once_are_both_made(stage: Stage, instance: Instance) -> None:
    of, manifests = channel(instance), instance.manifests
    guards = hold(instance, "job/1") | hold(instance, "job/2")

    def other() -> None:
        manifests.edit(of, edit_id("job/2", 0), {"job/2": guards["job/2"]}, add_segment("two"))

    stage.hooks.before_txn = once(other, touches(keys.MANIFESTS))
    manifests.edit(of, edit_id("job/1", 0), {"job/1": guards["job/1"]}, add_segment("one"))
    assert names(manifests, of) == ["two", "one"]


def test_an_edit_is_found_though_another_was_made_since(stage: Stage, instance: Instance) -> None:
    of, manifests = channel(instance), instance.manifests
    guards = hold(instance, "job/1") | hold(instance, "job/2")
    made: list[int] = []

    def change(manifest: Manifest) -> Manifest:
        made.append(manifest.version)
        return add_segment(f"one-{len(made)}")(manifest)

    def lost() -> None:
        manifests.edit(of, edit_id("job/2", 0), {"job/2": guards["job/2"]}, add_segment("two"))
        raise LOST

    stage.hooks.after_txn = once(lost, touches(keys.MANIFESTS))
    manifests.edit(of, edit_id("job/1", 0), {"job/1": guards["job/1"]}, change)
    assert names(manifests, of) == ["one-1", "two"]


def test_ids_of_holders_that_are_gone_leave_the_manifest(instance: Instance) -> None:
    of, manifests = channel(instance), instance.manifests
    manifests.edit(of, edit_id("job/1", 0), hold(instance, "job/1"), add_segment("one"))
    assert manifests.read(of).edits == ("job/1#0",)
    instance.meta.txn([], {}, ["job/1"])
    manifests.edit(of, edit_id("job/2", 0), hold(instance, "job/2"), add_segment("two"))
    manifests.edit(of, edit_id("job/2", 1), hold(instance, "job/2"), add_segment("three"))
    assert manifests.read(of).edits == ("job/2#1",)


@pytest.mark.parametrize("when", ["before the edit", "between its look and its transaction"])
def test_who_has_lost_the_channel_makes_no_edit(stage: Stage, instance: Instance, when: str) -> None:
    of, manifests = channel(instance), instance.manifests
    owner = keys.owner(of.id)
    item = instance.meta.get(owner)
    assert item is not None
    guard = {owner: item.revision}

    def new_owner() -> None:
        instance.meta.txn([], {owner: codec.encode(Owner(node=2, epoch=2))})

    if when == "before the edit":
        new_owner()
    else:
        stage.hooks.before_txn = once(new_owner, touches(keys.MANIFESTS))
    with pytest.raises(ConflictError, match="changed hands"):
        manifests.edit(of, edit_id(owner, 1), guard, add_segment("one"))
    assert names(manifests, of) == []


def test_an_edit_whose_outcome_stays_unknown_says_so(stage: Stage, instance: Instance) -> None:
    of = channel(instance)
    stage.hooks.before_txn = lambda keys_: failing(LOST)() if touches(keys.MANIFESTS)(keys_) else None
    item = instance.meta.get(keys.owner(of.id))
    assert item is not None
    guard = {item.key: item.revision}
    with pytest.raises(AmbiguousError, match="the answer was lost"):
        instance.manifests.edit(of, edit_id(item.key, 1), guard, add_segment("one"))


def test_a_floor_that_somebody_else_has_moved_is_not_moved_again(stage: Stage, tmp_path: Path) -> None:
    """Two data nodes under one owner record: the second was given up too early, and lives."""
    instance = stage.open()
    collection = make(instance)
    tails = Tails(instance.broker, idle_seconds=0.01)
    zombie = LocalDataNode(
        1,
        meta=instance.meta,
        objects=instance.objects,
        catalog=instance.catalog,
        manifests=instance.manifests,
        tails=tails,
        segment_ids=instance._ids,
        scratch=tmp_path,
        policy=instance._data_node._policy,
    )
    zombie.adopt(collection.id, list(collection.channels))
    for tail in tails:
        tail.start(collection.channels[0].start)
    try:
        insert(instance, "a", [1, 2])
        flush(instance)
        # Only now does it look at what is due: the owner's seal has won.
        zombie.start()
        wait_for(lambda: not zombie._buffers, "the zombie gives the channel up")
    finally:
        zombie.stop()
        tails.stop()
    assert instance.manifests.read(channel(instance)).rows == 2


def test_a_channel_dropped_while_it_is_sealed_stays_dropped(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    of = channel(instance)
    insert(instance, "a", [1, 2])
    writing = Barrier()
    stage.hooks.before_put = once(writing.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    flushing = stage.do(instance.proxy.flush, "", ["a"])
    writing.wait()
    instance.proxy.drop_collection("", "a")
    writing.let_go()
    flushing.exception()
    wait_for(lambda: not instance._data_node._sealing)
    assert instance.meta.get(keys.manifest(of.id)) is None
    make(instance)
    assert read(instance) == []


# Index edits


def test_an_index_that_was_built_twice_is_listed_once(stage: Stage) -> None:
    """Its edit was made and not answered, the job given up, its id pruned by a seal, the build repeated."""
    instance = stage.open(
        indexCoord__segment__minSegmentNumRowsToEnableIndex=5, elanus__build__retrySeconds=0.01
    )
    make(instance, load=False)
    insert(instance, "a", list(range(10)))
    flush(instance)
    instance.proxy.drop_index("", "a", "v", "v")
    of, jobs = channel(instance), touches(keys.JOBS)
    steps: list[str] = []

    def lost() -> None:
        stage.hooks.before_get = once(failing(StorageError("gone")), lambda key: key == keys.manifest(of.id))
        stage.hooks.before_txn = job_step
        raise LOST

    def job_step(touched: Sequence[str]) -> None:
        """The first removes the job's key, the second begins again."""
        if jobs(touched):
            steps.append(touched[0])
            if len(steps) == 2:
                insert(instance, "a", [100])
                flush(instance)

    stage.hooks.after_txn = once(lost, touches(keys.MANIFESTS))
    instance.proxy.create_index("", "a", "v", "v", {"index_type": "HNSW", "metric_type": "L2"})
    wait_for(lambda: len(steps) >= 3)
    wait_for(lambda: not instance.meta.range(keys.JOBS)[0])
    assert [len(s.indexes) for s in instance.manifests.read(of).segments] == [1, 0]


def test_an_index_of_a_segment_that_has_left_is_not_listed(stage: Stage) -> None:
    gone = Segment(name="7", prefix="", rows=1, bytes=1, min_ts=1, max_ts=1, partitions=(), schema_version=1)
    of = Channel(id=1, log="log", start_offset=0, start_ts=0)
    task = IndexTask(
        job_id=1,
        collection_id=1,
        schema=SCHEMA,
        channel=of,
        segment=gone,
        definition=IndexDefinition(id=1, collection_id=1, field_id=1, name="v", type="HNSW"),
    )
    file = IndexFile(index_id=1, field_id=1, type="HNSW", metric=None, path="", bytes=1)
    with pytest.raises(ConflictError, match="segment 7"):
        _with_index(Manifest(channel_id=1, version=1, floor_offset=0, floor_ts=0), task, file)


def test_deletes_of_a_seal_that_is_repeated_are_written_once(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2])
    flush(instance)
    delete(instance, "a", "id in [1]")
    stage.hooks.after_txn = once(failing(LOST), touches(keys.MANIFESTS))
    flush(instance)
    assert [f.rows for f in instance.manifests.read(channel(instance)).delete_files] == [1]
    assert read(stage.reopen()) == [(2, 0)]
