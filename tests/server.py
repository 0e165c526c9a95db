"""A real `elanus serve` process on free ports, for tests that stop it, kill it and start it again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import grpc

from elanus.runtime.config_sources import environment_name

REPOSITORY = Path(__file__).parents[1]
PROGRAM = "from elanus.cli import main; main()"
VERSION_CALL = "/milvus.proto.milvus.MilvusService/GetVersion"
POLL_SECONDS = 0.01
LOG_LINES = 60


class ServerFailed(Exception):
    """The message has the end of the server's log."""


class Server:
    """Started by `with` or `start`, on new ports each time. `settings`: keys of the configuration."""

    def __init__(
        self, directory: Path, settings: Mapping[str, object] | None = None, timeout_seconds: float = 60
    ) -> None:
        self.directory = directory
        self.log = directory.with_name(directory.name + ".log")
        self.port = self.management_port = 0
        self._settings = dict(settings or {})
        self.start_seconds = 0.0
        """From the process' start to the first answered call, the last time."""
        self._timeout_seconds = timeout_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server has not been started"
        return self._process

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        """Back when it answers calls. Raises ServerFailed."""
        started = time.monotonic()
        self._launch()
        self._wait_for_answer(started + self._timeout_seconds)
        self.start_seconds = time.monotonic() - started

    def stop(self, timeout_seconds: float = 30) -> int:
        """SIGTERM; the exit code. Raises ServerFailed if it takes longer."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"no end {timeout_seconds} s after SIGTERM{self.tail()}") from None

    def kill(self) -> None:
        """SIGKILL, and back when the process is gone."""
        self.process.kill()
        self.process.wait()

    def tail(self) -> str:
        """The last lines of the log, of all starts."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"; the log of {self.directory} ends:", *lines[-LOG_LINES:]])

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        if error is not None:
            error.add_note(self.tail())

    def _launch(self) -> None:
        self.port, self.management_port = free_ports(2)
        ports = ["--port", str(self.port), "--management-port", str(self.management_port)]
        arguments = ["serve", "--data", str(self.directory), "--host", "127.0.0.1", *ports]
        given = {environment_name(key): str(value) for key, value in self._settings.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, *arguments],
                cwd=REPOSITORY,
                env={**os.environ, **given},
                stdout=log,
                stderr=log,
            )

    def _wait_for_answer(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerFailed(f"it ended with code {self.process.returncode}{self.tail()}")
            if is_listening(self.port) and self._answers():
                return
            time.sleep(POLL_SECONDS)
        raise ServerFailed(f"no answer after {self._timeout_seconds} s{self.tail()}")

    def _answers(self) -> bool:
        with grpc.insecure_channel(self.address) as channel:
            try:
                channel.unary_unary(VERSION_CALL)(b"", timeout=5)
            except grpc.RpcError:
                return False
        return True


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on at this moment, all different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
