"""Inspecting a data directory that real storage has written, whole and damaged."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from elanus.engine.deletes import delete_schema, write_delete_file
from elanus.engine.segment_file import write_segment
from elanus.model import columns
from elanus.model.errors import InvalidParameter
from elanus.model.nouns import (
    Channel,
    Collection,
    Database,
    DeleteFile,
    LogIdentity,
    Partition,
    Segment,
)
from elanus.model.records import KEY, Header, Kind, encode
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from elanus.runtime.inspection import inspect
from elanus.storage import codec, keys
from elanus.storage.directory import FORMAT_FILE, DataDirectory
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.manifests import Manifests
from elanus.storage.meta.sqlite import SqliteMetaStore
from elanus.storage.objects.local import LocalObjectStore

SCHEMA = Schema(
    fields=(
        Field(id=100, name="id", type=DataType.INT64, primary=True),
        Field(id=101, name="vector", type=DataType.FLOAT_VECTOR, dim=4),
    )
)
CHANNEL = Channel(id=7, log="dml_0", start_offset=0, start_ts=0)
PARTITION = 11
SEALED, GROWING, DELETED = 50, 20, 3
FLOOR = 2


def rows(count: int) -> pa.RecordBatch:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(count * 4, np.float32)), 4)
    partitions = pa.array(np.full(count, PARTITION, np.int64))
    return pa.RecordBatch.from_arrays(
        [pa.array(np.arange(count)), vectors, partitions], schema=columns.row_schema(SCHEMA)
    )


@dataclass
class Written:
    """A directory with one collection: a segment and a delete file sealed, inserts and a delete growing."""

    directory: Path
    segment: str
    delete_file: str
    last_log_file: Path

    def object(self, path: str) -> Path:
        return self.directory / "objects" / path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Written:
    path = tmp_path_factory.mktemp("inspected") / "data"
    with DataDirectory.open(path) as directory:
        meta, objects = SqliteMetaStore(directory.meta), LocalObjectStore(directory.objects)
        broker = LocalLogBroker(directory.logs)
        broker.create("dml_0")
        collection = Collection(
            id=3, database_id=1, name="notes", schema=SCHEMA, channels=(CHANNEL,),
            partitions=(Partition(id=PARTITION, name="_default"),),
        )  # fmt: skip
        meta.txn(
            [],
            {
                keys.database(1): codec.encode(Database(id=1, name="default")),
                keys.collection(3): codec.encode(collection),
                keys.log("dml_0"): codec.encode(LogIdentity(identity=broker.identity("dml_0"))),
            },
        )
        insert = Header(channel=7, kind=Kind.INSERT)
        broker.append("dml_0", encode(insert, rows(SEALED)))
        broker.append("dml_0", encode(Header(channel=7, kind=Kind.FLUSH)))
        broker.append("dml_0", encode(insert, rows(GROWING)))
        deleted = pa.RecordBatch.from_pydict({KEY: np.arange(DELETED)})
        broker.append("dml_0", encode(Header(channel=7, kind=Kind.DELETE), deleted))
        segment, delete_file = seal(objects, path.parent)
        Manifests(meta, objects).edit(
            CHANNEL,
            "edit#1",
            {},
            lambda manifest: msgspec.structs.replace(
                manifest, floor_offset=FLOOR, floor_ts=99, segments=(segment,), delete_files=(delete_file,)
            ),
        )
        for store in (meta, objects, broker):
            store.close()
    return Written(path, segment.prefix, delete_file.path, path / "logs" / "dml_0" / f"{0:020d}.log")


def seal(objects: LocalObjectStore, scratch: Path) -> tuple[Segment, DeleteFile]:
    files = scratch / "segment"
    files.mkdir()
    table = pa.Table.from_batches([rows(SEALED)]).append_column(
        columns.TS, pa.array(np.arange(1, SEALED + 1, dtype=np.uint64))
    )
    summary = write_segment(table, SCHEMA, files)
    prefix = keys.segment_prefix(3, 7, keys.flushed_by(1), "s1")
    for name in summary.files:
        objects.put(f"{prefix}/{name}", files / name)
    segment = Segment(
        name="s1", prefix=prefix, rows=summary.rows, bytes=summary.bytes, min_ts=summary.min_ts,
        max_ts=summary.max_ts, partitions=summary.partitions, schema_version=1,
    )  # fmt: skip
    schema = delete_schema(SCHEMA)
    deletes = scratch / "deletes"
    write_delete_file(pa.table([pa.array([1], f.type) for f in schema], schema=schema), deletes)
    path = keys.delete_path(3, 7, keys.flushed_by(1), "d1")
    objects.put(path, deletes)
    return segment, DeleteFile(name="d1", path=path, rows=1, min_ts=1, max_ts=1)


@pytest.fixture
def written(made: Written, tmp_path: Path) -> Written:
    """A copy of its own to damage."""
    copy = tmp_path / "data"
    shutil.copytree(made.directory, copy)
    return Written(
        copy, made.segment, made.delete_file, copy / made.last_log_file.relative_to(made.directory)
    )


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_whole_directory_is_reported_without_problems(written: Written) -> None:
    report = inspect(written.directory, verify=True)
    assert report.problems == []
    [collection] = report.collections
    assert (collection.database, collection.name, collection.loaded) == ("default", "notes", False)
    assert collection.fields == ["id INT64", "vector FLOAT_VECTOR"]
    [channel] = collection.channels
    assert (channel.floor_offset, channel.sealed_rows, len(channel.segments)) == (FLOOR, SEALED, 1)
    assert (channel.delete_files, channel.manifest_version) == (1, 1)
    assert (channel.growing_records, channel.growing_rows, channel.growing_deletes) == (2, GROWING, DELETED)
    [log] = report.logs
    assert (log.start_offset, log.end_offset, log.files) == (0, 4, 1)
    assert log.records == {"INSERT": 2, "FLUSH": 1, "DELETE": 1}
    assert log.bytes == written.last_log_file.stat().st_size
    assert report.objects == sum(path.is_file() for path in (written.directory / "objects").rglob("*"))


def test_inspecting_changes_nothing(written: Written) -> None:
    before = contents(written.directory)
    inspect(written.directory, verify=True)
    assert contents(written.directory) == before


def test_inspecting_works_beside_a_process_that_has_the_directory(written: Written) -> None:
    with DataDirectory.open(written.directory) as directory:
        meta = SqliteMetaStore(directory.meta)
        meta.txn([], {keys.database(2): codec.encode(Database(id=2, name="second"))})
        report = inspect(written.directory)
        meta.close()
    assert report.problems == []
    assert f"process {os.getpid()} " in report.notes[0]


def test_writes_that_are_only_in_the_journal_are_seen(written: Written, tmp_path: Path) -> None:
    """A process that was killed leaves its last transactions in SQLite's write-ahead log."""
    killed = tmp_path / "killed"
    with DataDirectory.open(written.directory) as directory:
        meta = SqliteMetaStore(directory.meta)
        revision = meta.txn([], {"x": b"1"}).revision
        shutil.copytree(written.directory, killed)
        meta.close()
    assert inspect(killed).meta_revision == revision


Damage = Callable[[Written], None]


def lose_a_vector_file(written: Written) -> None:
    written.object(f"{written.segment}/101.arrow").unlink()


def shorten_a_segment_file(written: Written) -> None:
    file = written.object(f"{written.segment}/rows.parquet")
    file.write_bytes(file.read_bytes()[:-1])


def lose_the_statistics(written: Written) -> None:
    written.object(f"{written.segment}/stats.json").unlink()


def lose_a_delete_file(written: Written) -> None:
    written.object(written.delete_file).unlink()


def lose_the_manifest(written: Written) -> None:
    shutil.rmtree(written.object("manifests"))


def flip_a_bit_in_the_middle_of_the_log(written: Written) -> None:
    data = bytearray(written.last_log_file.read_bytes())
    data[300] ^= 1
    written.last_log_file.write_bytes(data)


def lose_a_log_file(written: Written) -> None:
    written.last_log_file.unlink()


def lose_a_log(written: Written) -> None:
    shutil.rmtree(written.last_log_file.parent)


def lose_all_logs(written: Written) -> None:
    shutil.rmtree(written.directory / "logs")


def lose_the_meta_store(written: Written) -> None:
    (written.directory / "meta.db").unlink()


def overwrite_the_meta_store(written: Written) -> None:
    (written.directory / "meta.db").write_bytes(b"not a database, but long enough to be looked at" * 50)


def make_a_newer_directory(written: Written) -> None:
    (written.directory / FORMAT_FILE).write_text('{"format": 99, "created_by": "9.0"}')


def make_a_newer_meta_store(written: Written) -> None:
    connection = sqlite3.connect(written.directory / "meta.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def garble_a_collection(written: Written) -> None:
    connection = sqlite3.connect(written.directory / "meta.db")
    connection.execute("UPDATE kv SET value = ? WHERE key = ?", (b"{", keys.collection(3)))
    connection.commit()
    connection.close()


def make_the_log_anew(written: Written) -> None:
    lose_a_log(written)
    broker = LocalLogBroker(written.directory / "logs")
    broker.create("dml_0")
    broker.close()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lose_a_vector_file, "101.arrow"),
        (shorten_a_segment_file, "rows.parquet"),
        (lose_the_statistics, "stats.json"),
        (lose_a_delete_file, "deletes/3/7/o1/d1"),
        (lose_the_manifest, "manifests/7/"),
        (flip_a_bit_in_the_middle_of_the_log, "is damaged"),
        (lose_a_log_file, "is missing"),
        (lose_a_log, "log dml_0, which is missing"),
        (lose_all_logs, "logs is missing"),
        (lose_the_meta_store, "meta.db is missing"),
        (overwrite_the_meta_store, "meta.db"),
        (make_a_newer_directory, "format 99, made by elanus 9.0"),
        (make_a_newer_meta_store, "format 99"),
        (garble_a_collection, keys.collection(3)),
        (make_the_log_anew, "made anew"),
    ],
)
def test_damage_is_a_problem_that_names_what_is_damaged(written: Written, damage: Damage, says: str) -> None:
    damage(written)
    found = inspect(written.directory).problems
    assert any(says in problem for problem in found), found


@pytest.mark.parametrize("name", ["101.arrow", "rows.parquet", "d1"])
def test_a_changed_byte_is_found_by_reading_everything(written: Written, name: str) -> None:
    file = written.object(written.delete_file if name == "d1" else f"{written.segment}/{name}")
    data = bytearray(file.read_bytes())
    data[len(data) // 4] ^= 1
    file.write_bytes(data)
    assert inspect(written.directory).problems == []
    [problem] = inspect(written.directory, verify=True).problems
    assert name in problem


def test_an_unfinished_write_at_the_end_is_a_note_not_a_problem(written: Written) -> None:
    with written.last_log_file.open("ab") as file:
        file.write(b"half a frame")
    report = inspect(written.directory)
    assert report.problems == []
    assert any("12 bytes of an unfinished write" in note for note in report.notes)
    assert report.logs[0].end_offset == 4


def test_objects_that_nothing_names_are_counted(written: Written) -> None:
    stray = written.object("segments/3/7/left/rows.parquet")
    stray.parent.mkdir()
    stray.write_bytes(b"12345")
    report = inspect(written.directory)
    assert report.problems == []
    assert any(note.startswith("1 objects with 5 bytes are named by nothing") for note in report.notes)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="not a data directory"):
        inspect(tmp_path)
