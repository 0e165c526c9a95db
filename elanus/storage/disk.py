"""Durable files: what must be synced, and what the operating system's errors mean."""

import errno
import os
from pathlib import Path

from elanus.model.errors import DiskFullError, StorageError, UnauthorisedError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def disk_error(error: OSError, doing: str) -> StorageError:
    """The domain's error for an OSError; `doing` says what was tried, on which file."""
    message = f"{doing}: {error.strerror or error}"
    if error.errno in _FULL:
        return DiskFullError(f"{message}; free space on that disk (or raise its quota) and try again")
    if error.errno in _DENIED:
        return UnauthorisedError(f"{message}; the user of this process needs to read and write there")
    return StorageError(message)


def write_all(fd: int, data: bytes | memoryview, position: int) -> None:
    """Writes all of `data` at `position`, however many calls that takes. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, position)
        view = view[written:]
        position += written


def fsync_directory(path: Path) -> None:
    """Makes the names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durable(path: Path, data: bytes) -> None:
    """Creates or replaces a file atomically; durable on return. One writer per path. Raises OSError."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)
