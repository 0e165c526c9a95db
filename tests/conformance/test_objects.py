"""What every object store must do. A new implementation is one more entry of IMPLEMENTATIONS."""

import mmap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from elanus.model.errors import ConflictError, CorruptError, InvalidParameter, NotFoundError
from elanus.storage.objects.local import LocalObjectStore
from elanus.storage.objects.memory import MemoryObjectStore
from elanus.storage.objects.port import ObjectStore

Opener = Callable[[Path], AbstractContextManager[ObjectStore]]


@contextmanager
def local(directory: Path) -> Iterator[ObjectStore]:
    store = LocalObjectStore(directory / "objects")
    yield store
    store.close()


@contextmanager
def memory(directory: Path) -> Iterator[ObjectStore]:
    store = MemoryObjectStore()
    yield store
    store.close()


IMPLEMENTATIONS: dict[str, Opener] = {"local": local, "memory": memory}


@pytest.fixture(params=IMPLEMENTATIONS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    with IMPLEMENTATIONS[request.param](tmp_path) as opened:
        yield opened


def paths(store: ObjectStore, prefix: str) -> list[str]:
    return [info.path for info in store.list(prefix)]


def test_bytes_are_read_back_whole_and_in_ranges(store: ObjectStore) -> None:
    data = bytes(range(256)) * 100
    store.put("a/b.bin", data)
    store.put("a/view", memoryview(data)[5:10])
    store.put("empty", b"")
    assert store.get("a/b.bin") == data
    assert store.get("a/view") == data[5:10]
    assert store.get("empty") == b""
    assert store.get_range("a/b.bin", 100, 300) == data[100:400]
    assert store.get_range("a/b.bin", len(data), 0) == b""


def test_a_file_is_stored_with_its_bytes(store: ObjectStore, tmp_path: Path) -> None:
    data = b"0123456789abcdef" * 1_000_000
    source = tmp_path / "source"
    source.write_bytes(data)
    store.put("big", source)
    source.write_bytes(b"changed")
    assert store.get("big") == data
    with pytest.raises(NotFoundError, match="missing"):
        store.put("none", tmp_path / "missing")
    assert paths(store, "") == ["big"]


def test_a_put_replaces(store: ObjectStore) -> None:
    store.put("a", b"one")
    store.put("a", b"two")
    assert store.get("a") == b"two"


def test_a_range_past_the_end_is_refused(store: ObjectStore) -> None:
    store.put("a", b"123")
    for start, length in ((1, 3), (4, 1), (0, 100)):
        with pytest.raises(CorruptError, match="ends at byte"):
            store.get_range("a", start, length)
    with pytest.raises(InvalidParameter):
        store.get_range("a", -1, 1)


def test_what_is_not_there_is_not_found(store: ObjectStore) -> None:
    store.put("folder/a", b"")
    for path in ("missing", "folder/missing", "no/such/folder", "folder"):
        for call in (store.get, store.head, store.open_local):
            with pytest.raises(NotFoundError, match=path):
                call(path)
        with pytest.raises(NotFoundError, match=path):
            store.get_range(path, 0, 1)
    store.delete("missing")
    store.delete("folder/a/b")


def test_head_tells_size_and_time(store: ObjectStore) -> None:
    before = time.time() * 1000
    store.put("a", b"12345")
    info = store.head("a")
    assert (info.path, info.bytes) == ("a", 5)
    assert before - 2000 < info.modified_ms < time.time() * 1000 + 2000
    assert list(store.list("")) == [info]


def test_a_list_is_in_path_order_and_only_below_the_folder(store: ObjectStore) -> None:
    names = ["a/z", "a/b/c", "a/b-c", "a/b.c", "a/b0", "ab", "a-", "b/1", "a/b/d/e", "é", "Z"]
    for name in names:
        store.put(name, name.encode())
    assert paths(store, "") == sorted(names)
    below = sorted(n for n in names if n.startswith("a/"))
    assert paths(store, "a") == paths(store, "a/") == below
    assert paths(store, "a/b") == ["a/b/c", "a/b/d/e"]
    assert paths(store, "none") == []


def test_a_deleted_object_is_gone(store: ObjectStore) -> None:
    store.put("a/b", b"1")
    store.put("a/c", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert paths(store, "") == ["a/c"]
    store.delete("a/c")
    assert paths(store, "") == []
    store.put("a", b"a folder no more")
    assert store.get("a") == b"a folder no more"


def test_one_of_many_racing_puts_if_absent_wins(store: ObjectStore) -> None:
    threads = 8
    barrier = threading.Barrier(threads)

    def race(i: int) -> list[int]:
        won = []
        for round_ in range(20):
            barrier.wait()
            try:
                store.put_if_absent(f"race/{round_}", b"%d" % i * 1000)
                won.append(round_)
            except ConflictError:
                pass
        return won

    with ThreadPoolExecutor(threads) as pool:
        results = list(pool.map(race, range(threads)))
    assert sorted(r for won in results for r in won) == list(range(20))
    for i, won in enumerate(results):
        for round_ in won:
            assert store.get(f"race/{round_}") == b"%d" % i * 1000
    assert len(paths(store, "")) == 20


def test_a_reader_never_sees_half_an_object(store: ObjectStore) -> None:
    sizes = [1, 200_000, 3, 1_000_000]
    store.put("a", b"x")
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for size in sizes:
                store.put("a", b"x" * size)

    writer = threading.Thread(target=write)
    writer.start()
    seen = {len(store.get("a")) for _ in range(200)}
    listed = {path for _ in range(50) for path in paths(store, "")}
    stop.set()
    writer.join()
    assert seen <= set(sizes)
    assert listed == {"a"}


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(store: ObjectStore) -> None:
    def churn(i: int) -> None:
        for n in range(40):
            store.put(f"deep/er/{i}", b"%d" % n)
            assert store.get(f"deep/er/{i}") == b"%d" % n
            store.delete(f"deep/er/{i}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(churn, range(8)))
    assert paths(store, "") == []


def test_a_local_file_keeps_its_bytes_when_the_object_is_replaced_or_deleted(store: ObjectStore) -> None:
    store.put("a", b"first" * 10_000)
    with store.open_local("a") as file, file.path.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        store.put("a", b"second")
        assert mapped[:] == b"first" * 10_000
        store.delete("a")
        assert mapped[:] == b"first" * 10_000
    assert mapped[:] == b"first" * 10_000
    mapped.close()


@pytest.mark.parametrize(
    "path", ["", "/a", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\x00b", "x" * 300]
)
def test_paths_that_are_not_plain_are_refused(store: ObjectStore, path: str) -> None:
    for call in (store.get, store.head, store.delete, store.open_local):
        with pytest.raises(InvalidParameter):
            call(path)
    with pytest.raises(InvalidParameter):
        store.put(path, b"")
    with pytest.raises(InvalidParameter):
        store.put_if_absent(path, b"")
    if path.removesuffix("/") not in ("", "a"):
        with pytest.raises(InvalidParameter):
            list(store.list(path))
