"""An instance is open while a lease on its directory is held, and only in the process that opened it."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.lite.channel import InProcessChannel
from elanus.lite.connection import Connection
from elanus.lite.context import InProcessError
from elanus.lite.embedded import Embedded, Setting, resolve
from elanus.lite.target import path_of, target_of
from elanus.model.errors import DirectoryInUseError, InvalidParameter, NotReady
from tests.unit.lite.tables import SERVICE, Gate, serve

HERE = Path("/data/here")


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


def test_a_directory_opens_with_the_first_lease_and_closes_with_the_last() -> None:
    embedded, directories = serve(Query=echo)
    first, second = embedded.acquire(HERE), embedded.acquire(HERE)
    assert first.dispatcher is second.dispatcher
    first.release()
    first.release()
    assert (directories.opened, directories.stopped) == (1, 0)
    second.release()
    assert (directories.opened, directories.stopped) == (1, 1)
    embedded.acquire(HERE).release()
    assert (directories.opened, directories.stopped) == (2, 2)


def test_threads_that_ask_at_once_share_one_instance() -> None:
    embedded, directories = serve(Query=echo)
    together = threading.Barrier(8)

    def use() -> None:
        together.wait(10)
        for _ in range(50):
            lease = embedded.acquire(HERE)
            assert directories.opened - directories.stopped == 1
            lease.release()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert directories.opened == directories.stopped >= 1


def test_an_opening_that_fails_leaves_nothing_behind() -> None:
    attempts: list[Path] = []

    def refuse(path: Path, settings: object) -> Any:
        attempts.append(path)
        raise DirectoryInUseError(f"{path} is open in process 4711")

    embedded = Embedded(refuse)
    for _ in range(2):
        with pytest.raises(DirectoryInUseError, match="4711"):
            embedded.acquire(HERE)
    assert len(attempts) == 2
    embedded.close_all()


def test_settings_are_those_of_the_opening_and_cannot_change_while_it_lasts() -> None:
    embedded, directories = serve(Query=echo)
    embedded.configure(HERE, {"segment_rows": 10})
    lease = embedded.acquire(HERE)
    embedded.configure(HERE, {"segment_rows": 10})
    embedded.configure(HERE, {})
    with pytest.raises(InvalidParameter, match=r"segment_rows.*10.*20"):
        embedded.configure(HERE, {"segment_rows": 20})
    lease.release()
    embedded.configure(HERE, {"segment_rows": 20})
    embedded.acquire(HERE).release()
    assert directories.settings == [{"segment_rows": 10}, {"segment_rows": 20}]


def test_closing_lets_calls_that_run_finish_and_refuses_new_ones() -> None:
    gate = Gate()
    embedded, directories = serve(Insert=gate)
    channel = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    insert = channel.unary_unary(SERVICE + "Insert")
    call = insert.future(b"rows")
    assert gate.entered.wait(5)
    closing = threading.Thread(target=embedded.close_all)
    closing.start()
    time.sleep(0.05)
    assert directories.stopped == 0
    with pytest.raises(InProcessError, match=r"/data/here is closed") as caught:
        insert(b"more")
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    gate.go.set()
    closing.join(10)
    assert call.result(5) == b"rows"
    assert directories.stopped == 1
    channel.close()
    assert directories.stopped == 1


def test_nothing_opens_once_the_process_is_exiting() -> None:
    embedded, directories = serve(Query=echo)
    embedded.acquire(HERE)
    embedded.shut_down()
    assert directories.stopped == 1
    with pytest.raises(NotReady, match="exiting"):
        embedded.acquire(HERE)


def soon(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + 10
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def test_a_channel_that_is_forgotten_unclosed_gives_its_lease_back() -> None:
    embedded, directories = serve(Query=echo)
    channel = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    kept = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    query = channel.unary_unary(SERVICE + "Query")
    del channel
    gc.collect()
    assert query(b"x") == b"x"  # a callable keeps what it needs
    del query
    gc.collect()
    kept.close()
    assert soon(lambda: directories.stopped == 1)


def test_the_last_channel_forgotten_closes_the_instance() -> None:
    embedded, directories = serve(Query=echo)
    channel = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    del channel
    gc.collect()
    assert soon(lambda: directories.stopped == 1)


def in_child(check: Any) -> int:
    """Exit status of a forked child: 0 if `check` returns true there."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if check() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_child_neither_uses_nor_closes_what_its_parent_opened() -> None:
    embedded, directories = serve(Query=echo)
    channel = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    query = channel.unary_unary(SERVICE + "Query")

    def child() -> bool:
        try:
            query(b"x")
        except InProcessError as error:
            refused = error.code() is grpc.StatusCode.UNAVAILABLE and str(os.getppid()) in error.details()
        channel.close()
        embedded.close_all()
        left_alone = directories.stopped == 0
        embedded.acquire(HERE)
        return refused and left_alone and directories.opened == 2

    assert in_child(child) == 0
    assert query(b"x") == b"x"
    channel.close()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), st.booleans())
def test_an_address_names_its_directory_and_pymilvus_lets_it_through(name: str, numbered: bool) -> None:
    path = Path("/") / name
    target = target_of(path, 3 if numbered else None)
    assert path_of(target) == path
    assert target.startswith("unix:/")
    assert target.isascii()
    assert not target.endswith(".db")


@pytest.mark.parametrize("word", ["global-cluster", "Global-Cluster"])
def test_a_directory_named_like_a_cloud_service_is_not_taken_for_one(word: str) -> None:
    path = Path("/srv") / f"my-{word}.db"
    assert "global-cluster" not in target_of(path).lower()
    assert path_of(target_of(path)) == path


@pytest.mark.parametrize(
    "target", ["unix:/run/milvus.sock", "localhost:19530", "unix:x#elanus", "/a#elanus", ""]
)
def test_other_addresses_are_left_alone(target: str) -> None:
    assert path_of(target) is None


def test_two_spellings_of_a_path_are_one_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "demo")
    assert (
        resolve("demo") == resolve("./x/../demo") == resolve(tmp_path / "link") == tmp_path.resolve() / "demo"
    )


def interrupted_once(event: threading.Event, action: Callable[[], object]) -> None:
    """Do `action`; Ctrl-C comes while it lasts, once `event` has happened."""

    def send() -> None:
        if event.wait(10):
            time.sleep(0.1)  # until the main thread waits
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    action()


def test_ctrl_c_while_a_directory_opens_leaves_it_closed() -> None:
    gate = Gate()
    _, directories = serve(Query=echo)

    def open_slowly(path: Path, settings: dict[str, Setting]) -> Any:
        gate(b"", None)
        return directories.open(path, settings)

    slow = Embedded(open_slowly)
    with pytest.raises(KeyboardInterrupt):
        interrupted_once(gate.entered, lambda: slow.acquire(HERE))
    gate.go.set()
    assert soon(lambda: (directories.opened, directories.stopped) == (1, 1))
    slow.acquire(HERE).release()
    assert (directories.opened, directories.stopped) == (2, 2)


def test_ctrl_c_while_a_directory_closes_does_not_keep_it_from_closing() -> None:
    gate = Gate()
    embedded, directories = serve(Insert=gate)
    lease = embedded.acquire(HERE)
    call = InProcessChannel(Connection(lambda: embedded.acquire(HERE)))
    call.unary_unary(SERVICE + "Insert").future(b"rows")
    assert gate.entered.wait(5)
    lease.release()
    with pytest.raises(KeyboardInterrupt):
        interrupted_once(gate.entered, call.close)
    assert directories.stopped == 0
    gate.go.set()
    assert soon(lambda: directories.stopped == 1)
