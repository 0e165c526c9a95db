"""One local log: group commit, roll-back after a failed write, rolling and trimming of its files."""

import logging
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from elanus.model.errors import (
    AmbiguousError,
    CorruptError,
    InvalidParameter,
    NewerFormatError,
    NotFoundError,
    StorageError,
    TooLarge,
)
from elanus.storage.disk import disk_error, fsync_directory, write_all, write_durable
from elanus.storage.group_commit import GroupCommit
from elanus.storage.log.file import LogFile, base_of, path_of
from elanus.storage.log.frame import (
    FILE_HEADER_BYTES,
    FORMAT,
    FRAME_HEADER_BYTES,
    PAYLOAD_BYTES_LIMIT,
    FileHeader,
    encode_frame,
    payload_bytes,
)
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.port import Appended, Entry

logger = logging.getLogger(__name__)

STATE_FILE = "log.json"


class LogState(msgspec.Struct, frozen=True):
    """`log.json`: what the names of the files cannot tell."""

    format: int
    log: str
    identity: str
    start_offset: int = 0
    """Base of the first file; files below are what a crash left of a trim."""
    last_base: int = 0
    """The last file begins here or later."""

    def save(self, folder: Path) -> None:
        """Durable on return. Raises OSError."""
        write_durable(folder / STATE_FILE, msgspec.json.encode(self))


class _End(NamedTuple):
    """The durable end of the log; replaced as a whole, so that an interrupt never leaves half of it."""

    file: LogFile
    fd: int
    position: int
    last_frame: int | None
    offset: int
    append_ms: int


class LocalLog:
    """The writer's side and the shared state of one log. Safe to use from many threads."""

    def __init__(self, folder: Path, limits: LogLimits, clock: Callable[[], int]) -> None:
        """Opens and recovers. Raises CorruptError, NewerFormatError, StorageError."""
        self.folder = folder
        self.limits = limits
        self.changed = threading.Condition()
        """Notified when records became durable, a reader is woken, or the log ends."""
        self.gone: str = ""
        """Why readers must stop: the log was dropped or the broker closed."""
        self.tail: dict[int, Entry] = {}
        """The newest records by offset, without holes."""
        self._tail_bytes = 0
        self._clock = clock
        self._failure = ""
        self._files_lock = threading.Lock()
        self._group: GroupCommit[Sequence[bytes], list[Appended]] = GroupCommit(self._commit, limits.group)
        try:
            self._state = load_state(folder)
            self.files = self._open_files()
            last = self.files[-1]
            tail = last.recover()
            fd = os.open(last.path, os.O_RDWR)
        except OSError as error:
            raise disk_error(error, f"cannot open the log in {folder}") from error
        self._end = _End(last, fd, tail.position, tail.last_frame, tail.end_offset, tail.append_ms)
        self._tail_start = tail.end_offset

    @classmethod
    def create(cls, folder: Path, log: str) -> None:
        """Makes an empty log; it is there as a whole or not at all. Raises StorageError."""
        identity = uuid.uuid4()
        building = folder.with_name(f".new-{identity.hex}")
        try:
            building.mkdir()
            LogFile.create(building, FileHeader(0, -1, 0, 0, identity.bytes), LogLimits.index)
            LogState(FORMAT, log, identity.hex).save(building)
            building.rename(folder)
            fsync_directory(folder.parent)
        except OSError as error:
            shutil.rmtree(building, ignore_errors=True)
            raise disk_error(error, f"cannot create the log {folder}") from error

    @property
    def name(self) -> str:
        return self._state.log

    @property
    def identity(self) -> str:
        return self._state.identity

    @property
    def start_offset(self) -> int:
        return self._state.start_offset

    @property
    def end_offset(self) -> int:
        return self._end.offset

    def append(self, records: Sequence[bytes]) -> list[Appended]:
        size = payload_bytes(records)
        if size > min(self.limits.batch, PAYLOAD_BYTES_LIMIT):
            raise TooLarge(
                f"a batch of {size} bytes for log {self.name}; at most {self.limits.batch}: send less at once"
            )
        return self._group.submit(records, size)

    def file_of(self, offset: int) -> LogFile:
        """The file that holds `offset` (or will). Raises NotFoundError below the log's start."""
        for file in reversed(self.files):
            if file.base <= offset:
                return file
        raise below_start(self, offset)

    def file_after(self, file: LogFile) -> LogFile | None:
        """The next file, None behind the last one."""
        files = self.files
        return next((f for f in files if f.base > file.base), None)

    def trim(self, before: int) -> None:
        with self._files_lock:
            files = self.files
            keep = max((i for i, file in enumerate(files) if file.base <= before), default=0)
            if keep == 0:
                return
            try:
                self._save(msgspec.structs.replace(self._state, start_offset=files[keep].base))
                self.files = files[keep:]
                for file in files[:keep]:
                    file.path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error, f"cannot trim the log in {self.folder}") from error

    def end(self, reason: str) -> None:
        """No append or read succeeds from here on; waits for the one that is being written."""
        self.gone = reason
        with self.changed:
            self.changed.notify_all()
        self._group.drain()
        if self._end.fd >= 0:
            os.close(self._end.fd)
            self._end = self._end._replace(fd=-1)

    def _commit(self, batch: list[Sequence[bytes]]) -> list[list[Appended]]:
        if self.gone:
            raise StorageError(self.gone)
        if self._failure:
            raise StorageError(
                f"the log in {self.folder} takes no appends until it is reopened: {self._failure}"
            )
        records = batch[0] if len(batch) == 1 else [record for request in batch for record in request]
        offset = self.end_offset
        append_ms = max(self._end.append_ms, self._clock())
        if records:
            self._write(records, append_ms)
            with self.changed:
                self.changed.notify_all()
        appended = [Appended(offset + i, append_ms) for i in range(len(records))]
        if len(batch) == 1:
            return [appended]
        rest = iter(appended)
        return [list(islice(rest, len(request))) for request in batch]

    def _write(self, records: Sequence[bytes], append_ms: int) -> None:
        """One frame, durable and visible to readers on return."""
        size = FRAME_HEADER_BYTES + payload_bytes(records)
        if self._end.last_frame is not None and self._end.position + size > self.limits.file:
            self._roll()
        file, fd, position, _, offset, _ = self._end
        frame = encode_frame(file.seed, position, offset, append_ms, records)
        try:
            write_all(fd, frame, position)
            os.fdatasync(fd)
            file.note(offset, position)
            self._keep_in_memory(offset, append_ms, records)
            self._end = _End(file, fd, position + len(frame), position, offset + len(records), append_ms)
        except BaseException as error:
            self._roll_back(error)
            if isinstance(error, OSError):
                raise disk_error(error, f"cannot append {len(frame)} bytes to {file.path}") from error
            raise

    def _keep_in_memory(self, offset: int, append_ms: int, records: Sequence[bytes]) -> None:
        overhead = self.limits.entry_overhead
        for at, record in enumerate(records, offset):
            self.tail[at] = Entry(at, append_ms, record)
            self._tail_bytes += len(record) + overhead
        while self._tail_bytes > self.limits.tail and self._tail_start < offset + len(records):
            evicted = self.tail.pop(self._tail_start, None)
            self._tail_bytes -= len(evicted.data) + overhead if evicted else 0
            self._tail_start += 1

    def _roll(self) -> None:
        """Starts a new file. When that fails nothing has changed. Raises StorageError."""
        last, old_fd, position, _, offset, append_ms = self._end
        identity = uuid.UUID(hex=self.identity).bytes
        header = FileHeader(offset, last.base, position, append_ms, identity)
        with self._files_lock:
            try:
                file = LogFile.create(self.folder, header, self.limits.index)
                fd = os.open(file.path, os.O_RDWR)
                self.files = (*self.files, file)
                self._end = _End(file, fd, FILE_HEADER_BYTES, None, offset, append_ms)
            except BaseException as error:
                self._remove_file(offset, error)
                if isinstance(error, OSError):
                    raise disk_error(error, f"cannot start a new file in {self.folder}") from error
                raise
            os.close(old_fd)
            try:
                self._save(msgspec.structs.replace(self._state, last_base=file.base))
            except OSError as error:
                # `last_base` may lag: it only helps to notice that the newest files are missing.
                logger.warning("cannot update %s: %s", self.folder / STATE_FILE, error)

    def _remove_file(self, base: int, cause: BaseException) -> None:
        """Takes back a file that was not put to use: its predecessor goes on and will grow past its base."""
        if self._end.file.base == base:
            return
        try:
            self.files = tuple(file for file in self.files if file.base != base)
            path_of(self.folder, base).unlink(missing_ok=True)
            fsync_directory(self.folder)
        except OSError as error:
            self._failure = f"{cause}; removing the new file failed too: {error}"

    def _roll_back(self, cause: BaseException) -> None:
        """Takes back an unfinished frame. After a failed fsync the cached pages prove nothing: read again.

        Raises AmbiguousError where that fails too: the frame may be there when the log is reopened.
        """
        file, old_fd, position, last_frame, _, _ = self._end
        try:
            os.ftruncate(old_fd, position)
            os.fsync(old_fd)
            file.forget(position)
            fd = os.open(file.path, os.O_RDWR)
            self._end = self._end._replace(fd=fd)
            os.close(old_fd)
            if last_frame is not None and not file.verify(last_frame):
                raise CorruptError(f"{file.path}: the frame at byte {last_frame} did not survive")
        except (OSError, CorruptError) as error:
            self._failure = f"{cause}; taking it back failed too: {error}"
            raise AmbiguousError(
                f"an append to {file.path} failed and could not be taken back; it may be there after a "
                f"restart. The log takes no more until it is reopened: {self._failure}"
            ) from cause

    def _save(self, state: LogState) -> None:
        state.save(self.folder)
        self._state = state

    def _open_files(self) -> tuple[LogFile, ...]:
        """All files, headers checked; what a crash left of a trim is removed."""
        for path in left_of_a_trim(self.folder, self._state):
            path.unlink()
        return open_files(self.folder, self._state, self.limits.index)


def left_of_a_trim(folder: Path, state: LogState) -> list[Path]:
    """Files below the log's start."""
    return [p for p in folder.iterdir() if (base := base_of(p)) is not None and base < state.start_offset]


def open_files(folder: Path, state: LogState, index_bytes: int) -> tuple[LogFile, ...]:
    """The files of a log, headers checked; changes nothing.

    Raises CorruptError where the chain of bases and sizes has a hole.
    """
    identity = uuid.UUID(hex=state.identity).bytes
    bases = sorted((b, p) for p in folder.iterdir() if (b := base_of(p)) is not None)
    files = [LogFile.open(path, identity, index_bytes) for base, path in bases if base >= state.start_offset]
    if not files or files[0].base != state.start_offset:
        found = f"the first is {files[0].path.name}" if files else "there is none"
        raise CorruptError(f"{folder}: the file with offset {state.start_offset} is missing; {found}")
    for previous, file in pairwise(files):
        if file.header.previous_base != previous.base:
            raise CorruptError(
                f"{folder}: the file with offset {file.header.previous_base} is missing, "
                f"between {previous.path.name} and {file.path.name}"
            )
        size = previous.path.stat().st_size
        if size != file.header.previous_bytes:
            raise CorruptError(
                f"{previous.path} has {size} bytes; it was closed with {file.header.previous_bytes}"
            )
    if files[-1].base < state.last_base:
        raise CorruptError(f"{folder}: the file with offset {state.last_base} is missing, it was the last")
    return tuple(files)


def below_start(log: LocalLog, offset: int) -> NotFoundError:
    return NotFoundError(
        f"offset {offset} of log {log.name} is gone: the log begins at {log.start_offset} (it was trimmed)"
    )


def load_state(folder: Path) -> LogState:
    """Raises CorruptError or NewerFormatError with the file's name."""
    path = folder / STATE_FILE
    try:
        data = path.read_bytes()
        version = msgspec.json.decode(data, type=_Versioned).format
        if version > FORMAT:
            raise NewerFormatError(
                f"{path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
            )
        return msgspec.json.decode(data, type=LogState)
    except FileNotFoundError as error:
        raise CorruptError(f"{path} is missing; the folder holds a log and must name its identity") from error
    except msgspec.MsgspecError as error:
        raise CorruptError(f"{path} cannot be read: {error}") from error


class _Versioned(msgspec.Struct):
    format: int


def check_name(log: str) -> None:
    """Raises InvalidParameter unless the name can be a folder's."""
    if not log or log.startswith(".") or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in log):
        raise InvalidParameter(f"log name {log!r}: letters, digits, '-', '_' and '.', not beginning with '.'")
