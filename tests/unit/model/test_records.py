"""Records: what was encoded is decoded, and nothing else is taken for a record."""

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.records import FORMAT, Header, Kind, decode, encode

UINT = st.integers(0, 2**63 - 1)
HEADERS = st.builds(
    Header,
    channel=UINT,
    kind=st.sampled_from(Kind),
    schema_version=st.integers(0, 2**31),
    epoch=UINT,
    partition_id=st.integers(-1, 2**63 - 1),
    as_of=UINT,
    floor=UINT,
    intent=UINT,
)
BATCHES = st.none() | st.lists(
    st.tuples(st.integers(-(2**63), 2**63 - 1), st.text(max_size=5)), max_size=20
).map(
    lambda rows: pa.RecordBatch.from_arrays(
        [pa.array([r[0] for r in rows], pa.int64()), pa.array([r[1] for r in rows], pa.large_string())],
        names=["100", "101"],
    )
)


@given(header=HEADERS, batch=BATCHES, kind=st.sampled_from([bytes, memoryview, pa.py_buffer]))
def test_a_record_comes_back_as_it_was(header: Header, batch: pa.RecordBatch | None, kind: type) -> None:
    record = decode(kind(encode(header, batch)))
    assert record.header == header
    if batch is not None:
        assert record.batch().equals(batch)


def test_a_body_is_aligned_for_arrow_and_not_copied() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(range(1000), pa.int64())], names=["100"])
    data = pa.py_buffer(encode(Header(1, Kind.INSERT), batch))
    record = decode(data)
    assert isinstance(record.body, pa.Buffer)
    assert (record.body.address - data.address) % 64 == 0
    column = record.batch().column(0).buffers()[1]
    assert data.address <= column.address < data.address + data.size


@given(HEADERS)
def test_a_newer_format_is_refused_with_what_to_do(header: Header) -> None:
    data = bytearray(encode(header))
    data[0] = FORMAT + 1
    with pytest.raises(NewerFormatError, match=f"format {FORMAT + 1}; this elanus reads up to {FORMAT}"):
        decode(bytes(data))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused_as_corrupt(data: bytes) -> None:
    with suppress(CorruptError, NewerFormatError):
        decode(data)


@given(header=HEADERS, at=st.integers(0, 10_000))
def test_a_record_cut_short_in_its_header_is_corrupt(header: Header, at: int) -> None:
    data = encode(header)
    with pytest.raises(CorruptError):
        decode(data[: at % len(data)])
