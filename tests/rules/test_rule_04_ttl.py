"""Rule 4: rows outlive their time by the proxy's clock, fixed for each request; compaction takes them."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.access import reads
from elanus.access import requests as q
from elanus.coordinators import compaction
from elanus.model.nouns import EXPIRY_STEP_MS, Collection
from elanus.model.properties import TTL_SECONDS
from elanus.model.timestamps import to_ms
from elanus.runtime.standalone import Instance
from tests.rules.stage import SCHEMA, Stage, channel, count, flush, insert, read, wait_for
from tests.rules.test_rule_03_iterators import page
from tests.rules.test_rule_06_compaction import AT_ONCE, UNASKED, compact

TTL = 1000


class Clock:
    """The time of a module, moved on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(reads, "time", made)
    monkeypatch.setattr(compaction, "time", made)
    return made


def make(instance: Instance) -> None:
    proxy = instance.proxy
    proxy.create_collection(
        q.CreateCollection(database="", name="a", schema=SCHEMA, shards=1, properties={TTL_SECONDS: str(TTL)})
    )
    proxy.create_index("", "a", "v", "v", {"index_type": "FLAT", "metric_type": "L2"})
    proxy.load("", "a", [], 1, [], False)


def test_rows_whose_time_is_over_are_seen_by_no_read(stage: Stage, clock: Clock) -> None:
    instance = stage.open(**UNASKED)
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    insert(instance, "a", [2])
    assert read(instance) == [(1, 0), (2, 0)]
    clock.ahead = TTL - 60
    assert count(instance) == 2
    clock.ahead = TTL + 60
    assert read(instance) == []
    assert count(instance) == 0
    assert page(instance)[0] == []
    clock.ahead = 0
    assert len(page(instance)[0]) == 2
    assert count(instance) == 2, "it is the proxy's clock that counts"


@given(ttl=st.integers(1, 10**6), now=st.integers(10**12, 10**13), later=st.integers(0, 3 * EXPIRY_STEP_MS))
def test_what_expires_moves_on_in_steps_and_never_too_early(ttl: int, now: int, later: int) -> None:
    collection = Collection(
        id=1,
        database_id=1,
        name="a",
        schema=SCHEMA,
        channels=(),
        partitions=(),
        properties={TTL_SECONDS: str(ttl)},
    )
    below = to_ms(collection.expired_below(now))
    assert 0 <= now - ttl * 1000 + 1 - below < EXPIRY_STEP_MS, "a row lives out its time, hardly longer"
    assert (to_ms(collection.expired_below(now + later)) - below) % EXPIRY_STEP_MS == 0


def test_a_segment_of_which_some_rows_have_outlived_their_time_shows_the_others(
    stage: Stage, clock: Clock
) -> None:
    skew = [0]
    stage.hooks.clock = lambda: int(time.time() * 1000) + skew[0]
    instance = stage.open(**UNASKED)
    make(instance)
    insert(instance, "a", [1])
    skew[0] = 500_000
    insert(instance, "a", [2])
    clock.ahead = TTL + 60
    assert read(instance) == [(2, 0)]
    flush(instance)
    assert [s.rows for s in instance.manifests.read(channel(instance)).segments] == [2]
    of = instance.proxy.collection("", "a")
    wait_for(lambda: any(not s.segment.growing for s in instance.proxy.topology.served(of)))
    assert read(instance) == [(2, 0)]
    assert count(instance) == 1
    clock.ahead = 0
    assert read(instance) == [(1, 0), (2, 0)]


def test_compaction_takes_rows_that_no_read_can_see_any_more(stage: Stage, clock: Clock) -> None:
    skew = [0]
    stage.hooks.clock = lambda: int(time.time() * 1000) + skew[0]
    instance = stage.open(**UNASKED, **AT_ONCE)
    make(instance)
    insert(instance, "a", [1])
    skew[0] = 500_000
    insert(instance, "a", [2])
    flush(instance)
    compact(instance)
    assert [s.rows for s in instance.manifests.read(channel(instance)).segments] == [2]
    clock.ahead = TTL + 200
    instance.compaction.look()
    wait_for(lambda: [s.rows for s in instance.manifests.read(channel(instance)).segments] == [1])
    assert read(instance) == [(2, 0)]
    clock.ahead = 500 + TTL + 60
    compact(instance)
    assert instance.manifests.read(channel(instance)).segments == ()


def test_rows_are_kept_for_reads_that_began_while_they_lived(stage: Stage, clock: Clock) -> None:
    instance = stage.open(**UNASKED, elanus__compaction__retentionSeconds=300)
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    clock.ahead = TTL + 200
    compact(instance)
    assert count(instance) == 0
    assert [s.rows for s in instance.manifests.read(channel(instance)).segments] == [1]
