"""Which segments are merged."""

import pytest

from elanus.coordinators.compaction_policy import CompactionPolicy, small_runs
from elanus.model.nouns import Segment

POLICY = CompactionPolicy(
    automatic=True,
    target_bytes=1000,
    small_share=0.5,
    merge_segments=4,
    growth=2,
    dead_share=0.2,
    retention_seconds=0,
    check_seconds=1,
    jobs=1,
    attempts=1,
    retry_seconds=1,
    remembered=1,
)


def segment(number: int, size: int) -> Segment:
    return Segment(
        name=f"{number}", prefix="", rows=1, bytes=size, min_ts=0, max_ts=0, partitions=(), schema_version=1
    )


def sizes(*given: int) -> list[list[int]]:
    return [
        [s.bytes for s in run] for run in small_runs([segment(i, n) for i, n in enumerate(given)], POLICY)
    ]


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ((16, 16, 16, 16), [[16, 16, 16, 16]]),
        ((16, 16, 16), []),
        # What a last flush left does not keep those before it from a merge.
        ((16, 1, 16, 16, 16), [[1, 16, 16, 16, 16]]),
        ((400, 16, 16, 16, 16), [[16, 16, 16, 16]]),
        ((100, 16, 16, 16, 16), [[16, 16, 16, 16, 100]]),
        ((500, 500, 500, 500), []),
        ((300,) * 8, []),
        ((200,) * 10, [[200] * 5, [200] * 5]),
    ],
)
def test_small_segments_of_similar_size_are_merged(given: tuple[int, ...], merged: list[list[int]]) -> None:
    assert sizes(*given) == merged
