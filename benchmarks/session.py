"""One system under test from the harness' side: its folder, its processes, its calls."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from benchmarks import ROOT
from benchmarks.environments import interpreter
from benchmarks.memory import children, group_of
from benchmarks.model import Collection, Unsupported
from benchmarks.system import System
from benchmarks.systems import system_class

END_SECONDS = 60.0
PYTHON_PATH = str(ROOT)


class SystemFailed(Exception):
    """A call to a system failed; the message has its reason and where its log is."""


@dataclass(frozen=True)
class Killed:
    """`started`: the time (perf_counter) of the start after the kill; `answered`: seconds from then to the
    first answered call."""

    started: float
    answered: float


class Session:
    """A context manager: on leaving, the system is ended and its folder is gone, unless a call failed."""

    def __init__(self, name: str, within: Path | None = None) -> None:
        self.kind = system_class(name)
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=within))
        self.server = interpreter(self.kind.server_requirements)
        self.python = interpreter(self.kind.requirements)
        self.failed = False
        self.collection: Collection | None = None
        self.ef = 0
        self._spawn()

    @property
    def system(self) -> System:
        """The system itself, as it seems: calls go to its host process."""
        return cast(System, self._remote)

    def open(self) -> float:
        """Seconds until it has answered a call."""
        return self.system.open(self.folder, self.server)

    def roots(self) -> list[int]:
        """Roots of the system's process trees as they are now: the host's own where the system lives in it.

        A server leads a process group of its own; the host's other children are clients.
        """
        host = self._host.pid
        if self.kind.in_process:
            return [host]
        return [pid for pid in children().get(host, []) if group_of(pid) not in (host, None)]

    def crash(self) -> Killed:
        """SIGKILL, then a start on the same data; turns to the collection that was in use."""
        if self.kind.in_process:
            self._end_host()
            begun = time.perf_counter()
            self._spawn()
        else:
            self.system.kill()
            begun = time.perf_counter()
        self.open()
        answered = time.perf_counter() - begun
        if self.collection:
            self.system.use(self.collection)
        return Killed(begun, answered)

    def restart_clean(self) -> float:
        """Ends in order, then starts on an empty folder; seconds until it has answered a call."""
        self.system.close()
        self._end_host()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.collection, self.ef = None, 0
        begun = time.perf_counter()
        self._spawn()
        seconds = self.open()
        return time.perf_counter() - begun if self.kind.in_process else seconds

    def disk_bytes(self) -> int:
        """Allocated on disk by everything in the system's folder, logs of processes excluded."""
        files = (path for path in self.folder.rglob("*") if path.suffix != ".log")
        return sum(path.lstat().st_blocks * 512 for path in files if path.is_file())

    def failure(self, text: str) -> SystemFailed:
        self.failed = True
        log = self.folder / "host.log"
        return SystemFailed(f"{self.kind.title}: {text}; its log: {log}")

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """In order if nothing went wrong; else at once, whatever call is going on."""
        if kind is None and not self.failed:
            with suppress(SystemFailed):
                self.system.close()
            self._end_host()
        else:
            self._kill_all()
        if not self.failed:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        command = [str(self.python), "-m", "benchmarks.host", self.name, str(theirs.fileno())]
        with (self.folder / "host.log").open("ab") as log:
            self._host = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": PYTHON_PATH, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()
        self._remote = Remote(Connection(ours.detach()), self)

    def _kill_all(self) -> None:
        for group in {self._host.pid, *self.roots()}:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._remote.close()
        self._host.wait()

    def _end_host(self) -> None:
        """An in-process system dies here; a server's host kills its server when the connection is closed."""
        if self.kind.in_process:
            os.killpg(self._host.pid, signal.SIGKILL)
        self._remote.close()
        try:
            self._host.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._host.pid, signal.SIGKILL)
            self._host.wait()


class Remote:
    """Turns method calls into messages to the host process and back."""

    # Any below: arguments and results of whatever method is called.

    def __init__(self, connection: "Connection[Any, Any]", session: Session) -> None:
        self._connection, self._session = connection, session

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> Any:
            try:
                self._connection.send((method, arguments))
                kind, answer = self._connection.recv()
            except (EOFError, OSError) as error:
                kind, answer = "failed", f"its process ended ({error})"
            if kind == "unsupported":
                raise Unsupported(answer)
            if kind == "failed":
                raise self._session.failure(f"{method}: {answer}")
            return answer

        return call

    def close(self) -> None:
        self._connection.close()
