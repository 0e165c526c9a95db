"""The object store in a local directory, durable when `put` returns.

Not on obstore's local store: that one neither syncs files nor their directories, and lists in no order.
"""

import os
import shutil
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from elanus.model.errors import (
    ConflictError,
    CorruptError,
    InvalidParameter,
    NotFoundError,
    StorageError,
)
from elanus.storage.disk import disk_error, fsync_directory, write_all
from elanus.storage.objects.path import check_path, check_prefix, check_range
from elanus.storage.objects.port import LocalFile, ObjectInfo

_TEMPORARY = ".tmp"
_PLACING_ATTEMPTS = 8
"""A put that raced with another process's delete makes the emptied folder again, at most this often."""


class ObjectFile:
    """A `LocalFile` that is the object itself; a mapping of it survives the object's deletion."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    def close(self) -> None:
        """Nothing to give back."""

    def __enter__(self) -> "ObjectFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LocalObjectStore:
    """An `ObjectStore`. Objects are files; what is being written lies apart until it is whole."""

    def __init__(self, directory: Path, *, shared: bool = False) -> None:
        """Makes the directory where it is missing, removes what a crash left. Raises StorageError.

        `shared`: another process has it open, whose unfinished files stay.
        """
        self._directory = directory
        self._temporary = directory / _TEMPORARY
        self._folders = threading.Lock()
        """Held while a folder is made for an object or removed because it is empty."""
        try:
            if not shared:
                shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary.mkdir(parents=True, exist_ok=True)
            fsync_directory(directory)
            fsync_directory(directory.parent)
        except OSError as error:
            raise disk_error(error, f"cannot open the objects in {directory}") from error

    def put(self, path: str, data: bytes | memoryview | Path) -> None:
        self._put(path, data, os.replace)

    def put_if_absent(self, path: str, data: bytes) -> None:
        try:
            self._put(path, data, os.link)
        except FileExistsError as error:
            raise ConflictError(f"object {path} exists already") from error

    def get(self, path: str) -> bytes:
        target = self._target(path)
        try:
            return target.read_bytes()
        except OSError as error:
            raise _read_error(error, path) from error

    def get_range(self, path: str, start: int, length: int) -> bytes:
        check_range(path, start, length)
        target = self._target(path)
        try:
            fd = os.open(target, os.O_RDONLY)
            try:
                data = _read(fd, start, length)
            finally:
                os.close(fd)
        except OSError as error:
            raise _read_error(error, path) from error
        if len(data) < length:
            raise CorruptError(
                f"object {path} ends at byte {start + len(data)}, {start + length} were expected"
            )
        return data

    def head(self, path: str) -> ObjectInfo:
        target = self._target(path)
        try:
            return _info(path, target.stat())
        except OSError as error:
            raise _read_error(error, path) from error

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        prefix = check_prefix(prefix)
        if prefix:
            self._target(prefix)
        yield from self._walk(self._directory / prefix, prefix + "/" if prefix else "")

    def delete(self, path: str) -> None:
        target = self._target(path)
        try:
            target.unlink(missing_ok=True)
            with self._folders:
                self._remove_empty(target.parent)
        except NotADirectoryError:
            return
        except OSError as error:
            raise disk_error(error, f"cannot delete object {path}") from error

    def open_local(self, path: str) -> LocalFile:
        self.head(path)
        return ObjectFile(self._target(path))

    def close(self) -> None:
        """Nothing is open."""

    def _target(self, path: str) -> Path:
        if check_path(path).split("/", 1)[0] == _TEMPORARY:
            raise InvalidParameter(f"object path {path!r}: {_TEMPORARY!r} is kept for the store itself")
        return self._directory / path

    def _put(self, path: str, data: bytes | memoryview | Path, place: Callable[[Path, Path], None]) -> None:
        """Writes a synced temporary file and places it atomically. FileExistsError passes through."""
        target = self._target(path)
        temporary = self._temporary / uuid.uuid4().hex
        try:
            _write(temporary, data)
            self._place(temporary, target, place)
        except FileExistsError:
            raise
        except (IsADirectoryError, NotADirectoryError) as error:
            raise InvalidParameter(f"object path {path!r} is above or below another object's") from error
        except OSError as error:
            raise disk_error(error, f"cannot write object {path}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _place(self, temporary: Path, target: Path, place: Callable[[Path, Path], None]) -> None:
        for attempt in range(1, _PLACING_ATTEMPTS + 1):
            try:
                with self._folders:
                    self._make_folder(target.parent)
                    place(temporary, target)
                break
            except FileNotFoundError:
                if attempt == _PLACING_ATTEMPTS:
                    raise
        self._sync_up(target.parent)

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            if folder.is_file():
                raise NotADirectoryError(f"{folder} is an object") from error
            raise FileNotFoundError(f"{folder} was removed meanwhile") from error

    def _sync_up(self, folder: Path) -> None:
        """Syncs the folder and those above it: another thread may have made one and not synced it yet."""
        while True:
            # A folder that is gone was emptied meanwhile: the object is deleted again.
            with suppress(FileNotFoundError):
                fsync_directory(folder)
            if folder == self._directory:
                return
            folder = folder.parent

    def _remove_empty(self, folder: Path) -> None:
        while folder != self._directory:
            try:
                folder.rmdir()
            except OSError:
                # Not empty, or another thread was faster.
                return
            folder = folder.parent

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectInfo]:
        """In the order of whole paths, where a folder sorts as its name and a slash."""
        try:
            with os.scandir(folder) as found:
                entries = sorted(
                    (entry.name + "/" if entry.is_dir() else entry.name, entry) for entry in found
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise disk_error(error, f"cannot list the objects in {folder}") from error
        for name, entry in entries:
            if name.endswith("/"):
                if prefix or entry.name != _TEMPORARY:
                    yield from self._walk(folder / entry.name, prefix + name)
                continue
            try:
                info = _info(prefix + name, entry.stat())
            except FileNotFoundError:
                continue
            yield info


def _info(path: str, found: os.stat_result) -> ObjectInfo:
    if stat.S_ISDIR(found.st_mode):
        raise NotFoundError(f"there is no object {path}; it is a folder")
    return ObjectInfo(path, found.st_size, found.st_mtime_ns // 1_000_000)


def _write(path: Path, data: bytes | memoryview | Path) -> None:
    """Creates a file with these bytes, synced. Raises OSError; also where the source cannot be read."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        if isinstance(data, Path):
            try:
                shutil.copyfile(data, path)
            except FileNotFoundError as error:
                raise NotFoundError(f"there is no file {data} to store") from error
        else:
            write_all(fd, memoryview(data).cast("B"), 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(fd: int, start: int, length: int) -> bytes:
    data = os.pread(fd, length, start)
    while len(data) < length and (more := os.pread(fd, length - len(data), start + len(data))):
        data += more
    return data


def _read_error(error: OSError, path: str) -> StorageError:
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return NotFoundError(f"there is no object {path}")
    return disk_error(error, f"cannot read object {path}")
