"""What lies in a data directory, read without opening it: for `elanus inspect`.

Nothing is changed, no lock is held. A problem is something that a start would refuse or a read would miss;
what the next start or the garbage collection mends by itself is a note.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from elanus.model import records
from elanus.model.errors import ElanusError, InvalidParameter
from elanus.model.nouns import (
    Channel,
    Collection,
    Database,
    DeleteFile,
    IndexDefinition,
    IndexFile,
    LoadIntent,
    LogIdentity,
    Manifest,
    ManifestPointer,
    Mark,
    Noun,
    Segment,
    ViewPointer,
)
from elanus.model.records import Kind
from elanus.model.schema import Schema
from elanus.model.timestamps import to_ms
from elanus.runtime.inspection_report import ChannelReport, CollectionReport, LogReport, Report, SegmentReport
from elanus.storage import codec, keys
from elanus.storage.directory import (
    FORMAT,
    FORMAT_FILE,
    LOCK_FILE,
    DataDirectory,
    DirectoryFormat,
    holder_of,
)
from elanus.storage.log.check import CheckedLog, check_log
from elanus.storage.meta.snapshot import Snapshot, read_snapshot

N = TypeVar("N", bound=Noun)

TEMPORARY_FOLDER = ".tmp"
"""Of the object store: what it is writing."""
ROW_KINDS = (Kind.INSERT, Kind.UPSERT)


def inspect(directory: Path, verify: bool = False) -> Report:
    """`verify`: also read every byte of segments, delete files and indexes and compare the checksums.

    Raises InvalidParameter where `directory` is not a data directory.
    """
    if not directory.exists():
        raise InvalidParameter(f"there is no directory {directory}")
    if not (directory / FORMAT_FILE).exists():
        raise InvalidParameter(
            f"{directory} is not a data directory of elanus: it has no {FORMAT_FILE}. "
            "Give the directory that `elanus serve --data` or Lite was given"
        )
    inspection = Inspection(directory, verify)
    inspection.run()
    return inspection.report


class Inspection:
    """One pass over a directory; what it finds goes into `report`."""

    def __init__(self, directory: Path, verify: bool) -> None:
        self.directory = directory
        # Not opened: it only knows what lies where.
        self.layout = DataDirectory(directory, -1)
        self.verify = verify
        self.report = Report(directory=str(directory), collections=[], logs=[], notes=[], problems=[])
        self.named: set[str] = set()
        """Paths of the objects that something in the directory names."""

    def run(self) -> None:
        self.read_format()
        in_use = self.check_use()
        logs = {log.name: log for log in self.read_logs()}
        try:
            snapshot = read_snapshot(self.layout.meta, in_use)
        except ElanusError as error:
            self.problem(error)
            snapshot = Snapshot(0, 0, ())
        self.report.meta_revision = snapshot.revision
        channels = self.read_collections(snapshot)
        self.read_views(snapshot)
        marks = {name: mark.offset for name, mark in self.by_name(snapshot, keys.MARKS, Mark)}
        for log in logs.values():
            self.report_log(log, marks.get(log.name, 0), channels)
        self.check_identities(snapshot, logs)
        self.check_positions(marks, channels, logs)
        if snapshot.items:
            self.count_objects()

    def read_format(self) -> None:
        file = self.directory / FORMAT_FILE
        try:
            found = msgspec.json.decode(file.read_bytes(), type=DirectoryFormat)
        except (msgspec.MsgspecError, OSError) as error:
            self.report.problems.append(f"{file} cannot be read: {error}")
            return
        self.report.format, self.report.created_by = found.format, found.created_by
        if found.format > FORMAT:
            self.report.problems.append(
                f"{self.directory} has format {found.format}, made by elanus {found.created_by}; "
                f"this elanus reads up to format {FORMAT}: upgrade it"
            )

    def check_use(self) -> bool:
        if not locked(self.directory / LOCK_FILE):
            return False
        holder = holder_of(self.directory)
        who = f"process {holder.pid} ({holder.command})" if holder else "another process"
        self.report.notes.append(
            f"{who} has the directory open: it changes while it is read, so look again before you "
            "believe a problem"
        )
        return True

    # Collections -------------------------------------------------------------------------------------------

    def read_collections(self, snapshot: Snapshot) -> dict[int, ChannelReport]:
        """The channels by id."""
        databases = {d.id: d.name for d in self.decoded(snapshot, keys.DATABASES, Database)}
        loads = {load.collection_id for load in self.decoded(snapshot, keys.LOADS, LoadIntent)}
        indexes = self.decoded(snapshot, keys.INDEXES, IndexDefinition)
        pointers = {item.key: item.value for item in snapshot.below(keys.MANIFESTS)}
        channels: dict[int, ChannelReport] = {}
        for collection in self.decoded(snapshot, keys.COLLECTIONS, Collection):
            report = CollectionReport(
                id=collection.id,
                database=databases.get(collection.database_id, str(collection.database_id)),
                name=collection.name,
                fields=[f"{f.name} {f.type.name}" for f in collection.schema.fields],
                partitions=[p.name for p in collection.partitions],
                indexes=[f"{i.name} {i.type}" for i in indexes if i.collection_id == collection.id],
                loaded=collection.id in loads,
                dropping=collection.dropping,
                channels=[self.read_channel(c, collection.schema, pointers) for c in collection.channels],
            )
            channels |= {channel.id: channel for channel in report.channels}
            self.report.collections.append(report)
        self.report.collections.sort(key=lambda c: (c.database, c.name))
        return channels

    def read_channel(self, channel: Channel, schema: Schema, pointers: dict[str, bytes]) -> ChannelReport:
        report = ChannelReport(
            id=channel.id,
            log=channel.log,
            start_offset=channel.start_offset,
            floor_offset=channel.start_offset,
            manifest_version=0,
            segments=[],
        )
        key = keys.manifest(channel.id)
        if key not in pointers:
            return report
        try:
            pointer = codec.decode(pointers[key], ManifestPointer, key)
            report.manifest_version, report.floor_offset = pointer.version, pointer.floor_offset
            path = keys.manifest_path(channel.id, pointer.name)
            body = self.read_object(path)
            if body is None:
                return report
            self.read_manifest(report, codec.decode(body, Manifest, path))
        except ElanusError as error:
            self.problem(error)
        return report

    def read_manifest(self, report: ChannelReport, manifest: Manifest) -> None:
        for segment in with_inputs(manifest.segments):
            self.check_segment(segment)
        for segment in manifest.segments:
            report.segments.append(
                SegmentReport(
                    name=segment.name,
                    rows=segment.rows,
                    bytes=segment.bytes + sum(index.bytes for index in segment.indexes),
                    first_ms=to_ms(segment.min_ts),
                    last_ms=to_ms(segment.max_ts),
                    indexes=[index.type for index in segment.indexes],
                )
            )
        for file in manifest.delete_files:
            self.check_delete_file(file)
        report.delete_files = len(manifest.delete_files)
        report.range_deletes = len(manifest.range_deletes)
        report.sealed_rows = manifest.rows
        report.bytes = sum(segment.bytes for segment in report.segments)

    def check_segment(self, segment: Segment) -> None:
        """Its files are there, as long as its statistics say, and of a format that can be read."""
        # Reading Arrow and Parquet takes a moment to import; a directory without segments needs none of it.
        from elanus.engine.segment_file import STATS_FILE, read_stats, verify_segment

        stats_path = f"{segment.prefix}/{STATS_FILE}"
        if self.check_object(stats_path, None):
            try:
                stats = read_stats(self.object_file(stats_path))
            except ElanusError as error:
                self.problem(error)
                return
            files = stats.files.items()
            whole = [self.check_object(f"{segment.prefix}/{name}", file.bytes) for name, file in files]
            if stats.rows != segment.rows:
                self.report.problems.append(
                    f"segment {segment.name} has {stats.rows} rows; its manifest says {segment.rows}"
                )
            if all(whole) and self.verify:
                try:
                    verify_segment(lambda name: self.object_file(f"{segment.prefix}/{name}"))
                except ElanusError as error:
                    self.problem(error)
        for index in segment.indexes:
            self.check_index(index)

    def check_index(self, index: IndexFile) -> None:
        # An index that searches the vectors themselves has no file.
        if index.path and self.check_object(index.path, index.bytes) and self.verify and index.metric:
            from elanus.engine.index import load

            try:
                load(index.type, self.object_file(index.path), index.metric)
            except ElanusError as error:
                self.problem(error)

    def check_delete_file(self, file: DeleteFile) -> None:
        if self.check_object(file.path, None) and self.verify:
            from elanus.engine.deletes import read_delete_file

            try:
                read_delete_file(self.object_file(file.path))
            except ElanusError as error:
                self.problem(error)

    def read_views(self, snapshot: Snapshot) -> None:
        for view in self.decoded(snapshot, keys.VIEWS, ViewPointer):
            self.check_object(keys.view_path(view.channel_id, view.name), None)

    # Logs --------------------------------------------------------------------------------------------------

    def read_logs(self) -> Iterator[CheckedLog]:
        folder = self.layout.logs
        if not folder.is_dir():
            self.report.problems.append(f"{folder} is missing; it holds what was written last")
            return
        for entry in sorted(folder.iterdir()):
            if not entry.is_dir():
                continue
            if entry.name.startswith("."):
                self.report.notes.append(f"{entry} was left by a crash; the next start removes it")
                continue
            log = check_log(entry)
            self.report.problems += log.problems
            if log.torn_bytes:
                self.report.notes.append(
                    f"log {log.name} ends with {log.torn_bytes} bytes of an unfinished write, never "
                    "acknowledged; the next start cuts it"
                )
            yield log

    def report_log(self, log: CheckedLog, flushed_below: int, channels: dict[int, ChannelReport]) -> None:
        self.report.logs.append(
            LogReport(
                name=log.name,
                identity=log.identity,
                start_offset=log.start_offset,
                end_offset=log.end_offset,
                flushed_below=flushed_below,
                last_append_ms=log.last_append_ms,
                files=log.files,
                bytes=log.bytes,
                records=self.count_records(log, channels),
            )
        )

    def count_records(self, log: CheckedLog, channels: dict[int, ChannelReport]) -> dict[str, int]:
        """Records by kind; what is growing is added to its channel."""
        kinds: Counter[str] = Counter()
        for entry in log.entries():
            try:
                record = records.decode(entry.data)
                kinds[record.header.kind.name] += 1
                channel = channels.get(record.header.channel)
                if channel is None or entry.offset < channel.floor_offset:
                    continue
                channel.growing_records += 1
                if record.header.kind in ROW_KINDS:
                    channel.growing_rows += record.batch().num_rows
                elif record.header.kind is Kind.DELETE:
                    channel.growing_deletes += record.batch().num_rows
            except (ElanusError, ValueError) as error:
                self.report.problems.append(
                    f"log {log.name}: the record at offset {entry.offset} cannot be read: {error}"
                )
        return dict(kinds)

    def check_identities(self, snapshot: Snapshot, logs: dict[str, CheckedLog]) -> None:
        """Rule 12: the logs are those that the stored offsets belong to."""
        for name, stored in self.by_name(snapshot, keys.LOGS, LogIdentity):
            log = logs.get(name)
            if log and log.identity and log.identity != stored.identity:
                self.report.problems.append(
                    f"log {name} was made anew: it is {log.identity}, its offsets belong to {stored.identity}"
                )

    def check_positions(
        self, marks: dict[str, int], channels: dict[int, ChannelReport], logs: dict[str, CheckedLog]
    ) -> None:
        """Rule 12: nothing that a channel still needs of its log is lost."""
        for channel in channels.values():
            log = logs.get(channel.log)
            start = max(channel.floor_offset, marks.get(channel.log, 0))
            if log is None:
                self.report.problems.append(f"channel {channel.id} is in log {channel.log}, which is missing")
            elif start < log.start_offset:
                self.report.problems.append(
                    f"channel {channel.id} is sealed below offset {start}, but log {log.name} begins at "
                    f"{log.start_offset}: the records between are lost"
                )
            elif channel.floor_offset > log.end_offset and not log.problems:
                self.report.problems.append(
                    f"channel {channel.id} is sealed below offset {channel.floor_offset}, but log {log.name} "
                    f"ends at {log.end_offset}: its newest records are lost"
                )

    # Objects -----------------------------------------------------------------------------------------------

    def object_file(self, path: str) -> Path:
        return self.layout.objects / path

    def check_object(self, path: str, expected_bytes: int | None) -> bool:
        """Notes that the object is named; False, with a problem, where it is missing or of another size."""
        self.named.add(path)
        try:
            size = self.object_file(path).stat().st_size
        except OSError as error:
            self.report.problems.append(f"object {path} cannot be read: {error.strerror}")
            return False
        if expected_bytes is not None and size != expected_bytes:
            self.report.problems.append(f"object {path} has {size} bytes instead of {expected_bytes}")
            return False
        return True

    def read_object(self, path: str) -> bytes | None:
        return self.object_file(path).read_bytes() if self.check_object(path, None) else None

    def count_objects(self) -> None:
        root = self.layout.objects
        loose_bytes = loose = 0
        for folder, folders, files in os.walk(root):
            if Path(folder) == root and TEMPORARY_FOLDER in folders:
                folders.remove(TEMPORARY_FOLDER)
            for name in files:
                file = Path(folder) / name
                size = file.stat().st_size
                self.report.objects += 1
                self.report.object_bytes += size
                if file.relative_to(root).as_posix() not in self.named:
                    loose += 1
                    loose_bytes += size
        if loose:
            self.report.notes.append(
                f"{loose} objects with {loose_bytes} bytes are named by nothing; they are old versions, or "
                "what a job left, and wait for garbage collection"
            )

    # Decoding ----------------------------------------------------------------------------------------------

    def decoded(self, snapshot: Snapshot, prefix: str, kind: type[N]) -> list[N]:
        return [noun for _, noun in self.by_name(snapshot, prefix, kind)]

    def by_name(self, snapshot: Snapshot, prefix: str, kind: type[N]) -> list[tuple[str, N]]:
        """(key without prefix, noun); what cannot be decoded is a problem."""
        found = []
        for item in snapshot.below(prefix):
            try:
                found.append((item.key.removeprefix(prefix), codec.decode(item.value, kind, item.key)))
            except ElanusError as error:
                self.problem(error)
        return found

    def problem(self, error: ElanusError) -> None:
        self.report.problems.append(error.message)


def with_inputs(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    """The segments and, of compacted ones, the inputs that are still listed."""
    for segment in segments:
        yield segment
        yield from with_inputs(segment.replaces)


def locked(file: Path) -> bool:
    """True if a process holds the directory's lock. Tries it for a moment; changes nothing."""
    try:
        fd = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
