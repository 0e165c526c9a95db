"""Rule 15: control, read and write calls do not wait for each other, and nothing for its own pool."""

from collections.abc import Iterator

import pytest

from elanus.access.service.executors import Executors, Lane
from elanus.model.records import Kind
from tests.rules.stage import MOMENT, SECONDS, Barrier, Stage, delete, flush, insert, make, once, read, upsert


@pytest.fixture
def executors() -> Iterator[Executors]:
    made = Executors(control=1, read=1, write=1)
    yield made
    made.close()


ONE_OF_EACH = {
    "elanus__flush__threads": 1,
    "elanus__build__builds": 1,
    "elanus__serve__loadThreads": 1,
    "indexCoord__segment__minSegmentNumRowsToEnableIndex": 1,
}


def test_one_thread_of_each_kind_is_enough_for_everything(stage: Stage, executors: Executors) -> None:
    instance = stage.open(rootCoord__dmlChannelNum=2, **ONE_OF_EACH)

    def run(lane: Lane, call: object, *arguments: object) -> object:
        return executors.of(lane).submit(call, *arguments).result(SECONDS)  # type: ignore[arg-type]

    for name in "ab":
        run(Lane.CONTROL, make, instance, name, 3)
        run(Lane.WRITE, insert, instance, name, list(range(30)))
        run(Lane.WRITE, upsert, instance, name, list(range(10)), 1)
    run(Lane.CONTROL, flush, instance, "a", "b")
    run(Lane.WRITE, delete, instance, "a", "tag == 1")
    assert len(run(Lane.READ, read, instance, "a")) == 20  # type: ignore[arg-type]
    run(Lane.CONTROL, instance.proxy.release, "", "a", [])
    run(Lane.CONTROL, instance.proxy.load, "", "a", [], 1, [], False)
    assert len(run(Lane.READ, read, instance, "a")) == 20  # type: ignore[arg-type]
    for name in "ab":
        run(Lane.CONTROL, instance.proxy.drop_collection, "", name)


def test_reads_go_on_while_a_ddl_waits_for_a_write(stage: Stage, executors: Executors) -> None:
    instance = stage.open(**ONE_OF_EACH)
    make(instance)
    make(instance, "b")
    insert(instance, "a", [1])
    writing = Barrier()
    stage.hooks.before_append = once(writing.hold, lambda headers: headers[0].kind is Kind.INSERT)
    write = executors.of(Lane.WRITE).submit(insert, instance, "b", [1])
    writing.wait()
    drop = executors.of(Lane.CONTROL).submit(instance.proxy.drop_collection, "", "b")
    with pytest.raises(TimeoutError):
        drop.result(MOMENT)
    assert executors.of(Lane.READ).submit(read, instance, "a").result(SECONDS) == [(1, 0)]
    assert not drop.done()
    writing.let_go()
    write.result(SECONDS)
    drop.result(SECONDS)


def test_every_lane_has_threads_of_its_own() -> None:
    executors = Executors(control=1, read=1, write=1)
    assert len({id(executors.of(lane)) for lane in Lane}) == len(Lane)
    executors.close()
