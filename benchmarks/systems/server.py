"""A server of the Milvus protocol in a process of its own, with clients in processes of theirs."""

import os
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.model import Load, Sample
from benchmarks.systems.milvus_calls import CALL_SECONDS, POLL_SECONDS, WAIT_SECONDS, MilvusCalls
from benchmarks.threads import TRICKLE_BATCHES, batches
from benchmarks.wire import messages
from benchmarks.wire.client import Plan, Result, channel
from benchmarks.wire.clients import Clients

READY_SECONDS = 300.0
STOP_SECONDS = 30.0


class Server(MilvusCalls):
    in_process = False
    requirements = ("pymilvus==3.0.2",)

    process: "subprocess.Popen[bytes] | None" = None
    folder: Path
    port: int
    pymilvus_client: Any = None

    @abstractmethod
    def command(self, server: Path, data: Path) -> list[str]:
        """What starts the server on `self.port`."""

    def open(self, folder: Path, server: Path) -> float:
        self.folder, self.port, self.pymilvus_client = folder, free_port(), None
        command = self.command(server, folder / "data")
        with (folder / "server.log").open("ab") as log:
            begun = time.perf_counter()
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        self.await_answer(begun + READY_SECONDS)
        return time.perf_counter() - begun

    def await_answer(self, deadline: float) -> None:
        """Until ShowCollections is answered without an error."""
        from pymilvus.grpc_gen import milvus_pb2

        last = "its port is closed"
        while time.perf_counter() < deadline:
            assert self.process
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"the server ended with exit code {self.process.returncode}: {self.tail()}"
                )
            if not listening(self.port):
                time.sleep(POLL_SECONDS / 4)
                continue
            # A new channel each time: one that has failed waits before it connects again.
            self.channel = channel(self.address())
            try:
                self.checked(
                    "ShowCollections", milvus_pb2.ShowCollectionsRequest(), milvus_pb2.ShowCollectionsResponse
                )
                return
            except (grpc.RpcError, RuntimeError) as error:
                last = str(error)
                self.channel.close()
                time.sleep(POLL_SECONDS)
        raise RuntimeError(f"the server did not answer within {READY_SECONDS:.0f} s: {last}")

    def tail(self) -> str:
        return "\n".join((self.folder / "server.log").read_text(errors="replace").splitlines()[-5:])

    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self) -> Any:
        from pymilvus import MilvusClient

        if self.pymilvus_client is None:
            self.pymilvus_client = MilvusClient(f"http://{self.address()}")
        return self.pymilvus_client

    def close(self) -> None:
        if self.process:
            self.channel.close()
            self.signal_group(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            self.kill()

    def kill(self) -> None:
        """The whole group: a server may leave children behind."""
        if self.process:
            self.signal_group(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def signal_group(self, number: int) -> None:
        assert self.process
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def search(self, load: Load) -> Sample:
        if load.plain:
            return self.plain_search(load)
        queries = np.load(load.queries)
        requests = [self.request(query, load, level) for query in queries for level in load.levels]
        plan = Plan(
            target=self.address(),
            method=messages.SERVICE + "Search",
            requests=requests,
            threads=load.clients,
            seconds=load.seconds,
            warmup=max(1, load.warmup // load.clients),
        )
        trickle = self.trickle(load)
        clients = Clients(plan, load.processes)
        if trickle:
            trickle.go()
        clients.go()
        result = clients.gather(load.seconds)
        inserted = 0.0
        if trickle:
            trickle.stop()
            rows = max(1, load.trickle // TRICKLE_BATCHES)
            done = trickle.gather(CALL_SECONDS)
            inserted = rows * sum(map(len, done.latencies)) / done.seconds
        return self.sample(load, result, inserted)

    def trickle(self, load: Load) -> Clients | None:
        if not load.trickle_rows or not load.trickle:
            return None
        requests = [
            messages.insert(self.collection, rows.ids(), rows.vectors()).SerializeToString()
            for rows in batches(load.trickle_rows, max(1, load.trickle // TRICKLE_BATCHES))
        ]
        insert = messages.SERVICE + "Insert"
        return Clients(
            Plan(self.address(), insert, requests, 1, WAIT_SECONDS, pace=TRICKLE_BATCHES, once=True)
        )

    def sample(self, load: Load, result: Result, inserted: float) -> Sample:
        """Requests alternate between the levels: the remainder of a request's index names its level."""
        count = len(load.levels)
        indices = np.concatenate([np.frombuffer(part, np.int64) for part in result.indices])
        latencies = np.concatenate([np.frombuffer(part, np.float64) for part in result.latencies])
        by_level = {
            level: latencies[indices % count == number].tobytes() for number, level in enumerate(load.levels)
        }
        answers: dict[int, list[int]] = {}
        errors, first_error = result.errors, result.first_error
        for index, answer in result.answers.items():
            try:
                answers[index // count] = messages.search_ids(answer)
            except RuntimeError as error:
                errors, first_error = errors + 1, first_error or str(error)
        return Sample(result.seconds, by_level, answers, errors, first_error, inserted)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
