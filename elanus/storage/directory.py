"""The data directory: who has it open, in which format it is, and what lies where in it."""

import fcntl
import os
import sys
import time
from pathlib import Path

import msgspec

from elanus import __version__
from elanus.model.errors import CorruptError, DirectoryInUseError, InvalidParameter, NewerFormatError
from elanus.storage.disk import disk_error, write_durable

FORMAT = 1
LOCK_FILE = "lock"
FORMAT_FILE = "elanus.json"


class Holder(msgspec.Struct, frozen=True):
    """The process that has a directory open, as it wrote itself into the lock file."""

    pid: int
    command: str
    started: str
    """Local time, ISO 8601."""


class DirectoryFormat(msgspec.Struct, frozen=True):
    format: int
    created_by: str
    """Version of elanus."""


class DataDirectory:
    """An open data directory. The lock ends with `close` or with the process, however that dies."""

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: Path) -> "DataDirectory":
        """Makes the directory where it is missing.

        Raises DirectoryInUseError naming the process that has it, NewerFormatError naming both formats,
        CorruptError, InvalidParameter where the path is a file, StorageError.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_foreign(path)
            fd = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileExistsError, NotADirectoryError) as error:
            raise InvalidParameter(f"{path} is a file; a data directory is needed") from error
        except OSError as error:
            raise disk_error(error, f"cannot open the data directory {path}") from error
        try:
            _lock(fd, path)
            _check_format(path)
        except OSError as error:
            os.close(fd)
            raise disk_error(error, f"cannot open the data directory {path}") from error
        except BaseException:
            os.close(fd)
            raise
        return cls(path.resolve(), fd)

    @property
    def meta(self) -> Path:
        """The SQLite file of the meta store."""
        return self.path / "meta.db"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    def close(self) -> None:
        if self._lock_fd >= 0:
            # Empty, so that nobody reads a name that is no longer true.
            os.ftruncate(self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> "DataDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def holder_of(path: Path) -> Holder | None:
    """Who last wrote itself into the lock file of `path`; None where nobody did or it cannot be read."""
    try:
        return msgspec.json.decode((path / LOCK_FILE).read_bytes(), type=Holder)
    except (OSError, msgspec.MsgspecError):
        return None


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = holder_of(path)
        if holder is None:
            who = "another process"
        elif holder.pid == os.getpid():
            who = f"this process (pid {holder.pid})"
        else:
            who = f"process {holder.pid} ({holder.command}), since {holder.started}"
        raise DirectoryInUseError(
            f"{path} is in use by {who}; close it there, or use another directory"
        ) from error
    holder = Holder(os.getpid(), " ".join(sys.orig_argv), time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    os.ftruncate(fd, 0)
    os.pwrite(fd, msgspec.json.encode(holder), 0)


def _refuse_foreign(path: Path) -> None:
    """Before anything is written into it."""
    others = sorted(entry.name for entry in path.iterdir() if entry.name != LOCK_FILE)
    if others and FORMAT_FILE not in others:
        raise InvalidParameter(
            f"{path} is not a data directory of elanus (it has no {FORMAT_FILE}) and not empty: it holds "
            f"{others[0]}; name an empty or a new directory"
        )


def _check_format(path: Path) -> None:
    """Reads the format file, or writes it in a new directory."""
    file = path / FORMAT_FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        write_durable(file, msgspec.json.encode(DirectoryFormat(FORMAT, __version__)))
        return
    try:
        found = msgspec.json.decode(data, type=DirectoryFormat)
    except msgspec.MsgspecError as error:
        raise CorruptError(f"{file} cannot be read: {error}") from error
    if found.format > FORMAT:
        raise NewerFormatError(
            f"{path} has format {found.format}, made by elanus {found.created_by}; "
            f"elanus {__version__} reads up to format {FORMAT}: upgrade it"
        )
