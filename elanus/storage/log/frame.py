"""Framing of a log's files: one frame is one durable write, with all records of the callers that shared it.

File   = file header | frame | frame ...
Frame  = header (40 bytes) | count * u32 record lengths, padded to 8 | records, each padded to 8
All integers are little-endian. Checksums are CRC32C; that of a header is seeded with the log's identity, the
file's base offset and the frame's position, so that no bytes are a frame but where they were written.

A frame is written only after the one before it is durable. Hence a bad frame with a good one behind it is
damage, never a crash; a bad one at the end of the last file is what a crash leaves of an unfinished write.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c as crc32c
import numpy as np

from elanus.model.errors import CorruptError, NewerFormatError
from elanus.storage.log.port import Entry

FORMAT = 1
FRAME_MAGIC = b"\xe1FRM"
_FILE_MAGIC = b"ELANUSLG"
_ALIGN = 8

_FRAME = struct.Struct("<4sHHIIQQII")
"""magic, format, reserved, payload bytes, count, first offset, append_ms, payload CRC, header CRC."""
_FRAME_CRC = struct.Struct("<I")
_FILE = struct.Struct("<8sH6xQqQQ16s4xI")
"""magic, format, base offset, previous file's base (-1: none) and bytes, append_ms floor, identity, CRC."""

FRAME_HEADER_BYTES = _FRAME.size
FILE_HEADER_BYTES = _FILE.size
PAYLOAD_BYTES_LIMIT = (1 << 32) - 1

Buffer = bytes | memoryview


class FileHeader(NamedTuple):
    base: int
    previous_base: int
    previous_bytes: int
    append_ms: int
    """Append time of the newest record before this file."""
    identity: bytes

    @property
    def seed(self) -> int:
        return _extend(0, self.identity + self.base.to_bytes(8, "little"))


class FrameHeader(NamedTuple):
    payload_bytes: int
    records: int
    first_offset: int
    append_ms: int
    payload_crc: int

    @property
    def frame_bytes(self) -> int:
        return FRAME_HEADER_BYTES + self.payload_bytes

    @property
    def end_offset(self) -> int:
        return self.first_offset + self.records


def encode_file_header(header: FileHeader) -> bytes:
    body = _FILE.pack(_FILE_MAGIC, FORMAT, *header, 0)[:-4]
    return body + _extend(0, body).to_bytes(4, "little")


def decode_file_header(data: bytes, name: str) -> FileHeader:
    """Raises CorruptError, or NewerFormatError naming both formats; `name` is the file's path."""
    if len(data) < FILE_HEADER_BYTES:
        raise CorruptError(
            f"{name} has {len(data)} bytes; a log file begins with {FILE_HEADER_BYTES} of header"
        )
    magic, version, *fields, checksum = _FILE.unpack_from(data)
    if magic != _FILE_MAGIC or checksum != _extend(0, data[: FILE_HEADER_BYTES - 4]):
        raise CorruptError(f"{name} does not begin with a log file's header (byte 0)")
    if version > FORMAT:
        raise NewerFormatError(f"{name} has format {version}; this elanus reads up to {FORMAT}: upgrade it")
    return FileHeader(*fields)


def payload_bytes(records: Sequence[Buffer]) -> int:
    return _padded(4 * len(records)) + sum(_padded(len(record)) for record in records)


def encode_frame(
    seed: int, position: int, first_offset: int, append_ms: int, records: Sequence[Buffer]
) -> bytes:
    """The bytes of one frame, to be written at `position` of the file whose header has `seed`."""
    lengths = struct.pack(f"<{len(records)}I", *map(len, records))
    parts: list[Buffer] = [lengths, bytes(-len(lengths) % _ALIGN)]
    for record in records:
        parts += (record, bytes(-len(record) % _ALIGN))
    payload = b"".join(parts)
    head = _FRAME.pack(
        FRAME_MAGIC, FORMAT, 0, len(payload), len(records), first_offset, append_ms, _extend(0, payload), 0
    )[:-4]
    checksum = _extend(_at(seed, position), head)
    return b"".join((head, _FRAME_CRC.pack(checksum), payload))


def decode_frame_header(data: Buffer, at: int, seed: int, position: int) -> FrameHeader | None:
    """The header at `data[at:]`, or None where those bytes are not one. Raises NewerFormatError."""
    if len(data) - at < FRAME_HEADER_BYTES:
        return None
    magic, version, _, size, count, first_offset, append_ms, payload_crc, checksum = _FRAME.unpack_from(
        data, at
    )
    if magic != FRAME_MAGIC:
        return None
    if checksum != _extend(_at(seed, position), bytes(data[at : at + FRAME_HEADER_BYTES - 4])):
        return None
    if version > FORMAT:
        raise NewerFormatError(
            f"a log frame at byte {position} has format {version}; this elanus reads up to {FORMAT}: "
            "upgrade it"
        )
    return FrameHeader(size, count, first_offset, append_ms, payload_crc)


def payload_is_whole(data: Buffer, at: int, header: FrameHeader) -> bool:
    """True if the payload behind the header at `data[at:]` is there and has its checksum."""
    start = at + FRAME_HEADER_BYTES
    if len(data) - start < header.payload_bytes:
        return False
    # The checksum wants a read-only buffer without release hook; a NumPy view is one, a memoryview is not.
    payload = np.frombuffer(data, np.uint8, header.payload_bytes, start)
    return bool(crc32c.extend(0, payload) == header.payload_crc)


def decode_entries(data: memoryview, at: int, header: FrameHeader) -> list[Entry]:
    """The records of a frame whose payload is whole; their data are slices of `data`."""
    start = at + FRAME_HEADER_BYTES
    lengths = struct.unpack_from(f"<{header.records}I", data, start)
    start += _padded(4 * header.records)
    entries = []
    for offset, length in enumerate(lengths, header.first_offset):
        entries.append(Entry(offset, header.append_ms, data[start : start + length]))
        start += _padded(length)
    return entries


def _padded(length: int) -> int:
    return length + -length % _ALIGN


def _at(seed: int, position: int) -> int:
    return _extend(seed, position.to_bytes(8, "little"))


def _extend(checksum: int, data: bytes) -> int:
    return int(crc32c.extend(checksum, data))
