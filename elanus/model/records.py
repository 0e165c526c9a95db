"""Records: what a log carries (architecture, "Record").

Bytes: u8 format version, u8 padding, u32 little-endian header length, header (msgpack), padding so that the
Arrow IPC stream that follows (or nothing) starts at a multiple of 64.
"""

import struct
from enum import IntEnum

import msgspec
import pyarrow as pa

from elanus.model.errors import CorruptError, NewerFormatError

FORMAT = 1
_PREFIX = struct.Struct("<BBI")
_ALIGN = 64

KEY = "k"
"""Column of a Delete's body: primary keys."""


class Kind(IntEnum):
    INSERT = 1
    DELETE = 2
    UPSERT = 3
    FLUSH = 4
    DROP_PARTITION = 5
    TRUNCATE = 6
    SCHEMA_CHANGE = 7
    IMPORT_COMMIT = 8
    FENCE = 9
    DROP = 10


class Header(msgspec.Struct, frozen=True, array_like=True):
    """`channel` 0 addresses the log itself (a Fence)."""

    channel: int
    kind: Kind
    schema_version: int = 0
    epoch: int = 0
    partition_id: int = -1
    """Delete, DropPartition, Truncate: the scope; -1 is every partition."""
    as_of: int = 0
    """Delete by expression, DropPartition, Truncate: hides rows with ts <= as_of; 0: none given."""
    floor: int = 0
    """Fence: the record's timestamp is at least this."""
    intent: int = 0
    """DDL: the id of the persisted intent."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


class Record(msgspec.Struct, frozen=True):
    """A header and its rows (or keys). `body` is Arrow IPC, decoded on demand."""

    header: Header
    body: pa.Buffer | memoryview | bytes = b""

    def batch(self) -> pa.RecordBatch:
        """The body; zero-copy over the record's bytes."""
        with pa.ipc.open_stream(self.body) as reader:
            return reader.read_next_batch()


def encode(header: Header, batch: pa.RecordBatch | None = None) -> bytes:
    head = _encoder.encode(header)
    if batch is None:
        return _PREFIX.pack(FORMAT, 0, len(head)) + head
    padding = -(_PREFIX.size + len(head)) % _ALIGN
    sink = pa.BufferOutputStream()
    sink.write(_PREFIX.pack(FORMAT, padding, len(head)))
    sink.write(head)
    sink.write(bytes(padding))
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode(data: bytes | memoryview | pa.Buffer) -> Record:
    """Raises NewerFormatError or CorruptError."""
    view = memoryview(data)
    if len(view) < _PREFIX.size:
        raise CorruptError(f"a record has {len(view)} bytes; there are at least {_PREFIX.size}")
    version, padding, length = _PREFIX.unpack_from(view)
    if version > FORMAT:
        raise NewerFormatError(f"a record has format {version}; this elanus reads up to {FORMAT}: upgrade it")
    body = _PREFIX.size + length + padding
    if len(view) < body:
        raise CorruptError(f"a record has {len(view)} bytes; its header says that there are at least {body}")
    try:
        header = _decoder.decode(view[_PREFIX.size : _PREFIX.size + length])
    except msgspec.DecodeError as error:
        raise CorruptError(f"a record's header cannot be read: {error}") from error
    return Record(header, pa.py_buffer(data).slice(body))
