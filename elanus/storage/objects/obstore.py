"""Object stores that obstore speaks to, with its errors told in ours."""

import datetime
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from elanus.model.errors import (
    AmbiguousError,
    ConflictError,
    CorruptError,
    InvalidParameter,
    NotFoundError,
    RetriableStorageError,
    UnauthorisedError,
)
from elanus.storage.disk import disk_error
from elanus.storage.objects.path import check_path, check_prefix, check_range
from elanus.storage.objects.port import LocalFile, ObjectInfo

Store: TypeAlias = MemoryStore | S3Store | GCSStore | AzureStore


class CopiedFile:
    """A `LocalFile` that is a copy of the object; removed when it is closed (a mapping survives that)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    def close(self) -> None:
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> "CopiedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ObstoreObjectStore:
    """An `ObjectStore` over an obstore store. `copies` is the folder for local copies, None: the system's.

    What fails on the way is RetriableStorageError, but AmbiguousError for `put_if_absent`.
    """

    def __init__(self, store: Store, copies: Path | None = None) -> None:
        self._store = store
        self._copies = copies

    def put(self, path: str, data: bytes | memoryview | Path) -> None:
        check_path(path)
        source = data if isinstance(data, Path) else memoryview(data).cast("B")
        try:
            with _translated(path):
                obstore.put(self._store, path, source)
        except NotFoundError as error:
            if isinstance(data, Path) and not data.exists():
                raise NotFoundError(f"there is no file {data} to store as object {path}") from error
            raise

    def put_if_absent(self, path: str, data: bytes) -> None:
        check_path(path)
        try:
            with _translated(path):
                obstore.put(self._store, path, data, mode="create")
        except RetriableStorageError as error:
            raise AmbiguousError(f"object {path} may have been made or not: {error}") from error

    def get(self, path: str) -> bytes:
        check_path(path)
        with _translated(path):
            return bytes(obstore.get(self._store, path).bytes())

    def get_range(self, path: str, start: int, length: int) -> bytes:
        check_path(path)
        check_range(path, start, length)
        # A range that reaches past the end fails or is cut, depending on the store.
        size = self.head(path).bytes
        if start + length > size:
            raise CorruptError(f"object {path} ends at byte {size}, {start + length} were expected")
        if not length:
            return b""
        with _translated(path):
            return bytes(obstore.get_range(self._store, path, start=start, length=length))

    def head(self, path: str) -> ObjectInfo:
        check_path(path)
        with _translated(path):
            meta = obstore.head(self._store, path)
        return ObjectInfo(path, meta["size"], _ms(meta["last_modified"]))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        prefix = check_prefix(prefix)
        with _translated(prefix):
            for chunk in obstore.list(self._store, prefix or None):
                for meta in chunk:
                    yield ObjectInfo(meta["path"], meta["size"], _ms(meta["last_modified"]))

    def delete(self, path: str) -> None:
        check_path(path)
        try:
            with _translated(path):
                obstore.delete(self._store, path)
        except NotFoundError:
            return

    def open_local(self, path: str) -> LocalFile:
        check_path(path)
        try:
            fd, name = tempfile.mkstemp(prefix="elanus-object-", dir=self._copies)
            with os.fdopen(fd, "wb") as file:
                try:
                    with _translated(path):
                        for chunk in obstore.get(self._store, path).stream():
                            file.write(chunk)
                except BaseException:
                    os.unlink(name)
                    raise
        except OSError as error:
            raise disk_error(error, f"cannot copy object {path} to a local file") from error
        return CopiedFile(Path(name))

    def close(self) -> None:
        """obstore's connections end with it."""


def _ms(moment: datetime.datetime) -> int:
    return int(moment.timestamp() * 1000)


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise NotFoundError(f"there is no object {path}") from error
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise ConflictError(f"object {path} exists already") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise UnauthorisedError(f"no permission for object {path}: {error}") from error
    except (exceptions.InvalidPathError, exceptions.NotSupportedError, ValueError) as error:
        raise InvalidParameter(f"object {path}: {error}") from error
    except exceptions.BaseError as error:
        raise RetriableStorageError(f"object {path}: {error}") from error
