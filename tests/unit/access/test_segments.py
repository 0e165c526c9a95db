"""Compaction and segments as clients ask for them, on a real instance behind a real channel."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elanus.access.protocol import messages
from elanus.runtime.standalone import Instance
from tests.rules.stage import flush, insert, make

MERGED = 3
"""`common.CompactionTaskState` Completed."""
COMPLETED = 2
"""`common.CompactionState`."""
SEALED, FLUSHED = 3, 4
"""`common.SegmentState`."""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    opened = Instance.open(
        tmp_path / "data",
        elanus__flush__checkSeconds=0.02,
        dataCoord__compaction__enableAutoCompaction=False,
    )
    yield opened
    opened.stop()


class Context:
    def invocation_metadata(self) -> Any:
        return ()

    def time_remaining(self) -> float | None:
        return 30

    def is_active(self) -> bool:
        return True

    def abort(self, code: Any, details: str) -> Any:
        raise AssertionError(f"{code}: {details}")


def ask(instance: Instance, name: str, **fields: Any) -> Any:
    full = next(n for n in messages.methods() if n.endswith(f"/{name}"))
    method = messages.methods()[full]
    request = messages.message(method.input_type.full_name)(**fields)
    answer = instance.handlers[full].unary_unary(request.SerializeToString(), Context())
    return messages.message(method.output_type.full_name).FromString(answer)


def wait(instance: Instance, compaction_id: int) -> Any:
    until = time.monotonic() + 20
    while True:
        state = ask(instance, "GetCompactionState", compactionID=compaction_id)
        if state.state == COMPLETED:
            return state
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_compaction_names_every_segment_it_took_and_what_it_made(instance: Instance) -> None:
    make(instance)
    for key in (1, 2, 3):
        insert(instance, "a", [key])
        flush(instance)
    before = ask(instance, "GetPersistentSegmentInfo", collectionName="a").infos
    assert len(before) == 3
    assert all(s.is_sorted and s.state == FLUSHED and s.num_rows == 1 for s in before)
    started = ask(instance, "ManualCompaction", collection_name="a", target_size=(1 << 63) // (1 << 20) - 1)
    assert started.compactionID > 0
    assert started.compactionPlanCount == 1
    assert wait(instance, started.compactionID).completedPlanNo == 1
    plans = ask(instance, "GetCompactionStateWithPlans", compactionID=started.compactionID)
    (plan,) = plans.mergeInfos
    assert set(plan.sources) == {s.segmentID for s in before}
    assert (plan.state, plan.trigger_id) == (MERGED, started.compactionID)
    (after,) = ask(instance, "GetPersistentSegmentInfo", collectionName="a").infos
    assert after.segmentID == plan.target
    assert after.num_rows == 3
    of_collection = ask(instance, "GetCompactionStateWithPlans", collection_name="a")
    assert list(of_collection.mergeInfos) == [plan]


def test_a_segment_that_is_alone_is_a_plan_that_is_done(instance: Instance) -> None:
    """Clients count every flushed segment among the sources; building its index again would help nobody."""
    make(instance)
    insert(instance, "a", [1])
    flush(instance)
    (before,) = ask(instance, "GetPersistentSegmentInfo", collectionName="a").infos
    started = ask(instance, "ManualCompaction", collection_name="a", target_size=1024)
    wait(instance, started.compactionID)
    (plan,) = ask(instance, "GetCompactionStateWithPlans", compactionID=started.compactionID).mergeInfos
    assert list(plan.sources) == list(plan.targets) == [before.segmentID]
    assert list(ask(instance, "GetPersistentSegmentInfo", collectionName="a").infos) == [before]


def test_served_segments_are_those_of_the_view(instance: Instance) -> None:
    make(instance)
    insert(instance, "a", [1, 2])
    flush(instance)
    until = time.monotonic() + 20
    infos: list[Any] = []
    while not infos:
        assert time.monotonic() < until
        time.sleep(0.01)
        found = ask(instance, "GetQuerySegmentInfo", collectionName="a").infos
        infos = [s for s in found if s.state == SEALED]
    assert [(s.num_rows, list(s.nodeIds)) for s in infos] == [(2, [1])]


def test_a_compaction_that_nobody_remembers_is_not_under_way(instance: Instance) -> None:
    assert ask(instance, "GetCompactionState", compactionID=12345).state == COMPLETED


def test_what_cannot_be_compacted_is_refused(instance: Instance) -> None:
    assert ask(instance, "ManualCompaction", collection_name="nothing").status.code == 100
    make(instance)
    refused = ask(instance, "ManualCompaction", collection_name="a", majorCompaction=True)
    assert "clustering" in refused.status.reason
