"""Lite with the pymilvus of this environment: sharing, closing, reconnecting, interrupting, exiting."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType

from elanus import lite
from elanus.lite.embedded import embedded, resolve
from elanus.model.errors import DirectoryInUseError, InvalidParameter

REPOSITORY = Path(__file__).parents[2]
SERVICE = "/milvus.proto.milvus.MilvusService/"
EXIT_SECONDS = 60


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs `program` with the modules of this one."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(program: str, *arguments: object) -> str:
    """What `program` prints; fails with what it complains about."""
    process = python(program, *arguments)
    out, err = process.communicate(timeout=EXIT_SECONDS)
    assert process.returncode == 0, err
    return out


def points(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": i, "vector": [float(i), 1.0, 2.0, 3.0]} for i in range(first, first + count)]


def ids(client: Any, collection: str = "points", **arguments: Any) -> list[int]:
    return sorted(row["id"] for row in client.query(collection, "id >= 0", ["id"], **arguments))


def make_points(client: Any) -> None:
    client.create_collection("points", dimension=4, consistency_level="Strong")


def test_what_one_client_writes_the_next_one_finds(tmp_path: Path) -> None:
    with lite.connect(tmp_path / "demo") as client:
        make_points(client)
        client.insert("points", points(0, 100))
    with lite.connect(str(tmp_path / "demo")) as client:
        client.load_collection("points")
        assert ids(client) == list(range(100))


def test_a_null_takes_the_default_of_its_field(tmp_path: Path) -> None:
    with lite.connect(tmp_path / "d") as client:
        schema = client.create_schema()
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=4)
        schema.add_field("rank", DataType.INT64, default_value=3)
        schema.add_field("color", DataType.VARCHAR, max_length=8, default_value="red", nullable=True)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="L2")
        client.create_collection("notes", schema=schema, index_params=index)
        given = [(7, "blue"), (None, None)]
        client.insert(
            "notes",
            [point | {"rank": r, "color": c} for point, (r, c) in zip(points(0, 2), given, strict=True)],
        )
        client.insert("notes", points(2, 1))
        found = client.query("notes", "id >= 0", output_fields=["rank", "color"])
        assert [(row["rank"], row["color"]) for row in found] == [(7, "blue"), (3, "red"), (3, "red")]


def test_clients_of_one_directory_share_it_and_the_last_one_closes_it(tmp_path: Path) -> None:
    first = lite.connect(tmp_path)
    with lite.connect(tmp_path / "." / "") as second:
        make_points(first)
        second.insert("points", points(0, 3))
        assert ids(first) == [0, 1, 2]
    assert ids(first) == [0, 1, 2]
    first.close()
    first.close()
    assert output_of(OPEN_AND_LIST, tmp_path) == "['points']\n"


OPEN_AND_LIST = """
    import sys
    from elanus import lite
    with lite.connect(sys.argv[1]) as client:
        print(client.list_collections())
"""


def test_another_process_is_told_who_has_the_directory(tmp_path: Path) -> None:
    holder = python(
        """
        import os, sys
        from elanus import lite
        client = lite.connect(sys.argv[1])
        print(os.getpid(), flush=True)
        sys.stdin.read()
        """,
        tmp_path,
    )
    with holder:
        try:
            assert holder.stdout is not None
            pid = holder.stdout.readline().strip()
            assert pid
            for opening in (lite.connect, lite.async_connect):
                with pytest.raises(DirectoryInUseError, match=pid):
                    opening(tmp_path)
        finally:
            holder.kill()
    with lite.connect(tmp_path) as client:
        assert client.list_collections() == []


def test_a_file_is_not_taken_for_a_directory(tmp_path: Path) -> None:
    (tmp_path / "old.db").write_bytes(b"SQLite format 3\0")
    with pytest.raises(InvalidParameter, match=r"old\.db is a file"):
        lite.connect(tmp_path / "old.db")


def test_settings_reach_the_instance_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    with (
        lite.connect(tmp_path, elanus__log__maxRecordBytes=100_000) as client,
        lite.connect(tmp_path) as other,
    ):
        assert client.list_collections() == other.list_collections() == []
        with pytest.raises(InvalidParameter, match="already open"):
            lite.connect(tmp_path, elanus__log__maxRecordBytes=200_000)
    with pytest.raises(InvalidParameter, match="maxRecordByte"):
        lite.connect(tmp_path, elanus__log__maxRecordByte=1)


def test_both_clients_of_pymilvus_open_a_db_path_once_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymilvus import AsyncMilvusClient, MilvusClient

    monkeypatch.chdir(tmp_path)
    lite.install()
    try:
        client = MilvusClient("./x.db")
        make_points(client)
        client.insert("points", points(0, 5))

        async def search() -> list[int]:
            other = AsyncMilvusClient("./x.db")
            found = await other.search("points", [[4.0, 1.0, 2.0, 3.0]], limit=5)
            await other.close()
            return sorted(hit["id"] for hit in found[0])

        assert asyncio.run(search()) == [0, 1, 2, 3, 4]
        client.close()
        assert (tmp_path / "x.db").is_dir()
    finally:
        lite.uninstall()


def test_an_asynchronous_client_is_a_context_manager_and_runs_calls_at_once(tmp_path: Path) -> None:
    async def body() -> None:
        async with lite.async_connect(tmp_path) as client:
            await client.create_collection("points", dimension=4, consistency_level="Strong")
            await asyncio.gather(*(client.insert("points", points(10 * n, 10)) for n in range(20)))
            rows = await client.query("points", "id >= 0", output_fields=["id"])
            assert sorted(row["id"] for row in rows) == list(range(200))

    asyncio.run(body())
    assert output_of(OPEN_AND_LIST, tmp_path) == "['points']\n"


Handle = Callable[[bytes, grpc.ServicerContext], bytes]


@contextmanager
def replaced(path: Path, method: str, wrap: Callable[[Handle], Handle]) -> Iterator[None]:
    """The handler of `method` of the open instance is `wrap` of the real one."""
    lease = embedded.acquire(resolve(path))
    handlers, name = lease.dispatcher.handlers, SERVICE + method
    real = handlers[name]
    handlers[name] = grpc.unary_unary_rpc_method_handler(
        wrap(real.unary_unary), real.request_deserializer, real.response_serializer
    )
    try:
        yield
    finally:
        handlers[name] = real
        lease.release()


class UnavailableOnce:
    """Ends the first call with UNAVAILABLE, upon which pymilvus reconnects."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, real: Handle) -> Handle:
        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            if not self.failed:
                self.failed += 1
                context.abort(grpc.StatusCode.UNAVAILABLE, "for this test")
            return real(request, context)

        return handle


def test_a_client_is_served_in_process_again_after_an_unavailable(tmp_path: Path) -> None:
    with lite.connect(tmp_path) as client:
        make_points(client)
        once = UnavailableOnce()
        with replaced(tmp_path, "Insert", once):
            client.insert("points", points(0, 3))
        assert once.failed == 1
        assert ids(client) == [0, 1, 2]
    assert output_of(OPEN_AND_LIST, tmp_path) == "['points']\n"


def test_an_asynchronous_client_is_served_again_after_an_unavailable(tmp_path: Path) -> None:
    async def body() -> None:
        async with lite.async_connect(tmp_path) as client:
            await client.create_collection("points", dimension=4, consistency_level="Strong")
            once = UnavailableOnce()
            with replaced(tmp_path, "Insert", once):
                await client.insert("points", points(0, 3))
            assert once.failed == 1
            rows = await client.query("points", "id >= 0", output_fields=["id"])
            assert sorted(row["id"] for row in rows) == [0, 1, 2]

    asyncio.run(body())
    assert output_of(OPEN_AND_LIST, tmp_path) == "['points']\n"


def test_a_call_has_its_deadline(tmp_path: Path) -> None:
    from pymilvus import MilvusException

    with lite.connect(tmp_path) as client:
        make_points(client)
        go = threading.Event()

        def wait_first(real: Handle) -> Handle:
            return lambda request, context: real(request, context) if go.wait(30) else b""

        with replaced(tmp_path, "Insert", wait_first):
            started = time.monotonic()
            with pytest.raises((grpc.RpcError, MilvusException)):
                client.insert("points", points(0, 3), timeout=0.3)
            assert time.monotonic() - started < 10
            go.set()
        assert set(ids(client)) <= {0, 1, 2}


def test_ctrl_c_in_the_middle_of_inserts_leaves_whole_requests(tmp_path: Path) -> None:
    """Interrupts a loop of inserts many times; the instance stays usable and what it has survives."""
    out = output_of(
        """
        import os, signal, sys, threading, time, random
        from elanus import lite

        BATCH = 200
        path, random_ = sys.argv[1], random.Random(5)
        client = lite.connect(path)
        client.create_collection("points", dimension=4, consistency_level="Strong")
        acknowledged, batch = set(), 0

        def interrupt(delay):
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

        for _ in range(25):
            try:
                threading.Thread(target=interrupt, args=[random_.uniform(0.001, 0.05)]).start()
                while True:
                    rows = [
                        {"id": batch * BATCH + i, "vector": [1.0, 2.0, 3.0, float(i)]} for i in range(BATCH)
                    ]
                    batch += 1
                    client.insert("points", rows)
                    acknowledged.add(batch - 1)
            except KeyboardInterrupt:
                pass

        def batches():
            rows = client.query("points", "id >= 0", ["id"])
            found = {}
            for row in rows:
                found[row["id"] // BATCH] = found.get(row["id"] // BATCH, 0) + 1
            return found

        time.sleep(0.5)  # what had begun when the last interrupt came is finished by its worker
        before = batches()
        assert set(before.values()) == {BATCH}, before
        assert acknowledged <= before.keys()
        client.close()
        client = lite.connect(path)
        client.load_collection("points")
        assert batches() == before
        print("interrupted", 25, "acknowledged", len(acknowledged) > 0)
        client.close()
        """,
        tmp_path,
    )
    assert out == "interrupted 25 acknowledged True\n"


def test_ctrl_c_while_a_directory_opens_or_closes_leaves_it_usable(tmp_path: Path) -> None:
    out = output_of(
        """
        import os, random, signal, sys, threading, time
        from elanus import lite

        random_ = random.Random(5)
        with lite.connect(sys.argv[1]) as client:
            client.create_collection("points", dimension=4, consistency_level="Strong")
            client.insert("points", [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])

        def interrupt(delay, heard):
            # Python drops an exception that comes up in a callback of a weak reference, as thread ends have.
            while not heard.wait(delay):
                os.kill(os.getpid(), signal.SIGINT)
                delay = 5

        for _ in range(25):
            heard = threading.Event()
            thread = threading.Thread(target=interrupt, args=[random_.uniform(0.0, 0.05), heard])
            try:
                thread.start()
                while True:
                    lite.connect(sys.argv[1]).close()
            except KeyboardInterrupt:
                heard.set()
            thread.join()
        with lite.connect(sys.argv[1]) as client:
            client.load_collection("points")
            print([row["id"] for row in client.query("points", "id >= 0", ["id"])])
        """,
        tmp_path,
    )
    assert out == "[1]\n"
    assert output_of(OPEN_AND_LIST, tmp_path) == "['points']\n"


def test_a_process_that_ends_without_closing_ends_at_once_and_loses_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    output_of(
        """
        import sys
        from elanus import lite
        client = lite.connect(sys.argv[1])
        client.create_collection("points", dimension=4, consistency_level="Strong")
        client.insert("points", [{"id": i, "vector": [1.0, 2.0, 3.0, 4.0]} for i in range(50)])
        lite.install()
        """,
        tmp_path,
    )
    assert time.monotonic() - started < 30
    with lite.connect(tmp_path) as client:
        client.load_collection("points")
        assert ids(client) == list(range(50))


def test_a_forked_child_can_use_another_directory_and_leaves_its_parents_alone(tmp_path: Path) -> None:
    out = output_of(
        """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from elanus import lite
        from elanus.model.errors import DirectoryInUseError

        client = lite.connect(sys.argv[1] + "/parent")
        client.create_collection("mine", dimension=4)
        child = os.fork()
        if child == 0:
            try:
                lite.connect(sys.argv[1] + "/parent")
            except DirectoryInUseError as error:
                print("refused", str(os.getppid()) in str(error), flush=True)
            with lite.connect(sys.argv[1] + "/child") as other:
                other.create_collection("own", dimension=4)
                print(other.list_collections(), flush=True)
            sys.exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), client.list_collections())
        client.close()
        """,
        tmp_path,
    )
    assert out.splitlines() == ["refused True", "['own']", "0 ['mine']"]
