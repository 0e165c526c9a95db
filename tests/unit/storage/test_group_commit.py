"""Group commit under errors, weights and interrupts."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from elanus.model.errors import AmbiguousError, StorageError
from elanus.storage.group_commit import GroupCommit


def test_every_caller_gets_its_own_outcome_and_groups_keep_their_weight() -> None:
    groups: list[list[int]] = []

    def commit(requests: list[int]) -> list[int]:
        groups.append(requests)
        time.sleep(0.001)
        return [request * 2 for request in requests]

    group: GroupCommit[int, int] = GroupCommit(commit, weight_limit=10)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda n: group.submit(n, weight=1 + n % 20), range(300)))
    assert results == [n * 2 for n in range(300)]
    assert sorted(n for requests in groups for n in requests) == list(range(300))
    assert all(len(g) == 1 or sum(1 + n % 20 for n in g) <= 10 for g in groups)
    group.drain()


def test_an_error_reaches_every_caller_of_the_group_and_no_other() -> None:
    def commit(requests: list[int]) -> list[int]:
        time.sleep(0.001)
        if 13 in requests:
            raise StorageError("unlucky")
        return requests

    group: GroupCommit[int, int] = GroupCommit(commit, weight_limit=4)
    failed: list[tuple[int, str]] = []

    def submit(n: int) -> None:
        try:
            assert group.submit(n) == n
        except StorageError as error:
            failed.append((n, error.message))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(submit, range(40)))
    assert (13, "unlucky") in failed
    assert {message for _, message in failed} == {"unlucky"}
    assert len(failed) <= 4
    assert group.submit(1) == 1


def test_an_interrupt_of_the_one_that_writes_leaves_nobody_waiting() -> None:
    entered = threading.Event()

    def commit(requests: list[str]) -> list[str]:
        entered.set()
        if "main" in requests:
            time.sleep(30)
        return requests

    group: GroupCommit[str, str] = GroupCommit(commit, weight_limit=100)
    errors: list[Exception | str] = []

    def submit() -> None:
        entered.wait(10)
        try:
            errors.append(group.submit("other"))
        except AmbiguousError as error:
            errors.append(error)

    def interrupt() -> None:
        entered.wait(10)
        time.sleep(0.2)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threads = [threading.Thread(target=submit), threading.Thread(target=interrupt)]
    for thread in threads:
        thread.start()
    with pytest.raises(KeyboardInterrupt):
        group.submit("main")
    for thread in threads:
        thread.join(10)
    assert errors == ["other"]
    assert group.submit("later") == "later"


def test_an_interrupt_of_one_that_waits_leaves_the_others_a_leader() -> None:
    release, entered = threading.Event(), threading.Event()

    def commit(requests: list[str]) -> list[str]:
        entered.set()
        if requests == ["slow"]:
            release.wait(10)
        return requests

    group: GroupCommit[str, str] = GroupCommit(commit, weight_limit=1)
    results: list[str] = []
    slow = threading.Thread(target=lambda: results.append(group.submit("slow")))
    slow.start()
    entered.wait(10)

    def follow() -> None:
        time.sleep(0.1)
        results.append(group.submit("behind"))

    behind = threading.Thread(target=follow)
    behind.start()

    def interrupt() -> None:
        time.sleep(0.3)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        group.submit("main")
    release.set()
    slow.join(10)
    behind.join(10)
    assert results == ["slow", "behind"]
