"""What all servers of the Milvus protocol share: raw gRPC, requests built before they are timed."""

import os
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import grpc
import numpy as np

from benchmarks import threads
from benchmarks.model import LEVELS, Collection, Load, Rows, Sample, Unsupported, Vectors
from benchmarks.system import System
from benchmarks.threads import TRICKLE_BATCHES, Search, batches
from benchmarks.wire import messages
from benchmarks.wire.client import Plan, Result, channel
from benchmarks.wire.clients import Clients

# Any below: the generated messages carry no types.

READY_SECONDS = 300.0
WAIT_SECONDS = 3600.0
CALL_SECONDS = 600.0
POLL_SECONDS = 0.02
STATUS_ANSWERS = {"CreateCollection", "CreateIndex", "LoadCollection", "DropCollection"}
"""Calls whose answer is a Status, not something that has one."""
STOP_SECONDS = 30.0


class MilvusProtocol(System):
    in_process = False
    requirements = ("pymilvus==3.0.2",)
    levels: ClassVar[tuple[str, ...]] = LEVELS

    process: "subprocess.Popen[bytes] | None" = None
    folder: Path
    port: int
    session_ts = 1

    @abstractmethod
    def command(self, server: Path, data: Path) -> list[str]:
        """What starts the server on `self.port`."""

    def open(self, folder: Path, server: Path) -> float:
        self.folder, self.port = folder, free_port()
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

    def server_pids(self) -> list[int]:
        return [self.process.pid] if self.process else []

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

    def version(self) -> str:
        from pymilvus.grpc_gen import milvus_pb2

        return str(
            self.checked("GetVersion", milvus_pb2.GetVersionRequest(), milvus_pb2.GetVersionResponse).version
        )

    def checked(self, method: str, request: Any, answer: Any) -> Any:
        """The answer, parsed. Raises RuntimeError for a status that is an error."""
        call = self.channel.unary_unary(
            messages.SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        got = call(request, timeout=CALL_SECONDS)
        messages.check(got if method in STATUS_ANSWERS else got.status)
        return got

    def create(self, collection: Collection) -> None:
        from pymilvus.grpc_gen import common_pb2

        self.collection = collection
        try:
            self.checked("CreateCollection", messages.create_collection(collection), common_pb2.Status)
        except RuntimeError as error:
            if collection.json:
                raise Unsupported(f"a JSON column: {error}") from error
            raise

    def insert(self, rows: Rows) -> float:
        from pymilvus.grpc_gen import milvus_pb2

        request = messages.insert(self.collection, rows.ids(), rows.vectors()).SerializeToString()
        call = self.channel.unary_unary(messages.SERVICE + "Insert")
        begun = time.perf_counter()
        answer = call(request, timeout=CALL_SECONDS)
        seconds = time.perf_counter() - begun
        result = milvus_pb2.MutationResult.FromString(answer)
        messages.check(result.status)
        self.session_ts = max(self.session_ts, result.timestamp)
        return seconds

    def flush(self) -> float:
        from pymilvus.grpc_gen import milvus_pb2

        name = self.collection.name
        begun = time.perf_counter()
        flushed = self.checked(
            "Flush", milvus_pb2.FlushRequest(collection_names=[name]), milvus_pb2.FlushResponse
        )
        segments = list(flushed.coll_segIDs[name].data)
        at = flushed.coll_flush_ts.get(name, 0)
        state = milvus_pb2.GetFlushStateRequest(segmentIDs=segments, flush_ts=at, collection_name=name)
        wait(lambda: self.checked("GetFlushState", state, milvus_pb2.GetFlushStateResponse).flushed)
        return time.perf_counter() - begun

    def index(self) -> float:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        begun = time.perf_counter()
        self.checked("CreateIndex", messages.create_index(self.collection), common_pb2.Status)
        describe = milvus_pb2.DescribeIndexRequest(collection_name=self.collection.name, field_name="vector")

        def built() -> bool:
            found = self.checked("DescribeIndex", describe, milvus_pb2.DescribeIndexResponse)
            description = found.index_descriptions[0]
            if description.state == common_pb2.IndexState.Failed:
                raise RuntimeError(f"the index build failed: {description.index_state_fail_reason}")
            finished = description.state == common_pb2.IndexState.Finished
            return bool(finished and description.indexed_rows >= description.total_rows)

        wait(built)
        return time.perf_counter() - begun

    def load(self) -> float:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        name = self.collection.name
        begun = time.perf_counter()
        request = milvus_pb2.LoadCollectionRequest(collection_name=name, replica_number=1)
        self.checked("LoadCollection", request, common_pb2.Status)
        progress = milvus_pb2.GetLoadingProgressRequest(collection_name=name)
        answer = milvus_pb2.GetLoadingProgressResponse
        wait(lambda: self.checked("GetLoadingProgress", progress, answer).progress >= 100)
        return time.perf_counter() - begun

    def drop(self) -> None:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        request = milvus_pb2.DropCollectionRequest(collection_name=self.collection.name)
        self.checked("DropCollection", request, common_pb2.Status)

    def request(self, query: Vectors, load: Load, level: str) -> bytes:
        made = messages.search(
            self.collection, query, load.k, load.ef, level, self.session_ts, load.filter
        ).SerializeToString()
        assert isinstance(made, bytes)
        return made

    def searcher(self, load: Load) -> Search:
        call = self.channel.unary_unary(messages.SERVICE + "Search")

        def search(query: Vectors) -> list[int]:
            answer = call(self.request(query, load, load.levels[0]), timeout=CALL_SECONDS)
            return messages.search_ids(answer)

        return search

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
        clients = Clients(plan)
        if trickle:
            trickle.go()
        clients.go()
        result = clients.gather(load.seconds)
        inserted = 0
        if trickle:
            trickle.stop()
            rows = max(1, load.trickle // TRICKLE_BATCHES)
            inserted = rows * sum(map(len, trickle.gather(CALL_SECONDS).latencies))
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

    def sample(self, load: Load, result: Result, inserted: int) -> Sample:
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

    def plain_search(self, load: Load) -> Sample:
        """pymilvus' MilvusClient in threads of one process, as an application would."""
        from pymilvus import MilvusClient

        client = MilvusClient(f"http://{self.address()}")
        parameters = {
            "metric_type": self.collection.metric,
            "params": messages.search_parameters(self.collection, load.ef),
        }

        def search(query: Vectors) -> list[int]:
            found = client.search(
                self.collection.name,
                data=[query],
                anns_field="vector",
                limit=load.k,
                search_params=parameters,
                consistency_level=load.levels[0],
                filter=load.filter.expression() if load.filter else "",
            )
            return [hit["id"] for hit in found[0]]

        return threads.search(load, [search] * load.clients, self.insert)


def wait(done: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + WAIT_SECONDS
    while not done():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"it was not done within {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
