"""One append file of a log: its creation, its recovery, and where in it an offset lies."""

import logging
import mmap
import os
import threading
from bisect import bisect_right
from pathlib import Path
from typing import NamedTuple

from elanus.model.errors import CorruptError
from elanus.storage.disk import fsync_directory, write_durable
from elanus.storage.log.frame import (
    FILE_HEADER_BYTES,
    FRAME_MAGIC,
    FileHeader,
    decode_file_header,
    decode_frame_header,
    encode_file_header,
    payload_is_whole,
)

logger = logging.getLogger(__name__)

_SUFFIX = ".log"
_DIGITS = 20


def path_of(folder: Path, base: int) -> Path:
    return folder / f"{base:0{_DIGITS}d}{_SUFFIX}"


def base_of(path: Path) -> int | None:
    """The first offset of a log file, from its name; None where it is not one."""
    digits = path.name.removesuffix(_SUFFIX)
    if path.suffix != _SUFFIX or len(digits) != _DIGITS or not digits.isdecimal():
        return None
    return int(digits)


class Tail(NamedTuple):
    """Where the next frame goes, as recovery found it."""

    position: int
    end_offset: int
    append_ms: int
    last_frame: int | None
    """Position of the last frame, None in an empty file."""


class LogFile:
    """A file of frames. Knows positions only sparsely: one per `index_bytes` that were written or read."""

    def __init__(self, path: Path, header: FileHeader, index_bytes: int) -> None:
        self.path = path
        self.header = header
        self.base = header.base
        self.seed = header.seed
        self._index_bytes = index_bytes
        self._offsets = [header.base]
        self._positions = [FILE_HEADER_BYTES]
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path, header: FileHeader, index_bytes: int) -> "LogFile":
        """Durable with its header on return. Raises OSError."""
        path = path_of(folder, header.base)
        write_durable(path, encode_file_header(header))
        return cls(path, header, index_bytes)

    @classmethod
    def open(cls, path: Path, identity: bytes, index_bytes: int) -> "LogFile":
        """Reads the header only. Raises CorruptError, NewerFormatError, OSError."""
        with path.open("rb") as file:
            header = decode_file_header(file.read(FILE_HEADER_BYTES), str(path))
        if header.identity != identity:
            raise CorruptError(
                f"{path} belongs to another log ({header.identity.hex()}, not {identity.hex()})"
            )
        if header.base != base_of(path):
            raise CorruptError(f"{path} holds offsets from {header.base} on, not those of its name")
        return cls(path, header, index_bytes)

    def note(self, offset: int, position: int) -> None:
        """A frame that begins with `offset` is at `position`."""
        with self._lock:
            if position >= self._positions[-1] + self._index_bytes:
                self._offsets.append(offset)
                self._positions.append(position)

    def locate(self, offset: int) -> tuple[int, int]:
        """(offset, position) of a frame at or before the one that holds `offset`."""
        with self._lock:
            at = bisect_right(self._offsets, offset) - 1
            return self._offsets[at], self._positions[at]

    def forget(self, position: int) -> None:
        """Nothing is known any more of what lies at or behind `position`."""
        with self._lock:
            while len(self._positions) > 1 and self._positions[-1] >= position:
                self._positions.pop()
                self._offsets.pop()

    def recover(self) -> Tail:
        """Checks every frame, cuts a torn tail and makes the rest durable.

        Raises CorruptError naming file and byte where a bad frame has a good one behind it.
        """
        tail, size = self.check()
        with self.path.open("r+b") as file:
            if tail.position < size:
                logger.warning(
                    "%s: cut an unfinished write, never acknowledged: %d bytes at byte %d (offset %d)",
                    self.path,
                    size - tail.position,
                    tail.position,
                    tail.end_offset,
                )
                file.truncate(tail.position)
            # After a kill the pages may be complete yet not on disk.
            os.fsync(file.fileno())
        fsync_directory(self.path.parent)
        return tail

    def check(self) -> tuple[Tail, int]:
        """Checks every frame and changes nothing: where the good ones end, and the file's size in bytes.

        Raises CorruptError naming file and byte where a bad frame has a good one behind it.
        """
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            with mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as data, memoryview(data) as view:
                tail = self._scan(view)
                if tail.position < size:
                    self._refuse_good_frame_behind(data, view, tail.position)
        return tail, size

    def verify(self, position: int) -> bool:
        """True if the last frame, at `position`, is whole on disk (as far as one can look past the cache)."""
        fd = os.open(self.path, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            data = os.pread(fd, os.fstat(fd).st_size - position, position)
        finally:
            os.close(fd)
        header = decode_frame_header(data, 0, self.seed, position)
        return header is not None and payload_is_whole(data, 0, header)

    def _scan(self, view: memoryview) -> Tail:
        position, offset, append_ms = FILE_HEADER_BYTES, self.base, self.header.append_ms
        last_frame = None
        while True:
            header = decode_frame_header(view, position, self.seed, position)
            if header is None or not payload_is_whole(view, position, header):
                return Tail(position, offset, append_ms, last_frame)
            if header.first_offset != offset or header.append_ms < append_ms:
                raise CorruptError(
                    f"{self.path}: the frame at byte {position} begins with offset {header.first_offset} at "
                    f"{header.append_ms} ms, expected {offset} at {append_ms} ms or later"
                )
            self.note(offset, position)
            last_frame = position
            position += header.frame_bytes
            offset, append_ms = header.end_offset, header.append_ms

    def _refuse_good_frame_behind(self, data: mmap.mmap, view: memoryview, position: int) -> None:
        behind = data.find(FRAME_MAGIC, position + 1)
        while behind != -1:
            header = decode_frame_header(view, behind, self.seed, behind)
            if header is not None and payload_is_whole(view, behind, header):
                raise CorruptError(
                    f"{self.path}: the frame at byte {position} is damaged, and a good one follows at byte "
                    f"{behind} (offset {header.first_offset}): acknowledged records are lost. "
                    "Restore this file from a backup"
                )
            behind = data.find(FRAME_MAGIC, behind + 1)
