"""Election and fencing of coordinators."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from elanus.coordinators.term import Term
from elanus.model.errors import NotReady
from elanus.storage import keys
from elanus.storage.meta import Absent
from elanus.storage.meta.sqlite import SqliteMetaStore

SECONDS = 20


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[SqliteMetaStore]:
    opened = SqliteMetaStore(tmp_path / "meta")
    yield opened
    opened.close()


def begin(meta: SqliteMetaStore, role: str, node: int, stop: threading.Event | None = None) -> Term:
    return Term.begin(meta, role, node, ttl_seconds=0.02, stop=stop or threading.Event())


def test_a_second_coordinator_of_a_role_waits_for_the_end_of_the_first_ones_term(
    meta: SqliteMetaStore,
) -> None:
    first = begin(meta, "root", 1)
    begin(meta, "data", 1)
    second: list[Term] = []
    waiting = threading.Thread(target=lambda: second.append(begin(meta, "root", 2)))
    waiting.start()
    waiting.join(0.05)
    assert not second
    first.end()
    waiting.join(SECONDS)
    assert second[0].active
    assert not first.active


def test_a_coordinator_that_is_told_to_stop_waits_no_longer(meta: SqliteMetaStore) -> None:
    begin(meta, "root", 1)
    stop = threading.Event()
    stop.set()
    with pytest.raises(NotReady, match="root is stopping"):
        begin(meta, "root", 2, stop)


def test_a_transaction_of_a_term_compares_what_it_is_told_to(meta: SqliteMetaStore) -> None:
    term = begin(meta, "root", 1)
    assert term.txn([Absent("a")], {"a": b"1"}) is not None
    assert term.txn([Absent("a")], {"a": b"2"}) is None
    found = meta.get("a")
    assert found is not None
    assert found.value == b"1"


def test_nothing_is_changed_after_the_term(meta: SqliteMetaStore) -> None:
    first = begin(meta, "root", 1)
    first.end()
    with pytest.raises(NotReady, match="succeeded by another"):
        first.txn([], {"a": b"1"})
    begin(meta, "root", 2)
    with pytest.raises(NotReady, match="succeeded by another"):
        first.txn([], {"a": b"1"})
    assert meta.get("a") is None


def test_the_same_node_elected_again_is_another_term(meta: SqliteMetaStore) -> None:
    first = begin(meta, "root", 1)
    meta.txn([], {}, [keys.coordinator("root")])
    again = begin(meta, "root", 1)
    with pytest.raises(NotReady):
        first.txn([], {"a": b"1"})
    assert again.txn([], {"a": b"1"}) is not None
