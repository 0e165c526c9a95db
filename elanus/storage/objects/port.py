"""Interface of the object store. Paths are relative, with `/`."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple, Protocol


class ObjectInfo(NamedTuple):
    path: str
    bytes: int
    modified_ms: int


class LocalFile(AbstractContextManager["LocalFile"], Protocol):
    """A local copy (or the object itself where the store is local), pinned until closed."""

    @property
    def path(self) -> Path: ...
    def close(self) -> None: ...


class ObjectStore(Protocol):
    """Durable when `put` returns. Raises the errors of `model.errors`: NotFoundError for a missing path,
    InvalidParameter for one that is absolute or has an empty part, '.' or '..'."""

    def put(self, path: str, data: bytes | memoryview | Path) -> None:
        """Stores bytes, or a local file (streamed, multipart). Overwrites."""

    def put_if_absent(self, path: str, data: bytes) -> None:
        """Raises ConflictError if the path exists, AmbiguousError where the answer was lost."""

    def get(self, path: str) -> bytes: ...
    def get_range(self, path: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises CorruptError when the object ends before."""

    def head(self, path: str) -> ObjectInfo: ...
    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects below the folder `prefix` ('': all), in path order."""

    def delete(self, path: str) -> None:
        """Nothing if it is not there."""

    def open_local(self, path: str) -> LocalFile:
        """A local file with the object's bytes that may be memory-mapped; never truncated while pinned."""

    def close(self) -> None: ...
