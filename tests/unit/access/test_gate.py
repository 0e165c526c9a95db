"""The write gate."""

import threading

import pytest

from elanus.access.gate import WriteGate
from elanus.model.errors import DeadlineExceeded

SECONDS = 20


def test_a_drain_without_writes_ends_at_once() -> None:
    WriteGate().drain(0)


def test_a_drain_waits_for_the_writes_before_it_and_for_no_later_ones() -> None:
    gate, drained = WriteGate(), threading.Event()

    def drain() -> None:
        gate.drain(SECONDS)
        drained.set()

    draining = threading.Thread(target=drain)
    with gate.write():
        draining.start()
        assert not drained.wait(0.02)
        later = gate.write()
        while gate._generation == 0:
            pass
        later.__enter__()
    assert drained.wait(SECONDS), "the later write is still under way"
    later.__exit__(None, None, None)
    draining.join()


def test_a_write_that_fails_has_ended() -> None:
    gate = WriteGate()
    with pytest.raises(ZeroDivisionError), gate.write():
        _ = 1 / 0
    gate.drain(0)


def test_a_drain_that_takes_too_long_says_so_and_the_next_waits_for_the_same_writes() -> None:
    gate = WriteGate()
    with gate.write():
        for _ in range(2):
            with pytest.raises(DeadlineExceeded, match=r"did not end in 0\.01 s"):
                gate.drain(0.01)
    gate.drain(0)


def test_many_drains_and_writes_at_once_all_end() -> None:
    gate, under_way, seen = WriteGate(), set[int](), []
    lock = threading.Lock()

    def write(number: int) -> None:
        for i in range(50):
            with gate.write():
                with lock:
                    under_way.add(number * 100 + i)
                with lock:
                    under_way.discard(number * 100 + i)

    def drain() -> None:
        for _ in range(30):
            with lock:
                before = set(under_way)
            gate.drain(SECONDS)
            with lock:
                seen.append(before & under_way)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(seen)
    assert sum(gate._under_way.values()) == 0
