"""Subscriptions to a local log: the newest records from memory, older ones from the files."""

import os
import time
from threading import TIMEOUT_MAX

from elanus.model.errors import CorruptError, StorageError
from elanus.storage.disk import disk_error
from elanus.storage.log.file import LogFile
from elanus.storage.log.frame import (
    FRAME_HEADER_BYTES,
    decode_entries,
    decode_frame_header,
    payload_is_whole,
)
from elanus.storage.log.local_log import LocalLog, below_start
from elanus.storage.log.port import Entry


class LocalSubscription:
    """A `Subscription`. Holds at most one open file, and none while it reads from memory."""

    def __init__(self, log: LocalLog, from_offset: int) -> None:
        self._log = log
        self._next = from_offset
        self._read: list[Entry] = []
        self._files = FileReader(log)
        self._woken = False
        self._closed = False

    def poll(self, timeout_seconds: float, max_entries: int) -> list[Entry]:
        if not self._wait(timeout_seconds):
            return []
        if self._next < self._log.start_offset:
            raise below_start(self._log, self._next)
        entries = self._from_memory(max_entries) or self._from_files(max_entries)
        self._next = entries[-1].offset + 1
        return entries

    def wake(self) -> None:
        with self._log.changed:
            self._woken = True
            self._log.changed.notify_all()

    def close(self) -> None:
        """A poll that waits returns []; so does every later one."""
        with self._log.changed:
            self._closed = True
            self._log.changed.notify_all()

    def _wait(self, timeout_seconds: float) -> bool:
        """True when there is something to read. Raises StorageError when the log is gone."""
        log = self._log
        deadline = time.monotonic() + timeout_seconds
        with log.changed:
            while not (self._woken or self._closed or log.gone or self._next < log.end_offset):
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not log.changed.wait(min(remaining, TIMEOUT_MAX)):
                    break
            woken, self._woken = self._woken, False
        if self._closed:
            self._files.close()
            return False
        if log.gone:
            self._files.close()
            raise StorageError(log.gone)
        return not woken and self._next < log.end_offset

    def _from_memory(self, max_entries: int) -> list[Entry]:
        tail, limit = self._log.tail, self._log.limits.poll
        entries: list[Entry] = []
        size = 0
        for offset in range(self._next, min(self._log.end_offset, self._next + max_entries)):
            entry = tail.get(offset)
            if entry is None:
                # Evicted meanwhile; whatever follows in `tail` would leave a hole.
                break
            size += len(entry.data)
            if entries and size > limit:
                break
            entries.append(entry)
        if entries:
            self._files.close()
            self._read = []
        return entries

    def _from_files(self, max_entries: int) -> list[Entry]:
        if not self._read:
            self._read = self._files.read(self._next, self._log.end_offset)
        limit = self._log.limits.poll
        count = size = 0
        for entry in self._read[:max_entries]:
            size += len(entry.data)
            if count and size > limit:
                break
            count += 1
        entries, self._read = self._read[:count], self._read[count:]
        return entries


class FileReader:
    """Reads frames one after the other. Not thread-safe."""

    def __init__(self, log: LocalLog) -> None:
        self._log = log
        self._file: LogFile | None = None
        self._fd = -1
        self._position = 0
        self._offset = 0
        """The first offset of the frame at `_position`."""

    def read(self, offset: int, end_offset: int) -> list[Entry]:
        """Entries from `offset` on: about one read's worth, at least one; `offset` < `end_offset`.

        Raises NotFoundError (trimmed), CorruptError naming file and byte.
        """
        try:
            self._seek(offset)
            entries: list[Entry] = []
            while not entries:
                entries = self._read(offset, end_offset)
            return entries
        except OSError as error:
            self.close()
            raise disk_error(error, f"cannot read the log in {self._log.folder}") from error

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._file = None

    def __del__(self) -> None:
        self.close()

    def _seek(self, offset: int) -> None:
        if self._file is not None and self._offset == offset:
            return
        self._open(self._log.file_of(offset), offset)

    def _open(self, file: LogFile, offset: int) -> None:
        self.close()
        try:
            self._fd = os.open(file.path, os.O_RDONLY)
        except FileNotFoundError as error:
            if offset < self._log.start_offset:
                raise below_start(self._log, offset) from error
            raise CorruptError(f"{file.path} is missing; it holds offset {offset}") from error
        self._file = file
        self._offset, self._position = file.locate(offset)

    def _read(self, offset: int, end_offset: int) -> list[Entry]:
        """The entries >= `offset` of the frames in one chunk; moves on by whole frames."""
        file = self._next_file_at_end()
        data = self._pread(self._log.limits.read)
        view = memoryview(data)
        at = 0
        entries: list[Entry] = []
        while self._offset < end_offset:
            header = decode_frame_header(view, at, file.seed, self._position)
            if header is None or header.first_offset != self._offset:
                if at and len(data) - at < FRAME_HEADER_BYTES:
                    break
                raise self._damaged(file)
            if len(data) - at < header.frame_bytes:
                if at:
                    break
                data = self._pread(header.frame_bytes)
                view = memoryview(data)
            if header.end_offset > offset:
                if not payload_is_whole(view, at, header):
                    raise self._damaged(file)
                found = decode_entries(view, at, header)
                entries += found[max(0, offset - header.first_offset) :]
            file.note(self._offset, self._position)
            at += header.frame_bytes
            self._position += header.frame_bytes
            self._offset = header.end_offset
            if at >= len(data):
                break
        return entries

    def _next_file_at_end(self) -> LogFile:
        assert self._file is not None
        following = self._log.file_after(self._file)
        if following is not None and self._offset >= following.base:
            if self._offset != following.base:
                raise CorruptError(
                    f"{self._file.path} runs into {following.path.name}: offset {self._offset}"
                )
            self._open(following, self._offset)
            return following
        return self._file

    def _pread(self, length: int) -> bytes:
        data = os.pread(self._fd, length, self._position)
        while len(data) < length:
            more = os.pread(self._fd, length - len(data), self._position + len(data))
            if not more:
                break
            data += more
        return data

    def _damaged(self, file: LogFile) -> CorruptError:
        position, offset = self._position, self._offset
        self.close()
        return CorruptError(
            f"{file.path}: the frame at byte {position} (offset {offset}) is damaged. "
            "Restore this file from a backup"
        )
