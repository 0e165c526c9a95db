"""The background process: the same results as in this process, and what happens when either of them dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from elanus.access import requests as q
from elanus.engine import index as indexes
from elanus.engine.segment_file import write_segment
from elanus.model.columns import PARTITION, TS
from elanus.model.errors import NotFoundError, NotReady
from elanus.model.nouns import Channel, IndexDefinition, Segment
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric
from elanus.roles.data import CompactionTask
from elanus.roles.index import IndexTask
from elanus.runtime.background import BackgroundCrashed, BackgroundProcess
from elanus.runtime.standalone import Instance
from elanus.storage.objects.local import LocalObjectStore
from elanus.workers.background import Build, Compact, Settings

SECONDS = 60
DIM = 16
SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        Field(id=101, name="v", type=DataType.FLOAT_VECTOR, dim=DIM),
    )
)
CHANNEL = Channel(id=1, log="log", start_offset=0, start_ts=0)
SLOW = {"M": 64, "efConstruction": 400}
QUICK = {"M": 4, "efConstruction": 8}


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.01)


def settings(directory: Path, idle_seconds: float = SECONDS) -> Settings:
    scratch = directory / "scratch"
    scratch.mkdir(exist_ok=True)
    return Settings(
        objects=directory / "objects",
        scratch=scratch,
        build_threads=1,
        batch_bytes=1 << 20,
        idle_seconds=idle_seconds,
    )


def stored(directory: Path, rows: int, name: str = "1") -> Segment:
    vectors = np.random.default_rng(rows).standard_normal(rows * DIM).astype(np.float32)
    table = pa.table(
        {
            "100": pa.array(np.arange(rows)),
            "101": pa.FixedSizeListArray.from_arrays(pa.array(vectors), DIM),
            PARTITION: pa.array(np.ones(rows, np.int64)),
            TS: pa.array(np.full(rows, 7, np.uint64)),
        }
    )
    store = LocalObjectStore(directory / "objects", shared=True)
    folder = directory / f"made-{name}"
    folder.mkdir()
    summary = write_segment(table, SCHEMA, folder)
    for file in summary.files:
        store.put(f"segments/1/1/o1/{name}/{file}", folder / file)
    return Segment(
        name=name,
        prefix=f"segments/1/1/o1/{name}",
        rows=rows,
        bytes=summary.bytes,
        min_ts=7,
        max_ts=7,
        partitions=summary.partitions,
        schema_version=SCHEMA.version,
    )


def build(segment: Segment, params: dict[str, int]) -> Build:
    definition = IndexDefinition(
        id=9, collection_id=1, field_id=101, name="v", type="HNSW", metric=Metric.L2, params=params
    )
    return Build(
        IndexTask(
            job_id=5, collection_id=1, schema=SCHEMA, channel=CHANNEL, segment=segment, definition=definition
        )
    )


def compact(segments: list[Segment]) -> Compact:
    return Compact(
        CompactionTask(
            job_id=6,
            collection_id=1,
            channel=CHANNEL,
            schema=SCHEMA,
            inputs=tuple(segments),
            delete_files=(),
            range_deletes=(),
            applied_to=8,
            purge_to=0,
            expired_below=0,
            target_bytes=1 << 30,
            names=(20, 21),
        )
    )


@pytest.fixture
def process(tmp_path: Path) -> Iterator[BackgroundProcess]:
    made = BackgroundProcess(settings(tmp_path), stop_seconds=SECONDS)
    yield made
    made.stop()


def test_a_build_beside_gives_an_index_of_all_rows_at_the_lowest_priority(
    process: BackgroundProcess, tmp_path: Path
) -> None:
    assert process.pid is None, "nothing runs before there is work"
    index = process.run(build(stored(tmp_path, 500), QUICK)).index
    assert index is not None
    loaded = indexes.load("HNSW", tmp_path / "objects" / index.path, Metric.L2)
    assert loaded.rows == 500
    assert process.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19


def test_one_process_does_builds_and_compactions(process: BackgroundProcess, tmp_path: Path) -> None:
    segments = [stored(tmp_path, 300, "1"), stored(tmp_path, 200, "2")]
    process.run(build(segments[0], QUICK))
    first = process.pid
    result = process.run(compact(segments)).compaction
    assert result is not None
    assert [(s.name, s.rows) for s in result.segments] == [("20", 500)]
    assert process.pid == first


def test_a_long_task_holds_up_no_task_of_the_other_kind(process: BackgroundProcess, tmp_path: Path) -> None:
    slow, quick = build(stored(tmp_path, 60_000), SLOW), compact([stored(tmp_path, 100, "2")])
    failures: list[Exception] = []

    def run() -> None:
        try:
            process.run(slow)
        except NotReady as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: process.pid is not None)
    pid = process.pid
    result = process.run(quick).compaction
    assert result is not None
    assert sum(s.rows for s in result.segments) == 100
    assert thread.is_alive(), "the build goes on"
    assert process.pid == pid, "both are in one process"
    process.stop()
    thread.join(SECONDS)
    assert len(failures) == 1


def test_an_error_of_a_task_is_raised_as_what_it_is(process: BackgroundProcess, tmp_path: Path) -> None:
    segment = stored(tmp_path, 10)
    (tmp_path / "objects" / segment.prefix / "stats.json").unlink()
    with pytest.raises(NotFoundError):
        process.run(build(segment, QUICK))
    assert process.pid is not None, "the process goes on"


def test_a_process_that_is_killed_in_a_build_fails_it_and_the_next_one_has_a_new_process(
    process: BackgroundProcess, tmp_path: Path
) -> None:
    slow = build(stored(tmp_path, 30_000), SLOW)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            process.run(slow)
        except BackgroundCrashed as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: process.pid is not None)
    pid = process.pid
    assert pid is not None
    wait_for(lambda: _cpu_seconds(pid) > 1)
    os.kill(pid, signal.SIGKILL)
    thread.join(SECONDS)
    assert "SIGKILL" in str(failures[0])
    assert process.run(build(stored(tmp_path, 100, "2"), QUICK)).index is not None
    assert process.pid not in (None, pid)


def test_an_idle_process_ends_and_the_next_task_starts_another(tmp_path: Path) -> None:
    process = BackgroundProcess(settings(tmp_path, idle_seconds=0.2), stop_seconds=SECONDS)
    task = build(stored(tmp_path, 100), QUICK)
    try:
        assert process.run(task).index is not None
        wait_for(lambda: process.pid is None)
        assert process.run(task).index is not None
    finally:
        process.stop()


def test_a_stop_ends_the_task_under_way(process: BackgroundProcess, tmp_path: Path) -> None:
    slow = build(stored(tmp_path, 30_000), SLOW)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            process.run(slow)
        except NotReady as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: process.pid is not None)
    pid = process.pid
    assert pid is not None
    wait_for(lambda: _cpu_seconds(pid) > 1)
    started = time.monotonic()
    process.stop()
    thread.join(SECONDS)
    assert failures
    assert time.monotonic() - started < 2
    assert process.pid is None
    with pytest.raises(NotReady):
        process.run(slow)


def test_the_process_ends_with_a_server_that_is_killed(tmp_path: Path) -> None:
    stored(tmp_path, 30_000)
    program = f"""
import threading
from pathlib import Path
from tests.unit.runtime.test_background import *
directory = Path({str(tmp_path)!r})
process = BackgroundProcess(settings(directory), stop_seconds=1)
segment = Segment(name="1", prefix="segments/1/1/o1/1", rows=30_000, bytes=1, min_ts=7, max_ts=7,
    partitions=(), schema_version=1)
threading.Thread(target=process.run, args=(build(segment, SLOW),), daemon=True).start()
wait_for(lambda: process.pid is not None)
print(process.pid, flush=True)
threading.Event().wait()
"""
    server = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    wait_for(lambda: _cpu_seconds(pid) > 1)
    server.kill()
    server.wait()
    wait_for(lambda: not _is_running(pid))


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_server_whose_background_process_is_killed_builds_again_and_serves_meanwhile(
    tmp_path: Path,
) -> None:
    rows = 8_000
    with_vectors = np.random.default_rng(1).standard_normal((rows, DIM)).astype(np.float32)
    instance = Instance.open(
        tmp_path / "data", elanus__background__buildElements=1, elanus__build__retrySeconds=0.01
    )
    proxy = instance.proxy
    try:
        proxy.create_collection(q.CreateCollection(database="", name="a", schema=SCHEMA, shards=1))
        columns = [
            pa.array(np.arange(rows)),
            pa.FixedSizeListArray.from_arrays(pa.array(with_vectors.ravel()), DIM),
        ]
        batch = pa.RecordBatch.from_arrays(columns, names=["100", "101"])
        proxy.insert(q.Write(database="", collection="a", partition="", rows=batch))
        proxy.flush("", ["a"])
        slow = {"index_type": "HNSW", "metric_type": "L2", "M": "64", "efConstruction": "400"}
        proxy.create_index("", "a", "v", "v", slow)
        proxy.load("", "a", [], 1, [], False)
        process = instance._background.process
        wait_for(lambda: process.pid is not None)
        pid = process.pid
        assert pid is not None
        wait_for(lambda: _cpu_seconds(pid) > 0.8)
        os.kill(pid, signal.SIGKILL)
        search = q.Search(database="", collection="a", field="v", queries=with_vectors[:3], limit=1)
        assert proxy.search(search).keys.to_pylist() == [0, 1, 2], "the server serves"
        wait_for(lambda: proxy.indexes("", "a")[0].pending_rows == 0)
        assert proxy.indexes("", "a")[0].failure == ""
        assert process.pid != pid
    finally:
        instance.stop()
