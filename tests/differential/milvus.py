"""Milvus 2.3.5 as a process, from the PyPI package `milvus`."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from pymilvus import MilvusClient, MilvusException

from tests.environments import cache_folder, make
from tests.server import free_ports, is_listening

REQUIREMENTS = ("milvus==2.3.5", "setuptools==80.10.2")
FIXED_PORTS = (2379, 2380, 9091, 13333, 19529, 19531, 53100)
READY_SECONDS = 180
STOP_SECONDS = 20


class Milvus:
    """Started by `with`, below `folder`; with an `address` the one that runs there."""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder
        self.uri = f"http://{address}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Milvus":
        if self.uri == "http://":
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        # The group: the command leaves a child behind.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)

    def _start(self) -> None:
        taken = [port for port in FIXED_PORTS if is_listening(port)]
        if taken:
            raise SystemExit(f"Milvus 2.3.5 needs port {taken[0]}, which is taken: does another one run?")
        interpreter = make(cache_folder() / "environments", REQUIREMENTS)
        [port] = free_ports(1)
        self.uri = f"http://127.0.0.1:{port}"
        self.folder.mkdir(parents=True)
        program = [str(interpreter.parent / "milvus-server")]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*program, "--data", str(self.folder / "data"), "--proxy-port", str(port)],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(time.monotonic() + READY_SECONDS)

    def _wait(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            with suppress(MilvusException):
                client = MilvusClient(self.uri, timeout=5)
                client.list_collections()
                client.close()
                return
            time.sleep(0.5)
        raise SystemExit(f"Milvus did not answer within {READY_SECONDS} s; its log: {self.folder / 'log'}")
