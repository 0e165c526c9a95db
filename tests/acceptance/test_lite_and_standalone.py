"""A data directory does not know who wrote it: Lite opens what the server wrote, and the other way round."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import MilvusClient, MilvusException

from elanus import lite
from elanus.model.errors import DirectoryInUseError

REPOSITORY = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 30
MAIN = "from elanus.cli import main; main()"

pytestmark = pytest.mark.server


@contextmanager
def server(data: Path, port: int, management_port: int) -> Iterator[int]:
    """`elanus serve` on a directory; gives its process id."""
    arguments = ["serve", "--data", data, "--port", port, "--management-port", management_port]
    process = subprocess.Popen([sys.executable, "-c", MAIN, *map(str, arguments)], cwd=REPOSITORY)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            assert process.wait(STOP_SECONDS) == 0
        finally:
            process.kill()


def connect(port: int) -> Any:
    """A client of the server, once it answers."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            return MilvusClient(f"http://127.0.0.1:{port}", timeout=2)
        except MilvusException:
            if time.monotonic() > until:
                raise


def write(client: Any, first: int) -> None:
    """A hundred more points: half of them flushed, half of them only in the log; the first one deleted."""
    for start, stop in (first, first + 50), (first + 50, first + 100):
        client.insert("points", [{"id": i, "vector": [float(i), 1.0]} for i in range(start, stop)])
        if start == first:
            client.flush("points")
    client.delete("points", ids=[first])


def check(client: Any, want: set[int]) -> None:
    client.load_collection("points")
    assert {row["id"] for row in client.query("points", "id >= 0", ["id"])} == want
    [hits] = client.search("points", [[float(max(want)), 1.0]], limit=1)
    assert [hit["id"] for hit in hits] == [max(want)]


def test_lite_and_the_server_take_turns_on_one_directory(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    with lite.connect(tmp_path) as client:
        client.create_collection("points", dimension=2, metric_type="L2", consistency_level="Strong")
        write(client, 0)
    port = free_port()
    with server(tmp_path, port, free_port()) as pid:
        client = connect(port)
        check(client, set(range(1, 100)))
        write(client, 100)
        with pytest.raises(DirectoryInUseError, match=str(pid)):
            lite.connect(tmp_path)
        client.close()
    with lite.connect(tmp_path) as client:
        check(client, set(range(1, 200)) - {100})
