"""The noun View: switched when it is loaded, known by its unique name, pinned while it is read."""

from typing import Any

import pytest

from elanus.model.errors import AmbiguousError, CompactedError, ViewGone
from elanus.storage import keys
from tests.rules.stage import (
    Barrier,
    Stage,
    channel,
    failing,
    flush,
    insert,
    make,
    once,
    read,
    served_at_floor,
    view_version,
    wait_for,
)


def test_a_view_is_switched_to_when_its_nodes_have_loaded_it(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    of = channel(instance)
    loading = Barrier()
    stage.hooks.before_open = once(loading.hold, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    flush(instance)
    loading.wait()
    assert view_version(instance, of) == 0
    assert read(instance) == [(1, 0)]
    loading.let_go()
    served_at_floor(instance)
    assert read(instance) == [(1, 0)]


def test_a_prepare_that_fails_keeps_the_view_before(stage: Stage) -> None:
    instance = stage.open(elanus__serve__retrySeconds=0.2)
    make(instance)
    insert(instance, "a", [1])
    of = channel(instance)
    failed = Barrier()

    def fail() -> None:
        failed.let_go()
        raise OSError("a bad moment")

    stage.hooks.before_open = once(fail, lambda path: path.startswith(keys.SEGMENT_OBJECTS))
    flush(instance)
    failed.hold()
    assert view_version(instance, of) == 0
    assert read(instance) == [(1, 0)]
    served_at_floor(instance)
    assert len(instance.query_node._channels[of.id].views) == 2


def test_a_read_whose_view_is_gone_starts_again_on_the_new_one(stage: Stage) -> None:
    instance = stage.open(elanus__serve__viewGraceSeconds=0.01)
    make(instance)
    insert(instance, "a", [1])
    of, node = channel(instance), instance.query_node
    query, refused = node.query, []

    def too_late(call: Any) -> Any:
        node.query = query  # type: ignore[method-assign]
        flush(instance)
        served_at_floor(instance)
        wait_for(lambda: call.targets[0].view not in node._channels[of.id].views)
        try:
            return query(call)
        except ViewGone as error:
            refused.append(error)
            raise

    node.query = too_late  # type: ignore[method-assign]
    assert read(instance) == [(1, 0)]
    assert len(refused) == 1


def test_a_view_that_somebody_else_has_switched_is_not_overwritten(stage: Stage) -> None:
    """A zombie coordinator's switch comes in between: the view prepared for the older one is dropped."""
    instance = stage.open()
    collection = make(instance)
    insert(instance, "a", [1])
    of = channel(instance)
    key = keys.view(collection.id, of.id, 0)
    found = instance.meta.get(key)
    assert found is not None

    def switch() -> None:
        instance.meta.txn([], {key: found.value})

    bodies: list[str] = []
    stage.hooks.before_put = lambda path: bodies.append(path) if path.startswith(keys.VIEW_OBJECTS) else None
    stage.hooks.before_txn = once(switch, lambda touched: key in touched)
    flush(instance)
    served_at_floor(instance)
    assert bodies[0].rpartition("/")[2] != instance.catalog.views(collection.id)[0].name
    (pointer,) = instance.catalog.views(collection.id)
    serving = instance.query_node._channels[of.id]
    assert pointer.name in serving.views
    assert len(serving.views) == 2, "the one that lost is dropped"
    assert read(instance) == [(1, 0)]


def test_a_switch_whose_answer_was_lost_ends_on_a_view_that_is_served(stage: Stage) -> None:
    instance = stage.open()
    collection = make(instance)
    insert(instance, "a", [1])
    stage.hooks.after_txn = once(failing(AmbiguousError("lost")), touches_views)
    flush(instance)
    served_at_floor(instance)
    assert read(instance) == [(1, 0)]
    (pointer,) = instance.catalog.views(collection.id)
    wait_for(lambda: pointer.name in instance.query_node._channels[channel(instance).id].views)


def touches_views(touched: Any) -> bool:
    return any(key.startswith(keys.VIEWS) for key in touched)


def test_a_coordinator_whose_term_is_over_switches_nothing(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1])
    of = channel(instance)
    version = view_version(instance, of)
    instance.meta.txn([], {keys.coordinator("querycoord"): b"2"})
    flush(instance)
    wait_for(lambda: instance.proxy._query.failure(instance.proxy.collection("", "a").id) != "")
    assert "succeeded by another" in instance.proxy._query.failure(instance.proxy.collection("", "a").id)
    assert view_version(instance, of) == version
    assert read(instance) == [(1, 0)]


def test_an_index_that_was_dropped_is_served_no_more(stage: Stage) -> None:
    instance = stage.open(indexCoord__segment__minSegmentNumRowsToEnableIndex=1)
    collection = make(instance, load=False)
    proxy = instance.proxy
    insert(instance, "a", list(range(20)))
    flush(instance)
    of = channel(instance)

    def built() -> list[str]:
        return [i.type for i in instance.manifests.read(of).segments[0].indexes]

    for kind, params in (("HNSW", {}), ("IVF_FLAT", {"nlist": "1"})):
        proxy.drop_index("", "a", "v", "v")
        proxy.create_index("", "a", "v", "v", {"index_type": kind, "metric_type": "L2", **params})
        wait_for(lambda kind=kind: kind in built())  # type: ignore[misc]
    assert built() == ["IVF_FLAT"], "the manifest names no file of an index that is gone"
    proxy.load("", "a", [], 1, [], False)
    assert len(read(instance)) == 20
    (segment,) = instance.query_node._channels[of.id].segments.values()
    live = {i.id for i in instance.catalog.indexes(collection.id)}
    assert {f.index_id for f in segment.attached} == live


@pytest.mark.parametrize("who", ["_query", "_index"])
def test_changes_that_a_watch_has_missed_are_caught_up(stage: Stage, who: str) -> None:
    instance = stage.open()
    make(instance)
    coordinator = getattr(instance.proxy, who)
    coordinator._watch.end(CompactedError("too slow"))
    insert(instance, "a", list(range(3)))
    flush(instance)
    served_at_floor(instance)
    insert(instance, "a", [7])
    flush(instance)
    served_at_floor(instance)
    thread = coordinator._follower if who == "_query" else coordinator._thread
    assert thread.is_alive()
