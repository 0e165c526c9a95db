"""Index files of our own families: named NumPy arrays that are mapped, and a small header.

Bytes: the arrays one after the other, each at a multiple of 64; a JSON header; a footer with magic, format
version, CRC32C of everything before it, lengths of header and of all.
"""

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt

from elanus.model.errors import CorruptError, NewerFormatError

FORMAT = 1
_FOOTER = struct.Struct("<8sHHIQQ")
_MAGIC = b"elanusAX"
_ALIGN = 64
_CHECKSUM_BYTES = 4 << 20

# Any: each array has a dtype of its own.
Arrays = Mapping[str, npt.NDArray[Any]]


class _Place(msgspec.Struct, frozen=True):
    offset: int
    dtype: str
    shape: tuple[int, ...]


class _Header(msgspec.Struct, frozen=True):
    arrays: dict[str, _Place]
    facts: dict[str, Any]


def save(path: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    """`facts`: what JSON can hold. Not synced: the object store does that."""
    checksum, places = 0, {}
    with path.open("wb") as file:

        def write(data: bytes | memoryview) -> None:
            nonlocal checksum
            view = memoryview(data).cast("B")
            for start in range(0, len(view), _CHECKSUM_BYTES):
                checksum = google_crc32c.extend(checksum, bytes(view[start : start + _CHECKSUM_BYTES]))
            file.write(view)

        for name, array in arrays.items():
            write(bytes(-file.tell() % _ALIGN))
            places[name] = _Place(file.tell(), array.dtype.str, array.shape)
            if array.size:
                write(np.ascontiguousarray(array).data)
        header = msgspec.json.encode(_Header(places, facts))
        write(header)
        file.write(_FOOTER.pack(_MAGIC, FORMAT, 0, checksum, len(header), file.tell()))


def load(path: Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """The arrays, mapped and read-only, and the facts. Reads the file once to compare its checksum.

    Raises CorruptError or NewerFormatError with the file's name.
    """
    size = path.stat().st_size
    if size < _FOOTER.size:
        raise CorruptError(f"index file {path} has only {size} bytes")
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    magic, version, _, checksum, header_length, length = _FOOTER.unpack(mapped[size - _FOOTER.size :])
    if magic != _MAGIC:
        raise CorruptError(f"{path} is not an index file or is cut short: its footer is missing")
    if version > FORMAT:
        raise NewerFormatError(
            f"index file {path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
        )
    if length != size - _FOOTER.size:
        raise CorruptError(f"index file {path} has {size - _FOOTER.size} bytes of index instead of {length}")
    found = 0
    for start in range(0, length, _CHECKSUM_BYTES):
        found = google_crc32c.extend(found, mapped[start : min(start + _CHECKSUM_BYTES, length)])
    if found != checksum:
        raise CorruptError(f"index file {path} does not match its checksum")
    header = msgspec.json.decode(mapped[length - header_length : length], type=_Header)
    arrays = {name: _array(mapped, place) for name, place in header.arrays.items()}
    return arrays, header.facts


def _array(mapped: mmap.mmap, place: _Place) -> npt.NDArray[Any]:
    count = int(np.prod(place.shape, dtype=np.int64))
    if not count:
        return np.empty(place.shape, place.dtype)
    return np.frombuffer(mapped, place.dtype, count, place.offset).reshape(place.shape)
