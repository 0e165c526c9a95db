"""The bounded cache of files, and of columns on top of it."""

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from elanus.storage.objects.cache import FileCache
from elanus.workers.column_cache import ColumnCache, ColumnLimits


def writer(size: int, made: list[int] | None = None):  # type: ignore[no-untyped-def]
    def write(path: Path) -> None:
        if made is not None:
            made.append(size)
        path.write_bytes(b"x" * size)

    return write


def test_a_file_is_made_once_and_found_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 100)
    made: list[int] = []
    for _ in range(3):
        with cache.open("a", writer(10, made)) as file:
            assert file.path.read_bytes() == b"x" * 10
    assert made == [10]


def test_the_longest_unused_file_goes_when_there_is_no_room(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 25)
    paths = {}
    for key in ("a", "b", "a", "c"):
        with cache.open(key, writer(10)) as file:
            paths[key] = file.path
    assert [k for k, p in paths.items() if p.exists()] == ["a", "c"]
    assert cache.bytes == 20


def test_a_pinned_file_stays_beyond_the_limit_until_it_is_closed(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 5)
    first = cache.open("a", writer(10))
    second = cache.open("b", writer(10))
    assert first.path.exists()
    assert second.path.exists()
    first.close()
    assert not first.path.exists()
    second.close()
    assert cache.bytes == 0


def test_what_is_mapped_can_be_read_after_its_file_has_gone(tmp_path: Path) -> None:
    files = FileCache(tmp_path / "cache", 1)
    columns = ColumnCache(files, ColumnLimits(small_bytes=1, memory_bytes=1))
    wanted = np.arange(10_000)
    values = columns.get("s/1", lambda: pa.array(wanted))
    columns.get("s/2", lambda: pa.array(wanted))
    assert list((tmp_path / "cache").iterdir()) != []
    columns.forget("s")
    assert list((tmp_path / "cache").iterdir()) == []
    assert np.array_equal(values.to_numpy(), wanted)


def test_a_file_that_is_missing_is_made_again(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 100)
    with cache.open("a", writer(10)) as file:
        file.path.unlink()
    with cache.open("a", writer(10)) as file:
        assert file.path.exists()
    assert cache.bytes == 10


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache", 100)

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.open("a", fail)
    assert list((tmp_path / "cache").iterdir()) == []
    with cache.open("a", writer(10)) as file:
        assert file.path.exists()


def test_what_an_earlier_process_left_goes(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "old").write_bytes(b"old")
    FileCache(tmp_path / "cache", 100)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("small", [True, False])
def test_a_column_is_read_once_by_many_threads_and_again_after_it_had_to_go(
    tmp_path: Path, small: bool
) -> None:
    limits = ColumnLimits(small_bytes=1 << 20 if small else 1, memory_bytes=2000)
    columns = ColumnCache(FileCache(tmp_path / "cache", 2000), limits)
    reads: list[str] = []

    def read(key: str) -> pa.Array:
        reads.append(key)
        return pa.array(np.arange(100))

    threads = [threading.Thread(target=columns.get, args=("s/1", lambda: read("1"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["1"]
    columns.get("s/2", lambda: read("2"))
    columns.get("t/3", lambda: read("3"))
    columns.get("s/1", lambda: read("1"))
    assert reads == ["1", "2", "3", "1"]
    assert sum(columns.bytes) <= 2000
    columns.forget("s")
    columns.forget("t")
    assert columns.bytes == (0, 0)
