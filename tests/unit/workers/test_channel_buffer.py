"""What a data node holds of a channel."""

import numpy as np
import pyarrow as pa
import pytest

from elanus.model.columns import PARTITION, TS
from elanus.model.errors import CorruptError
from elanus.model.nouns import Channel
from elanus.model.records import KEY, Header, Kind, decode, encode
from elanus.model.schema import Field, Schema
from elanus.model.timestamps import Position
from elanus.model.types import DataType
from elanus.workers.channel_buffer import ChannelBuffer, Seal

SCHEMA = Schema(fields=(Field(id=100, name="id", type=DataType.INT64, primary=True),))


@pytest.fixture
def buffer() -> ChannelBuffer:
    made = ChannelBuffer(
        collection_id=1,
        channel=Channel(id=2, log="log", start_offset=10, start_ts=100),
        schema=SCHEMA,
        floor=Position(10, 100),
        start=Position(10, 100),
        guard_revision=1,
    )
    made.join()
    return made


def apply(
    buffer: ChannelBuffer, offset: int, kind: Kind, keys: list[int] | None = None, as_of: int = 0
) -> None:
    """The record at `offset` has the timestamp 10 * offset."""
    batch = None
    if keys is not None:
        column = pa.array(keys, pa.int64())
        partition = pa.array(np.full(len(keys), 7), pa.int64())
        batch = (
            pa.RecordBatch.from_arrays([column], names=[KEY])
            if kind is Kind.DELETE
            else pa.RecordBatch.from_arrays([column, partition], names=["100", PARTITION])
        )
    header = Header(2, kind, partition_id=7 if kind is Kind.DROP_PARTITION else -1, as_of=as_of)
    buffer.apply(offset, 10 * offset, decode(encode(header, batch)))


def at(offset: int) -> Position:
    """Where everything below `offset` is applied."""
    return Position(offset, 10 * (offset - 1))


def test_a_cut_holds_what_lies_below_it_and_nothing_else(buffer: ChannelBuffer) -> None:
    apply(buffer, 11, Kind.INSERT, [1, 2])
    apply(buffer, 12, Kind.UPSERT, [2])
    apply(buffer, 13, Kind.DELETE, [1], as_of=115)
    apply(buffer, 14, Kind.DROP_PARTITION, as_of=120)
    apply(buffer, 15, Kind.INSERT, [3])
    cut = buffer.cut(at(15))
    assert [b.column("100").to_pylist() for b in cut.batches] == [[1, 2], [2]]
    assert [b.column(TS).to_pylist() for b in cut.batches] == [[110, 110], [120]]
    assert cut.deletes is not None
    assert cut.deletes.ts.tolist() == [120, 130]
    assert cut.deletes.bounds.tolist() == [119, 115]
    assert [(r.partition_id, r.ts, r.as_of) for r in cut.range_deletes] == [(7, 140, 120)]
    assert buffer.cut(at(11)).empty


def test_what_is_sealed_is_held_no_longer(buffer: ChannelBuffer) -> None:
    apply(buffer, 11, Kind.INSERT, [1, 2])
    apply(buffer, 15, Kind.INSERT, [3])
    assert buffer.unsealed().rows == {7: 3}
    cut = buffer.cut(at(13))
    buffer.unfinished = Seal(cut=cut, segment=None, deletes=None, edit="e")
    buffer.sealed(cut.end)
    held = buffer.unsealed()
    assert (held.floor, held.rows) == (at(13), {7: 1})
    assert buffer.unfinished is None
    assert 0 < held.bytes == buffer.bytes


def test_an_idle_channel_counts_as_sealed_up_to_where_it_is_applied(buffer: ChannelBuffer) -> None:
    assert buffer.sealed_to(at(50)) == at(50)
    apply(buffer, 60, Kind.INSERT, [1])
    assert buffer.sealed_to(at(70)) == buffer.floor
    buffer.sealed(at(61))
    assert buffer.sealed_to(at(55)) == at(61)


def test_a_channel_that_is_not_handed_over_yet_counts_as_sealed_up_to_its_floor(
    buffer: ChannelBuffer,
) -> None:
    buffer.joined = False
    assert buffer.sealed_to(at(50)) == buffer.floor
    apply(buffer, 11, Kind.INSERT, [1])
    apply(buffer, 12, Kind.FLUSH)
    assert not buffer.can_seal(at(50))
    assert not buffer.must_seal(at(50))
    assert not buffer.wait_sealed(0, 0)


def test_a_flush_record_asks_for_what_came_before_it(buffer: ChannelBuffer) -> None:
    apply(buffer, 11, Kind.FLUSH)
    apply(buffer, 12, Kind.INSERT, [1])
    assert not buffer.must_seal(at(13)), "the flush is older than the row"
    apply(buffer, 13, Kind.FLUSH)
    assert buffer.must_seal(at(14))
    buffer.sealed(at(14))
    apply(buffer, 14, Kind.INSERT, [1])
    assert not buffer.must_seal(at(15))


def test_nothing_is_sealed_that_the_tail_has_not_published(buffer: ChannelBuffer) -> None:
    apply(buffer, 12, Kind.INSERT, [1])
    apply(buffer, 13, Kind.FLUSH)
    assert not buffer.must_seal(at(12))
    assert buffer.must_seal(at(13))


def test_who_asks_by_timestamp_waits_until_that_is_sealed(buffer: ChannelBuffer) -> None:
    apply(buffer, 12, Kind.INSERT, [1])
    assert buffer.wait_sealed(119, 0)
    assert not buffer.wait_sealed(120, 0)
    buffer.ask(120)
    assert buffer.must_seal(at(13))
    buffer.sealed(at(13))
    assert buffer.wait_sealed(120, 0)


def test_a_dropped_channel_holds_nothing_and_is_never_called_sealed(buffer: ChannelBuffer) -> None:
    apply(buffer, 12, Kind.INSERT, [1])
    apply(buffer, 13, Kind.DROP)
    assert buffer.cut(at(14)).empty
    assert not buffer.can_seal(at(14))
    assert not buffer.wait_sealed(120, 0)


def test_a_record_of_an_unexpected_kind_is_refused_loudly(buffer: ChannelBuffer) -> None:
    with pytest.raises(CorruptError, match="channel 2: record kind IMPORT_COMMIT at offset 12"):
        apply(buffer, 12, Kind.IMPORT_COMMIT)
