"""Rule 13: a DDL is an intent that is replayed; no write goes where it has passed."""

from collections.abc import Sequence
from concurrent.futures import Future, wait
from contextlib import suppress

import pytest

from elanus.access import requests as q
from elanus.model.errors import (
    AmbiguousError,
    CollectionNotFound,
    CollectionNotLoaded,
    DeadlineExceeded,
    ElanusError,
    PartitionNotFound,
)
from elanus.model.nouns import LoadState
from elanus.model.records import Header, Kind, decode
from elanus.runtime.standalone import Instance
from elanus.storage import keys
from tests.rules.stage import (
    MOMENT,
    SECONDS,
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
    reload,
    served_at_floor,
    touches,
    upsert,
    wait_for,
)


def kinds_in_log(instance: Instance) -> list[Header]:
    subscription = instance.broker.subscribe("dml_0", 0)
    headers: list[Header] = []
    while len(headers) < instance.broker.end_offset("dml_0"):
        headers += [decode(e.data).header for e in subscription.poll(SECONDS, 1000)]
    subscription.close()
    return headers


# No write into what was dropped


@pytest.mark.parametrize("what", ["collection", "partition"])
def test_a_drop_waits_for_the_writes_that_began_before_it(stage: Stage, what: str) -> None:
    instance = stage.open()
    make(instance, load=False)
    instance.proxy.create_partition("", "a", "p")
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = stage.do(insert, instance, "a", [1], 0, "p")
    writing.wait()
    if what == "collection":
        drop = stage.do(instance.proxy.drop_collection, "", "a")
    else:
        drop = stage.do(instance.proxy.drop_partition, "", "a", "p")
    with pytest.raises(TimeoutError):
        drop.result(MOMENT)
    with pytest.raises((CollectionNotFound, PartitionNotFound)):
        insert(instance, "a", [2], partition="p")
    writing.let_go()
    write.result(SECONDS)
    drop.result(SECONDS)
    last = {"collection": Kind.DROP, "partition": Kind.DROP_PARTITION}[what]
    assert [h.kind for h in stage.hooks.appended] == [Kind.INSERT, last]


def test_rows_written_while_their_partition_was_being_dropped_are_gone(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    instance.proxy.create_partition("", "a", "p")
    insert(instance, "a", [1], partition="p")
    insert(instance, "a", [2])
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = stage.do(insert, instance, "a", [3], 0, "p")
    writing.wait()
    drop = stage.do(instance.proxy.drop_partition, "", "a", "p")
    with pytest.raises(TimeoutError):
        drop.result(MOMENT)
    writing.let_go()
    write.result(SECONDS)
    drop.result(SECONDS)
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(2, 0)]


def test_a_delete_by_expression_does_not_hold_up_a_ddl_while_it_waits_for_a_view(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    insert(instance, "a", [1, 2])
    flush(instance)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    load = stage.do(instance.proxy.load, "", "a", [], 1, [], False)
    loading.wait()
    deleting = stage.do(delete, instance, "a", "tag == 0 and id < 2")
    assert stage.do(make, instance, "b", load=False).exception(SECONDS) is None
    assert [c.name for c in instance.proxy.collections("")] == ["a", "b"]
    assert not deleting.done()
    loading.let_go()
    deleting.result(SECONDS)
    load.result(SECONDS)
    assert read(instance) == [(2, 0)]


def test_a_delete_by_expression_leaves_a_collection_that_was_made_anew_alone(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    keys_of = instance.proxy._reader.keys

    def then_made_anew(*arguments: object) -> object:
        found = keys_of(*arguments)  # type: ignore[arg-type]
        instance.proxy.drop_collection("", "a")
        make(instance)
        insert(instance, "a", [1])
        return found

    object.__setattr__(instance.proxy._reader, "keys", then_made_anew)
    with pytest.raises(CollectionNotFound, match="made again"):
        delete(instance, "a", "tag == 0")
    assert read(instance) == [(1, 0)]


# Replay


def crash_after(stage: Stage, steps: int) -> list[int]:
    """Every transaction and append is a step; the process dies before step number `steps` + 1."""
    taken: list[int] = []

    def step(_: Sequence[object]) -> None:
        if len(taken) >= steps:
            raise Crash
        taken.append(1)

    stage.hooks.before_txn = stage.hooks.before_append = step
    return taken


def recover(stage: Stage) -> Instance:
    def nothing(_: Sequence[object]) -> None:
        pass

    stage.hooks.before_txn = stage.hooks.before_append = nothing
    return stage.reopen()


def traces(instance: Instance, collection_id: int, channels: Sequence[int]) -> list[str]:
    """What the meta store holds of a collection."""
    found = [i.key for i in instance.meta.range("")[0]]
    ids = {collection_id, *channels}
    return [k for k in found if any(p.isdigit() and int(p) in ids for p in k.replace("-", "/").split("/"))]


@pytest.mark.parametrize("step", range(8))
def test_a_collection_whose_drop_was_cut_off_anywhere_is_there_or_gone(stage: Stage, step: int) -> None:
    instance = stage.open()
    collection = make(instance, shards=2)
    insert(instance, "a", [1, 2])
    flush(instance)
    served_at_floor(instance)
    taken = crash_after(stage, step)
    died = False
    try:
        instance.proxy.drop_collection("", "a")
    except Crash:
        died = True
    assert died == (step < 6), f"a drop takes {len(taken)} steps"
    instance = recover(stage)
    if step == 0:
        assert read(instance) == [(1, 0), (2, 0)]
        return
    assert instance.proxy.collections("") == []
    assert traces(instance, collection.id, [c.id for c in collection.channels]) == []
    make(instance)
    insert(instance, "a", [3])
    assert read(instance) == [(3, 0)]


@pytest.mark.parametrize("step", range(6))
def test_a_partition_whose_drop_was_cut_off_anywhere_hides_what_it_had(stage: Stage, step: int) -> None:
    instance = stage.open()
    make(instance, shards=2, load=False)
    instance.proxy.create_partition("", "a", "p")
    insert(instance, "a", [1, 2, 3, 4], partition="p")
    flush(instance)
    insert(instance, "a", [5, 6, 7, 8], partition="p")
    insert(instance, "a", [9])
    taken = crash_after(stage, step)
    died = False
    try:
        instance.proxy.drop_partition("", "a", "p")
    except Crash:
        died = True
    assert died == (step < 5), f"a drop takes {len(taken)} steps"
    instance = recover(stage)
    if step == 0:
        instance.proxy.drop_partition("", "a", "p")
    insert(instance, "a", [10])
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(9, 0), (10, 0)]
    drops = [h for h in kinds_in_log(instance) if h.kind is Kind.DROP_PARTITION]
    for each in instance.proxy.collection("", "a").channels:
        mine = {h.as_of for h in drops if h.channel == each.id}
        assert len(mine) == 1, "a replay hides the same rows as the first"
        assert min(mine) > 0
    flush(instance)
    reload(instance)
    assert read(instance) == [(9, 0), (10, 0)]
    assert instance.meta.range(keys.PARTITION_DROPS)[0] == []


def test_a_replayed_drop_of_a_partition_hides_no_row_that_came_after_the_first(stage: Stage) -> None:
    """Rows of other partitions, and of a new partition of the same name."""
    instance = stage.open()
    make(instance, load=False)
    instance.proxy.create_partition("", "a", "p")
    insert(instance, "a", [1], partition="p")
    stage.hooks.before_txn = once(
        failing(Crash()),
        lambda touched: (
            all(k.startswith(keys.PARTITION_DROPS) for k in touched)
            and bool([h for h in stage.hooks.appended if h.kind is Kind.DROP_PARTITION])
        ),
    )
    with pytest.raises(Crash):
        instance.proxy.drop_partition("", "a", "p")
    instance.proxy.create_partition("", "a", "p")
    insert(instance, "a", [2], partition="p")
    upsert(instance, "a", [3], partition="p")
    instance = stage.reopen()
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(2, 0), (3, 0)]


# What fails half-way


def test_a_create_that_nobody_confirmed_is_finished_by_the_next(stage: Stage) -> None:
    instance = stage.open(elanus__catalogue__confirmSeconds=MOMENT)
    make(instance, "other")
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = stage.do(insert, instance, "other", [1])
    writing.wait()
    with pytest.raises(DeadlineExceeded):
        make(instance, "a")
    writing.let_go()
    write.result(SECONDS)
    make(instance, "a")
    insert(instance, "a", [1])
    flush(instance, "a")
    assert read(instance, "a") == [(1, 0)]


def test_a_create_whose_answer_was_lost_is_finished_by_the_next(stage: Stage) -> None:
    instance = stage.open()
    stage.hooks.after_txn = once(failing(AmbiguousError("lost")), touches(keys.COLLECTIONS))
    with pytest.raises(AmbiguousError):
        make(instance)
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    assert read(instance) == [(1, 0)]


@pytest.mark.parametrize("what", ["collection", "partition"])
def test_a_drop_that_nobody_confirmed_is_finished_by_the_next(stage: Stage, what: str) -> None:
    instance = stage.open(elanus__catalogue__confirmSeconds=MOMENT)
    collection = make(instance, load=False)
    instance.proxy.create_partition("", "a", "p")
    insert(instance, "a", [1], partition="p")
    insert(instance, "a", [2])
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = stage.do(insert, instance, "a", [3], 0, "p")
    writing.wait()

    def drop() -> None:
        if what == "collection":
            instance.proxy._root.drop_collection("", "a")
        else:
            instance.proxy._root.drop_partition(collection.id, "p")

    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            drop()
    assert not [h for h in stage.hooks.appended if h.kind in (Kind.DROP, Kind.DROP_PARTITION)]
    writing.let_go()
    write.result(SECONDS)
    drop()
    assert instance.meta.range("intent/")[0] == []
    if what == "collection":
        assert traces(instance, collection.id, [c.id for c in collection.channels]) == []
    else:
        instance.proxy.load("", "a", [], 1, [], False)
        assert read(instance) == [(2, 0)]


# Loading


def test_a_collection_released_while_it_is_being_loaded_stays_released(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    insert(instance, "a", [1])
    flush(instance)
    of = channel(instance)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    load = stage.do(instance.proxy.load, "", "a", [], 1, [], False)
    loading.wait()
    instance.proxy.release("", "a", [])
    loading.let_go()
    load.result(SECONDS)
    wait_for(lambda: of.id not in instance.query_node._channels)
    assert instance.proxy.load_progress("", "a", []).state is LoadState.NOT_LOADED
    assert instance.meta.range(keys.VIEWS)[0] == []
    with pytest.raises(CollectionNotLoaded):
        read(instance)
    instance.proxy.load("", "a", [], 1, [], False)
    assert read(instance) == [(1, 0)]


def test_a_stored_view_released_while_it_is_prepared_again_is_not_served(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    served_at_floor(instance)
    of = channel(instance)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    instance = stage.reopen()
    loading.wait()
    release = stage.do(instance.proxy.release, "", "a", [])
    wait_for(lambda: instance.meta.range(keys.LOADS)[0] == [])
    loading.let_go()
    release.result(SECONDS)
    query = instance.proxy._query
    wait_for(lambda: of.id not in instance.query_node._channels)
    stage.hooks.before_open = once(failing(OSError("not yet")))
    assert query.progress(instance.proxy.collection("", "a").id) == 0


def test_a_collection_dropped_while_it_is_being_loaded_leaves_nothing(stage: Stage) -> None:
    instance = stage.open()
    collection = make(instance, load=False)
    insert(instance, "a", [1])
    flush(instance)
    of = channel(instance)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    load = stage.do(instance.proxy.load, "", "a", [], 1, [], False)
    loading.wait()
    drop = stage.do(instance.proxy.drop_collection, "", "a")
    wait_for(lambda: instance.meta.range(keys.LOADS)[0] == [])
    loading.let_go()
    drop.result(SECONDS)
    assert isinstance(load.exception(SECONDS), ElanusError | None)
    wait_for(lambda: of.id not in instance.query_node._channels)
    assert traces(instance, collection.id, [of.id]) == []


@pytest.mark.parametrize("call", ["load", "create index"])
def test_what_comes_while_its_collection_is_being_dropped_does_not_outlive_it(
    stage: Stage, call: str
) -> None:
    instance = stage.open()
    collection = make(instance, load=False)
    instance.proxy.drop_index("", "a", "v", "v")
    of = channel(instance)
    drops: list[Future[None]] = []

    def drop() -> None:
        drops.append(stage.do(instance.proxy.drop_collection, "", "a"))
        wait(drops, MOMENT)

    prefix = keys.LOADS if call == "load" else keys.INDEXES
    stage.hooks.before_txn = once(drop, touches(prefix))
    with suppress(CollectionNotFound):
        if call == "load":
            instance.proxy._query.load(collection.id, [], 1, [], 0.01)
        else:
            instance.proxy.create_index("", "a", "v", "v", {"index_type": "FLAT", "metric_type": "L2"})
    drops[0].result(SECONDS)
    assert traces(instance, collection.id, [of.id]) == []
    with pytest.raises(CollectionNotFound):
        instance.proxy._query.load(collection.id, [], 1, [], 0.01)
    with pytest.raises(CollectionNotFound):
        instance.proxy._index.create_index(collection.id, 102, "v", "FLAT", "L2", {}, {})
    assert traces(instance, collection.id, [of.id]) == []


def test_partitions_loaded_at_the_same_time_are_all_loaded(stage: Stage) -> None:
    instance = stage.open()
    make(instance, load=False)
    for name in "pq":
        instance.proxy.create_partition("", "a", name)
    first = Barrier()
    stage.hooks.before_txn = once(first.hold, touches(keys.LOADS))
    one = stage.do(instance.proxy.load, "", "a", ["p"], 1, [], False)
    first.wait()
    two = stage.do(instance.proxy.load, "", "a", ["q"], 1, [], False)
    with pytest.raises(TimeoutError):
        two.result(MOMENT)
    first.let_go()
    one.result(SECONDS)
    two.result(SECONDS)
    assert set(instance.proxy.loaded_partitions("", "a")) == {"p", "q"}


def test_a_field_gets_one_index_of_two_made_at_the_same_time(stage: Stage) -> None:
    instance = stage.open()
    collection = make(instance, load=False)
    instance.proxy.drop_index("", "a", "v", "v")
    first = Barrier()
    stage.hooks.before_txn = once(first.hold, touches(keys.INDEXES))

    def create(metric: str) -> None:
        instance.proxy.create_index("", "a", "v", "v", {"index_type": "FLAT", "metric_type": metric})

    one = stage.do(create, "L2")
    first.wait()
    two = stage.do(create, "IP")
    with pytest.raises(TimeoutError):
        two.result(MOMENT)
    first.let_go()
    one.result(SECONDS)
    assert "at most one distinct index" in str(two.exception(SECONDS))
    assert len(instance.catalog.indexes(collection.id)) == 1


def test_a_write_into_a_dropped_collection_is_refused(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    instance.proxy.drop_collection("", "a")
    with pytest.raises(CollectionNotFound):
        insert(instance, "a", [1])
    with pytest.raises(CollectionNotFound):
        instance.proxy.delete(q.Delete(database="", collection="a", expression="id in [1]"))
    make(instance)
    assert count(instance) == 0
