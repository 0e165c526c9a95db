"""Numbers that are given out once."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from elanus.model.errors import AmbiguousError, RetriableStorageError
from elanus.storage import sequence
from elanus.storage.meta import Absent, Compare, Lease
from elanus.storage.meta.port import TxnResult
from elanus.storage.meta.sqlite import SqliteMetaStore


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[SqliteMetaStore]:
    opened = SqliteMetaStore(tmp_path / "meta")
    yield opened
    opened.close()


def test_numbers_are_consecutive_from_the_first_on(meta: SqliteMetaStore) -> None:
    ids = sequence.Sequence(meta, "id", step=10, first=5)
    assert [ids.take(), ids.take(3), ids.take()] == [5, 6, 9]


def test_a_request_beyond_the_rest_of_the_range_gets_a_range_of_its_own(meta: SqliteMetaStore) -> None:
    ids = sequence.Sequence(meta, "id", step=10)
    assert ids.take(8) == 1
    assert ids.take(5) == 11, "consecutive, so what was left is skipped"
    assert ids.take(1000) == 21


def test_no_number_is_given_out_twice_by_threads_processes_and_restarts(meta: SqliteMetaStore) -> None:
    sequences = [sequence.Sequence(meta, "id", step=7) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        firsts = list(pool.map(lambda i: (sequences[i % 3].take(1 + i % 4), 1 + i % 4), range(200)))
    given = [n for first, count in firsts for n in range(first, first + count)]
    assert len(given) == len(set(given))
    assert sequence.Sequence(meta, "id", step=7).take() > max(given)


def test_sequences_of_different_names_know_nothing_of_each_other(meta: SqliteMetaStore) -> None:
    assert sequence.Sequence(meta, "a", step=1).take() == sequence.Sequence(meta, "b", step=1).take() == 1


def test_a_first_number_below_what_was_given_out_changes_nothing(meta: SqliteMetaStore) -> None:
    taken = sequence.Sequence(meta, "id", step=10, first=100).take()
    assert sequence.Sequence(meta, "id", step=10, first=1).take() > taken


class Unlucky(SqliteMetaStore):
    """Every transaction loses its race, or its answer."""

    answer: Exception | None = None

    def txn(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
        lease: Lease | None = None,
    ) -> TxnResult:
        if self.answer is None:
            return TxnResult(False, 0)
        answer, self.answer = self.answer, None
        super().txn(compares, puts, deletes, lease)
        raise answer


def test_a_sequence_that_loses_every_race_says_so(tmp_path: Path) -> None:
    ids = sequence.Sequence(Unlucky(tmp_path / "meta"), "id", step=1, attempts=3)
    with pytest.raises(RetriableStorageError, match="sequence/id is contended: 3 attempts"):
        ids.take()


def test_a_range_whose_lease_was_not_answered_is_skipped(tmp_path: Path, meta: SqliteMetaStore) -> None:
    unlucky = Unlucky(tmp_path / "other")
    unlucky.answer = AmbiguousError("lost")
    ids = sequence.Sequence(unlucky, "id", step=10)
    with pytest.raises(AmbiguousError):
        ids.take()
    unlucky.txn = lambda *a, **k: SqliteMetaStore.txn(unlucky, *a, **k)  # type: ignore[method-assign]
    assert ids.take() == 11
