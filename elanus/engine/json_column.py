"""JSON columns by path: the values at one path of every row, by type, read once and kept.

Rows are parsed when a path is first asked for; every later filter on that path works on the vectors.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.model.errors import CorruptError

Bools = npt.NDArray[np.bool_]

ABSENT, BOOL, INT, FLOAT, STRING, ARRAY, OBJECT = range(7)
_TAGS: Mapping[type, int] = {
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STRING,
    list: ARRAY,
    dict: OBJECT,
    type(None): ABSENT,
}
_INT64 = range(-(1 << 63), 1 << 63)
MAX_PATHS = 64
"""Paths of one snapshot whose vectors are kept."""
MAX_DECODERS = 1024
"""Decoders for top-level keys that the process keeps."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Shredded:
    """What is at one path, a value a row. `tags` (n,) uint8 says which vector holds row i's value.

    JSON null counts as ABSENT. An integer beyond 64 bits is a FLOAT. `known` is False where the column itself
    is null; None: nowhere.
    """

    tags: npt.NDArray[np.uint8]
    known: Bools | None
    bools: Bools
    ints: npt.NDArray[np.int64]
    floats: npt.NDArray[np.float64]
    """INT values too, as the nearest double."""
    strings: pa.Array
    """large_string, null where the value is no string."""
    arrays: Mapping[int, list[Any]]
    """Row -> value, ARRAY only."""

    def lengths(self) -> "Shredded":
        """The length of each array, ABSENT elsewhere."""
        rows = np.fromiter(self.arrays, np.int64, len(self.arrays))
        ints = np.zeros_like(self.ints)
        ints[rows] = np.fromiter(map(len, self.arrays.values()), np.int64, len(self.arrays))
        tags = np.full_like(self.tags, ABSENT)
        tags[rows] = INT
        return Shredded(tags, self.known, self.bools, ints, ints.astype(np.float64), self.strings, {})


class JsonPaths:
    """Shredded vectors of one snapshot's JSON columns, the least recently used path forgotten first."""

    def __init__(self, max_paths: int = MAX_PATHS) -> None:
        self.max_paths = max_paths
        self._vectors: OrderedDict[tuple[int, Path], Shredded] = OrderedDict()
        self._lock = Lock()

    def get(self, field_id: int, path: Path, column: Callable[[], pa.Array]) -> Shredded:
        """The vectors at `path`; `column` gives the large_binary array where they are not there yet."""
        key = (field_id, path)
        with self._lock:
            found = self._vectors.get(key)
            if found is not None:
                self._vectors.move_to_end(key)
                return found
        made = shred(column(), path)
        with self._lock:
            self._vectors[key] = made
            while len(self._vectors) > self.max_paths:
                self._vectors.popitem(last=False)
        return made


def shred(column: pa.Array, path: Path) -> Shredded:
    """Parses every row of a large_binary array of UTF-8 JSON. Raises CorruptError."""
    values = _values(column, path)
    tags = np.fromiter((_TAGS[type(value)] for value in values), np.uint8, len(values))
    ints = np.zeros(len(values), np.int64)
    floats = np.zeros(len(values), np.float64)
    for row in np.flatnonzero(tags == INT).tolist():
        value = values[row]
        if value in _INT64:
            ints[row] = value
        else:
            tags[row] = FLOAT
        floats[row] = _nearest(value)
    for row in np.flatnonzero(tags == FLOAT).tolist():
        floats[row] = _nearest(values[row])
    strings = pa.array([v if type(v) is str else None for v in values], pa.large_string())
    bools = np.fromiter((v is True for v in values), np.bool_, len(values))
    arrays = {row: values[row] for row in np.flatnonzero(tags == ARRAY).tolist()}
    known = None if not column.null_count else column.is_valid().to_numpy(zero_copy_only=False)
    return Shredded(tags, known, bools, ints, floats, strings, arrays)


def _nearest(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _values(column: pa.Array, path: Path) -> list[Any]:
    """The value at `path` of each row, None where there is none."""
    decode, rest = _decoder(path)
    whole = msgspec.json.Decoder().decode
    values: list[Any] = []
    for row, raw in enumerate(column.to_pylist()):
        if raw is None:
            values.append(None)
            continue
        try:
            try:
                value, keys = decode(raw), rest
            except msgspec.ValidationError:
                value, keys = whole(raw), path
        except msgspec.DecodeError as error:
            raise CorruptError(f"row {row} of a JSON column cannot be read: {error}") from error
        values.append(_walk(value, keys) if keys else value)
    return values


def _decoder(path: Path) -> tuple[Callable[[bytes], Any], Path]:
    """A decoder that skips the document's other top-level keys, and the path below the key it takes."""
    if path and isinstance(path[0], str):
        key_decoder = _key_decoder(path[0])
        if key_decoder is not None:
            return key_decoder, path[1:]
    return msgspec.json.Decoder().decode, path


@lru_cache(maxsize=MAX_DECODERS)
def _key_decoder(key: str) -> Callable[[bytes], Any] | None:
    try:
        row = msgspec.defstruct("Row", [("value", Any, None)], rename={"value": key})
    except ValueError:  # a key with quotes or control characters
        return None
    decode = msgspec.json.Decoder(row).decode

    def value(raw: bytes) -> Any:
        return decode(raw).value  # type: ignore[attr-defined]  # the struct has one field, made above

    return value


def _walk(value: Any, keys: Path) -> Any:
    for key in keys:
        if isinstance(key, str) and isinstance(value, dict):
            value = value.get(key)
        elif isinstance(key, int) and isinstance(value, list) and key < len(value):
            value = value[key]
        else:
            return None
    return value
