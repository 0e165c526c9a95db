"""SIGKILL at random moments under writes, flushes and index builds: what was acknowledged stays."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest

pytest.importorskip("pymilvus")

from pymilvus import MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from tests.crash.watcher import Watcher
from tests.crash.writers import NAME, RANGE, Writer, check, create, write_request
from tests.server import PROGRAM, REPOSITORY, Server

ROUNDS = int(os.environ.get("ELANUS_CRASH_ROUNDS", "20"))
WRITERS = 3
LEAST_SECONDS, MOST_SECONDS = 0.2, 1.5
SLOW_ROWS, SLOW_DIM, SLOW_BATCH = 16_000, 256, 2_000
EXIT_SECONDS = 3.0
START_SECONDS = 2.0
START_ATTEMPTS = 5
BIG_ROWS = 20_000

SMALL = {
    "rootCoord.dmlChannelNum": 2,
    "dataNode.segment.insertBufSize": 150_000,
    "indexCoord.segment.minSegmentNumRowsToEnableIndex": 64,
    "elanus.log.fileBytes": 200_000,
    "elanus.flush.checkSeconds": 0.05,
    "elanus.flush.trimSeconds": 0.1,
    "elanus.serve.viewGraceSeconds": 0.2,
    "elanus.serve.refreshOffsets": 200,
}
"""Everything soon and often, so that a kill meets it."""

pytestmark = [pytest.mark.server, pytest.mark.crash]


# Any: pymilvus has no types.
def connect(server: Server) -> Any:
    return MilvusClient(server.uri, timeout=30)


@pytest.mark.timeout(900)
def test_a_killed_server_keeps_what_it_acknowledged_and_nothing_else(tmp_path: Path) -> None:
    seed = int(os.environ.get("ELANUS_CRASH_SEED", random.randrange(1 << 32)))
    print(f"ELANUS_CRASH_SEED={seed}")
    chance = random.Random(seed)
    server = Server(tmp_path / "data", SMALL)
    writers = [Writer(number, random.Random(seed + number)) for number in range(WRITERS)]
    writers.append(Writer(WRITERS, random.Random(seed + WRITERS), kinds=("upsert",)))
    watcher = Watcher(writers[-1].keys, random.Random(seed))
    with server:
        client = connect(server)
        create(client)
        writers[-1].fill(server.address)
        for round_number in range(ROUNDS):
            killed = threading.Event()
            clients: list[Writer | Watcher] = [*writers, watcher]
            threads = [threading.Thread(target=c.run, args=(server.address, killed)) for c in clients]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(LEAST_SECONDS, MOST_SECONDS))
            if chance.random() < 0.5:
                threading.Thread(target=flush, args=(server.address,)).start()
                time.sleep(chance.uniform(0, 0.1))
            killed.set()
            server.kill()
            for thread in threads:
                thread.join()
            failures = [c.failure for c in clients if c.failure]
            assert not failures, failures
            client.close()
            server.start()
            client = connect(server)
            found = check(client, writers)
            done = [w.acknowledged for w in writers]
            print(f"round {round_number}: {done} requests, {watcher.reads} reads, {len(found)} rows")
            for writer in writers:
                writer.settle(found)
        client.close()
    assert all(w.acknowledged for w in writers)
    assert watcher.reads


def flush(address: str) -> None:
    """Its answer does not matter: the server may be gone before it."""
    with grpc.insecure_channel(address) as channel:
        request = milvus_pb2.FlushRequest(collection_names=[NAME])
        try:
            milvus_pb2_grpc.MilvusServiceStub(channel).Flush(request, timeout=30)
        except grpc.RpcError:
            return


def test_sigterm_finishes_what_is_in_flight_and_loses_nothing(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", SMALL)
    writers = [Writer(number, random.Random(number)) for number in range(2)]
    with server:
        client = connect(server)
        create(client)
        stopped = threading.Event()
        threads = [threading.Thread(target=w.run, args=(server.address, stopped)) for w in writers]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        with grpc.insecure_channel(server.address) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            first = 9 * RANGE
            request = write_request(list(range(first, first + BIG_ROWS)), 1, upsert=False)
            grpc.channel_ready_future(channel).result(10)
            big = stub.Insert.future(request, timeout=30)
            time.sleep(0.05)
            stopped.set()
            began = time.monotonic()
            assert server.stop() == 0
            took = time.monotonic() - began
            assert big.result().insert_cnt == BIG_ROWS
        assert took < EXIT_SECONDS
        for thread in threads:
            thread.join()
        assert not [w.failure for w in writers if w.failure]
        client.close()

        server.start()
        client = connect(server)
        [answer] = client.query(NAME, f"id >= {first}", ["count(*)"], consistency_level="Strong")
        assert answer["count(*)"] == BIG_ROWS
        client.delete(NAME, filter=f"id >= {first}")
        check(client, writers)
        client.close()


def test_an_index_build_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """And it is made again by the next start."""
    rng = np.random.default_rng(5)
    with Server(tmp_path / "data") as server:
        client = MilvusClient(server.uri)
        client.create_collection("slow", dimension=SLOW_DIM, metric_type="L2")
        for first in range(0, SLOW_ROWS, SLOW_BATCH):
            vectors = rng.random((SLOW_BATCH, SLOW_DIM), dtype=np.float32)
            client.insert("slow", [{"id": first + i, "vector": v} for i, v in enumerate(vectors)])
        client.flush("slow")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < EXIT_SECONDS
        client.close()

        server.start()
        client = MilvusClient(server.uri)
        assert client.query("slow", output_fields=["count(*)"])[0]["count(*)"] == SLOW_ROWS
        assert client.describe_index("slow", "vector")["total_rows"] == SLOW_ROWS
        client.close()


def test_a_directory_in_use_names_the_process_that_has_it(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        ports = ["--port", "0", "--management-port", "0"]
        command = [sys.executable, "-c", PROGRAM, "serve", "--data", str(server.directory), *ports]
        second = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert f"in use by process {server.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert server.stop() == 0


def test_an_empty_directory_answers_within_two_seconds(tmp_path: Path) -> None:
    """The best of a few. Where others keep the machine busy, what counts is the work, not the wait."""
    taken, worked = [], []
    for attempt in range(START_ATTEMPTS):
        server = Server(tmp_path / str(attempt))
        with server:
            taken.append(server.start_seconds)
            worked.append(sum(psutil.Process(server.process.pid).cpu_times()[:2]))
            assert server.stop() == 0
        if taken[-1] < START_SECONDS:
            return
    best = min(worked) if os.getloadavg()[0] > (os.cpu_count() or 1) else min(taken)
    assert best < START_SECONDS, f"seconds to the first answer: {taken}, of work: {worked}"
