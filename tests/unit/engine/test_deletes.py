"""Keys, deletes and their files."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.engine import deletes as deletes_module
from elanus.engine.deletes import Deletes, delete_schema, read_delete_file, write_delete_file
from elanus.engine.keys import LONGEST_VECTORISED, KeyIndex, Probe, hashes
from elanus.engine.visibility import DeletedRows
from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.types import DataType
from tests.unit.engine.samples import key_array, schema_of

STRINGS = st.text(max_size=20) | st.integers(0, 5).map(str) | st.just("x" * (LONGEST_VECTORISED + 3))


@given(
    keys=st.lists(STRINGS, max_size=30) | st.lists(st.integers(-3, 20), max_size=30),
    probe=st.lists(STRINGS, max_size=10) | st.lists(st.integers(-3, 20), max_size=10),
    cut=st.integers(0, 5),
)
@settings(max_examples=100, deadline=None)
def test_every_row_of_every_key_is_found(keys: list[object], probe: list[object], cut: int) -> None:
    if not keys or not probe or type(keys[0]) is not type(probe[0]):
        return
    kind = pa.int64() if isinstance(keys[0], int) else pa.large_string()
    array, wanted = pa.array(keys, kind)[cut:], pa.array(probe, kind)
    positions, rows = KeyIndex(array).match(Probe(wanted))
    expected = {(i, r) for i, p in enumerate(probe) for r, k in enumerate(keys[cut:]) if k == p}
    assert set(zip(positions.tolist(), rows.tolist(), strict=True)) == expected
    assert len(positions) == len(expected)


@given(strings=st.lists(st.text(max_size=40) | st.text(alphabet="a\0", max_size=20), unique=True, min_size=1))
@settings(max_examples=100, deadline=None)
def test_a_hash_depends_on_the_string_alone(strings: list[str]) -> None:
    together = hashes(pa.array(strings, pa.large_string()))
    alone = [int(hashes(pa.array([s], pa.large_string()))[0]) for s in strings]
    assert together.tolist() == alone
    assert len(set(alone)) == len(strings)


def test_strings_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elanus.engine.keys.hashes", lambda keys: np.zeros(len(keys), np.uint64))
    index = KeyIndex(pa.array(["a", "b", "a", "c"], pa.large_string()))
    positions, rows = index.match(Probe(pa.array(["a", "z"], pa.large_string())))
    assert positions.tolist() == [0, 0]
    assert rows.tolist() == [0, 2]


@pytest.mark.parametrize("key_type", [DataType.INT64, DataType.VARCHAR])
def test_a_delete_file_reads_back(key_type: DataType, tmp_path: Path) -> None:
    schema = schema_of(key_type)
    first = Deletes.from_record(key_array(schema, [5, 3]), -1, 10)
    second = Deletes.from_record(key_array(schema, [7]), 4, 20, as_of=15)
    both = Deletes.concat([first, second])
    write_delete_file(both.table, tmp_path / "deletes")
    read = read_delete_file(tmp_path / "deletes")
    assert read.table.equals(both.table)
    assert read.table.schema.equals(delete_schema(schema))
    assert read.bounds.tolist() == [9, 9, 15]
    assert read.partitions.tolist() == [-1, -1, 4]
    assert (read.min_ts, read.max_ts, read.max_bound, len(read)) == (10, 20, 15, 3)
    assert read.above(10).ts.tolist() == [20]
    assert len(read.above(20)) == 0


def test_a_damaged_or_newer_delete_file_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "the-deletes"
    deletes = Deletes.from_record(pa.array(range(1000)), -1, 10)
    write_delete_file(deletes.table, path)
    body = path.read_bytes()
    middle = len(body) // 4
    for damaged in (
        b"",
        body[:100],
        body[:-1],
        body[:middle] + bytes([body[middle] ^ 9]) + body[middle + 1 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(CorruptError, match="the-deletes"):
            read_delete_file(path)
    monkeypatch.setattr(deletes_module, "FORMAT", 3)
    write_delete_file(deletes.table, path)
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match="the-deletes has format 3; this elanus reads up to 1"):
        read_delete_file(path)


@given(
    events=st.lists(st.tuples(st.integers(0, 19), st.integers(1, 30)), max_size=60),
    batch=st.integers(1, 7),
    reads=st.lists(st.tuples(st.integers(0, 31), st.integers(0, 20), st.integers(0, 20)), max_size=20),
    ordered=st.booleans(),
)
@settings(max_examples=100, deadline=None)
def test_a_mask_hides_what_was_deleted_by_then_and_never_changes(
    events: list[tuple[int, int]], batch: int, reads: list[tuple[int, int, int]], ordered: bool
) -> None:
    if ordered:
        events = sorted(events, key=lambda e: e[1])
    deleted = DeletedRows()
    handed_out = []
    for step in range(0, len(events) + 1, batch):
        part = events[step : step + batch]
        rows, ts = [e[0] for e in part], [e[1] for e in part]
        deleted.add(np.array(rows, np.int64), np.array(ts, np.uint64), 20)
        for at_ts, start, stop in reads:
            if start >= stop:
                continue
            smallest = {
                r: min(t for q, t in events[: step + batch] if q == r) for r, _ in events[: step + batch]
            }
            mask = deleted.mask(at_ts, start, stop)
            expected = [smallest.get(r, 99) > at_ts for r in range(start, stop)]
            assert [True] * (stop - start) == expected if mask is None else mask.tolist() == expected
            if mask is not None:
                handed_out.append((mask, mask.copy()))
    assert all((mask == copy).all() for mask, copy in handed_out)
