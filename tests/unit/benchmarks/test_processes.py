"""Process trees, their memory, and the systems' host processes: with a system made for the test."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import memory, session, systems
from benchmarks.model import Unsupported
from benchmarks.session import Session, SystemFailed

CHILD = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"

SAMPLE = """
import os, subprocess, time
from benchmarks.model import Unsupported

class Sample:
    name, title, package = "sample", "Sample", "sample"
    requirements = server_requirements = ()
    in_process = {in_process}

    def open(self, folder, server):
        (folder / "starts").open("a").write("x")
        self.server = None if self.in_process else subprocess.Popen(["sleep", "60"], start_new_session=True)
        self.client = subprocess.Popen(["sleep", "60"])
        return 0.5

    def use(self, collection):
        self.collection = collection

    def pid(self):
        return os.getpid()

    def fail(self):
        raise ValueError("on purpose")

    def sleep(self):
        time.sleep(60)

    def refuse(self):
        raise Unsupported("filters")

    def kill(self):
        self.close()

    def close(self):
        for process in (self.server, self.client):
            if process:
                process.kill()
                process.wait()
"""


@pytest.fixture(params=[True, False], ids=["library", "server"])
def sample(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Registers the system `sample`; whether it lives in its host."""
    code = SAMPLE.format(in_process=request.param)
    package = tmp_path / "modules"
    package.mkdir()
    (package / "sample_system.py").write_text(code)
    # The host is another process: it finds the module on its path and the name in its own registry.
    (package / "sitecustomize.py").write_text(
        "import benchmarks.systems as s, sys\n"
        "s.system_class = lambda name: __import__('sample_system').Sample\n"
    )
    module = ModuleType("sample_system")
    exec(code, module.__dict__)
    monkeypatch.setattr(session, "system_class", lambda name: module.Sample)
    monkeypatch.setattr(session, "PYTHON_PATH", f"{session.PYTHON_PATH}:{package}")
    return bool(request.param)


def test_a_call_runs_in_the_host_and_its_errors_come_back(sample: bool, tmp_path: Path) -> None:
    with Session("sample", tmp_path) as opened:
        assert opened.open() == 0.5
        assert opened.system.pid() != os.getpid()  # type: ignore[attr-defined]  # of the sample only
        with pytest.raises(Unsupported, match="filters"):
            opened.system.refuse()  # type: ignore[attr-defined]  # of the sample only
        with pytest.raises(SystemFailed, match=r"ValueError: on purpose; its log: .*host\.log"):
            opened.system.fail()  # type: ignore[attr-defined]  # of the sample only
        opened.failed = False
    assert not opened.folder.exists()


def test_the_roots_are_the_system_without_its_clients(sample: bool, tmp_path: Path) -> None:
    with Session("sample", tmp_path) as opened:
        opened.open()
        roots = opened.roots()
        host = opened.system.pid()  # type: ignore[attr-defined]  # of the sample only
        assert len(roots) == 1
        assert (roots[0] == host) is sample
        assert memory.tree_bytes(roots) > 0


def test_after_a_crash_it_starts_on_the_same_folder(sample: bool, tmp_path: Path) -> None:
    with Session("sample", tmp_path) as opened:
        opened.open()
        before = opened.roots()
        killed = opened.crash()
        assert killed.answered >= 0
        assert opened.roots() != before
        assert (opened.folder / "starts").read_text() == "xx"


def test_a_clean_restart_finds_an_empty_folder(sample: bool, tmp_path: Path) -> None:
    with Session("sample", tmp_path) as opened:
        opened.open()
        opened.restart_clean()
        assert (opened.folder / "starts").read_text() == "x"


def test_nothing_outlives_a_harness_that_is_killed(sample: bool, tmp_path: Path) -> None:
    with Session("sample", tmp_path) as opened:
        opened.open()
        tree = memory.tree([opened._host.pid])
        opened._remote.close()
        assert await_end(tree[:1])
        assert not any(map(alive, tree))


def test_an_interrupt_in_the_middle_of_a_call_ends_everything_at_once(sample: bool, tmp_path: Path) -> None:
    begun = time.monotonic()
    tree: list[int] = []

    def interrupted() -> None:
        with Session("sample", tmp_path) as opened:
            opened.open()
            tree.extend(memory.tree([opened._host.pid]))
            # As if the answer were awaited: the host is busy for a minute.
            opened._remote._connection.send(("sleep", ()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(tree) >= 2
    assert await_end(tree)
    assert time.monotonic() - begun < 30


def test_a_tree_has_grandchildren_and_a_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", CHILD])
    try:
        deadline = time.monotonic() + 20
        while len(memory.tree([process.pid])) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        tree = memory.tree([process.pid])
        assert tree[0] == process.pid
        assert len(tree) == 2
        assert memory.tree_bytes([process.pid]) > memory.pss_bytes(tree[1]) > 0
    finally:
        for pid in memory.tree([process.pid]):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def test_the_peak_is_the_most_that_was_seen() -> None:
    with memory.PeakMemory(lambda: [os.getpid()], interval=0.01) as peak:
        block = bytearray(64 << 20)
        block[::4096] = b"x" * len(block[::4096])
        time.sleep(0.3)
        del block
        time.sleep(0.05)
        after = memory.pss_bytes(os.getpid())
    assert peak.peak > after + (32 << 20)


def test_a_process_that_has_ended_takes_no_memory() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert memory.pss_bytes(process.pid) == 0


@pytest.mark.parametrize("name", systems.SYSTEMS)
def test_every_system_can_be_looked_at_without_its_library(name: str) -> None:
    kind = systems.system_class(name)
    assert kind.name == name
    assert all("==" in requirement for requirement in kind.requirements + kind.server_requirements)
    assert not getattr(kind, "__abstractmethods__", None)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def await_end(pids: list[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
