"""Flush: the ticket's one timestamp speaks for every channel, whichever log it is in."""

from functools import partial

from elanus.storage import keys
from tests.rules.stage import SECONDS, Barrier, Stage, flush, insert, make, once, read, wait_for


def test_a_flush_over_several_logs_ends_though_the_logs_are_idle(stage: Stage) -> None:
    times = iter(range(1_700_000_000_000, 1_700_000_100_000, 1000))
    stage.hooks.clock = lambda: next(times)
    instance = stage.open(rootCoord__dmlChannelNum=3)
    make(instance, shards=3)
    insert(instance, "a", list(range(30)))
    ts = instance.proxy.flush("", ["a"])["a"].ts
    assert instance.proxy.flush_state("", "a", ts)
    assert instance.proxy.row_count("", "a") == 30
    instance = stage.reopen(rootCoord__dmlChannelNum=3)
    assert instance.proxy.flush_state("", "a", ts)


def test_rows_with_timestamps_below_the_tickets_are_sealed_when_its_state_is_asked(stage: Stage) -> None:
    """One log's clock is a second behind: its rows after the flush have timestamps below the ticket's."""
    times = iter([1_700_000_000_000, 1_700_000_001_000])
    stage.hooks.clock = lambda: next(times, 1_700_000_002_000)
    instance = stage.open(rootCoord__dmlChannelNum=2)
    collection = make(instance, shards=2)
    flush(instance)
    insert(instance, "a", list(range(30)))
    late = max(instance.tails[c.log].position.ts for c in collection.channels) + (1 << 40)
    assert not instance.proxy.flush_state("", "a", late)
    wait_for(partial(instance.proxy.flush_state, "", "a", late))
    assert sum(instance.manifests.read(c).rows for c in collection.channels) == 30


def test_a_flush_of_nothing_makes_nothing_and_the_next_rows_are_not_sealed_at_once(stage: Stage) -> None:
    instance = stage.open()
    collection = make(instance)
    flush(instance)
    insert(instance, "a", [1])
    assert read(instance) == [(1, 0)]
    (of,) = collection.channels
    assert instance._data_node._due() == []
    assert instance.manifests.read(of).segments == ()


def test_rows_are_counted_once_while_they_are_being_sealed(stage: Stage) -> None:
    instance = stage.open()
    make(instance)
    insert(instance, "a", [1, 2, 3])
    sealed = Barrier()
    stage.hooks.after_txn = once(
        sealed.hold, lambda touched: any(k.startswith(keys.MANIFESTS) for k in touched)
    )
    flushing = stage.do(flush, instance)
    sealed.wait()
    counting = stage.do(instance.proxy.row_count, "", "a")
    sealed.let_go()
    assert counting.result(SECONDS) == 3
    flushing.result(SECONDS)
    assert instance.proxy.row_count("", "a") == 3
