"""A local log looked at from outside: read-only, without the broker and without the directory's lock."""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from elanus.model.errors import ElanusError
from elanus.storage.log.file import LogFile, Tail
from elanus.storage.log.frame import FILE_HEADER_BYTES, decode_entries, decode_frame_header
from elanus.storage.log.limits import LogLimits
from elanus.storage.log.local_log import LogState, load_state, open_files
from elanus.storage.log.port import Entry


@dataclass
class CheckedLog:
    """What was found in a log's folder. With `problems`, the figures cover what could be read."""

    name: str
    identity: str = ""
    start_offset: int = 0
    end_offset: int = 0
    last_append_ms: int = 0
    files: int = 0
    bytes: int = 0
    torn_bytes: int = 0
    """An unfinished write behind the last record, never acknowledged; the next start cuts it."""
    problems: list[str] = field(default_factory=list)
    checked: list[tuple[LogFile, Tail]] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Every good record in offset order; its data is valid until the next one is asked for."""
        for file, tail in self.checked:
            yield from entries_of(file, tail)


def check_log(folder: Path) -> CheckedLog:
    """Every frame of every file is read and compared with its checksum."""
    log = CheckedLog(folder.name)
    try:
        state = load_state(folder)
        files = open_files(folder, state, LogLimits.index)
    except ElanusError as error:
        log.problems.append(error.message)
        return log
    except OSError as error:
        log.problems.append(f"{folder} cannot be read: {error.strerror}")
        return log
    check_files(log, state, files)
    return log


def check_files(log: CheckedLog, state: LogState, files: tuple[LogFile, ...]) -> None:
    log.name, log.identity, log.start_offset = state.log, state.identity, state.start_offset
    log.end_offset = state.start_offset
    for file in files:
        log.files += 1
        log.bytes += file.path.stat().st_size
        try:
            tail, size = file.check()
        except ElanusError as error:
            log.problems.append(error.message)
            return
        log.checked.append((file, tail))
        log.end_offset, log.last_append_ms = tail.end_offset, tail.append_ms
        torn = size - tail.position
        if torn and file is files[-1]:
            log.torn_bytes = torn
        elif torn:
            log.problems.append(
                f"{file.path}: the frame at byte {tail.position} is damaged (offset {tail.end_offset}): "
                "acknowledged records are lost. Restore this file from a backup"
            )
            return


def entries_of(file: LogFile, tail: Tail) -> Iterator[Entry]:
    """The records of a file that was checked."""
    with (
        file.path.open("rb") as opened,
        mmap.mmap(opened.fileno(), tail.position, prot=mmap.PROT_READ) as data,
        memoryview(data) as view,
    ):
        position = FILE_HEADER_BYTES
        while position < tail.position:
            header = decode_frame_header(view, position, file.seed, position)
            if header is None:
                return
            frame = view[position : position + header.frame_bytes].tobytes()
            yield from decode_entries(memoryview(frame), 0, header)
            position += header.frame_bytes
