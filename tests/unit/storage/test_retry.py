"""What is repeated and what never is."""

import pytest

from elanus.model.errors import (
    AmbiguousError,
    ConflictError,
    DiskFullError,
    ElanusError,
    NotFoundError,
    RetriableStorageError,
)
from elanus.storage.retry import RetryPolicy, retry


class Failing:
    def __init__(self, error: ElanusError, times: int) -> None:
        self.error, self.times, self.calls = error, times, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise self.error
        return "done"


def test_a_retriable_error_is_repeated_with_growing_waits() -> None:
    waits: list[float] = []
    call = Failing(RetriableStorageError("busy"), 6)
    assert retry(call, RetryPolicy(first=0.1, longest=0.4), sleep=waits.append) == "done"
    assert call.calls == 7
    assert len(waits) == 6
    assert all(0 <= wait <= 0.4 for wait in waits)


def test_the_deadline_ends_it_with_the_last_error() -> None:
    call = Failing(RetriableStorageError("busy"), 10**9)
    with pytest.raises(RetriableStorageError, match="busy"):
        retry(call, RetryPolicy(deadline=0.05, first=0.001, longest=0.01))
    assert call.calls > 1


@pytest.mark.parametrize("kind", [AmbiguousError, ConflictError, NotFoundError, DiskFullError])
def test_no_other_error_is_repeated(kind: type[ElanusError]) -> None:
    call = Failing(kind("no"), 1)
    with pytest.raises(kind):
        retry(call, sleep=lambda _: None)
    assert call.calls == 1
