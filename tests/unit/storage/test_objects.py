"""What the conformance suite cannot ask of every object store."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import obstore
import pytest
from obstore import exceptions

from elanus.model.errors import (
    AmbiguousError,
    ConflictError,
    DiskFullError,
    ElanusError,
    InvalidParameter,
    NotFoundError,
    RetriableStorageError,
    UnauthorisedError,
)
from elanus.storage.objects.local import LocalObjectStore
from elanus.storage.objects.memory import MemoryObjectStore


def test_a_full_disk_leaves_the_old_object_and_nothing_else(
    tmp_path: Path, file_size_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    store = LocalObjectStore(tmp_path)
    store.put("a", b"old")
    source = tmp_path / "source"
    source.write_bytes(b"x" * 20_000)
    with file_size_limit(10_000):
        for data in (b"new" * 10_000, source):
            with pytest.raises(DiskFullError, match="free space"):
                store.put("a", data)
        with pytest.raises(DiskFullError):
            store.put_if_absent("b", b"x" * 20_000)
    source.unlink()
    assert store.get("a") == b"old"
    assert [info.path for info in store.list("")] == ["a"]
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a"]


def test_half_written_objects_of_a_crash_are_neither_listed_nor_kept(tmp_path: Path) -> None:
    LocalObjectStore(tmp_path).put("a", b"1")
    leftover = tmp_path / ".tmp" / "leftover"
    leftover.write_bytes(b"half")
    store = LocalObjectStore(tmp_path)
    assert not leftover.exists()
    leftover.write_bytes(b"being written")
    assert [info.path for info in store.list("")] == ["a"]
    for call in (store.get, store.delete, lambda path: list(store.list(path))):
        with pytest.raises(InvalidParameter, match="the store itself"):
            call(".tmp/leftover")


def test_an_object_cannot_lie_below_another(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    store.put("a", b"1")
    with pytest.raises(InvalidParameter, match="below another"):
        store.put("a/b", b"2")
    store.put("c/d", b"3")
    with pytest.raises(InvalidParameter, match="above"):
        store.put("c", b"4")


def test_a_mapped_local_object_is_the_object_itself(tmp_path: Path) -> None:
    store = LocalObjectStore(tmp_path)
    store.put("a/b", b"1")
    with store.open_local("a/b") as file:
        assert file.path == tmp_path / "a" / "b"


@pytest.mark.parametrize(
    ("theirs", "ours", "of_put_if_absent"),
    [
        (exceptions.GenericError("timed out"), RetriableStorageError, AmbiguousError),
        (exceptions.PermissionDeniedError("no"), UnauthorisedError, UnauthorisedError),
        (exceptions.UnauthenticatedError("who"), UnauthorisedError, UnauthorisedError),
        (exceptions.AlreadyExistsError("there"), ConflictError, ConflictError),
        (exceptions.PreconditionError("there"), ConflictError, ConflictError),
        (FileNotFoundError("no bucket"), NotFoundError, NotFoundError),
    ],
)
def test_errors_of_the_library_are_told_in_ours(
    monkeypatch: pytest.MonkeyPatch,
    theirs: Exception,
    ours: type[ElanusError],
    of_put_if_absent: type[ElanusError],
) -> None:
    # No server here that fails in these ways on demand.
    def fail(*_: object, **__: object) -> None:
        raise theirs

    store = MemoryObjectStore()
    for name in ("put", "get", "head"):
        monkeypatch.setattr(obstore, name, fail)
    with pytest.raises(ours, match="a/b"):
        store.put("a/b", b"")
    with pytest.raises(ours, match="a/b"):
        store.get("a/b")
    with pytest.raises(of_put_if_absent, match="a/b"):
        store.put_if_absent("a/b", b"")
