"""JSON columns by path: the values at one path of every row, by type, read once and kept.

Rows are parsed when a path is first asked for; every later filter on that path works on the vectors.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
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
Rows = npt.NDArray[np.int64]

ABSENT, BOOL, INT, FLOAT, STRING, ARRAY, OBJECT = range(7)
TAGS: Mapping[type, int] = {
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STRING,
    list: ARRAY,
    dict: OBJECT,
    type(None): ABSENT,
}
INT64 = range(-(1 << 63), 1 << 63)
MAX_PATHS = 64
"""Paths of one block whose vectors are kept."""
MAX_VALUES = 1 << 22
"""Values of all these paths together, about 26 bytes each and the texts; one path is always kept."""
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
    arrays: "Arrays | None"
    """None where no value is an array."""

    def lengths(self) -> "Shredded":
        """The length of each array, ABSENT elsewhere."""
        ints, tags = np.zeros_like(self.ints), np.full_like(self.tags, ABSENT)
        if self.arrays is not None:
            ints[self.arrays.rows] = self.arrays.lengths
            tags[self.arrays.rows] = INT
        return Shredded(tags, self.known, self.bools, ints, ints.astype(np.float64), self.strings, None)

    def elements(self) -> tuple[Rows, "Shredded"]:
        """All elements of all arrays, and which row each is of."""
        arrays = self.arrays
        if arrays is None:
            return np.empty(0, np.int64), _of_values([])
        ends = np.cumsum(arrays.lengths)
        places = np.arange(int(ends[-1]) if len(ends) else 0)
        places += np.repeat(arrays.begins - (ends - arrays.lengths), arrays.lengths)
        return np.repeat(arrays.rows, arrays.lengths), placed(
            arrays.elements, len(places), np.arange(len(places)), places, None
        )

    def element(self, index: int) -> "Shredded":
        """The element at `index` of each array, ABSENT where there is none."""
        arrays = self.arrays
        if arrays is None:
            return placed(_of_values([]), len(self.tags), _NO_ROWS, _NO_ROWS, self.known)
        long = arrays.lengths > index
        rows, places = arrays.rows[long], arrays.begins[long] + index
        return placed(arrays.elements, len(self.tags), rows, places, self.known)

    def slice(self, start: int, stop: int) -> "Shredded":
        """Rows [start, stop); no copy but of where the arrays are."""
        if start == 0 and stop == len(self.tags):
            return self
        rows = slice(start, stop)
        arrays = self.arrays
        if arrays is not None:
            first, last = np.searchsorted(arrays.rows, (start, stop))
            mine = slice(first, last)
            arrays = Arrays(
                arrays.rows[mine] - start, arrays.begins[mine], arrays.lengths[mine], arrays.elements
            )
        return Shredded(
            self.tags[rows],
            None if self.known is None else self.known[rows],
            self.bools[rows],
            self.ints[rows],
            self.floats[rows],
            self.strings.slice(start, stop - start),
            arrays if arrays is not None and len(arrays.rows) else None,
        )


@dataclass(frozen=True)
class Arrays:
    """Row `rows[i]` (ascending) is the array `elements[begins[i] : begins[i] + lengths[i]]`."""

    rows: Rows
    begins: Rows
    lengths: Rows
    elements: Shredded


def concatenated(parts: Sequence[Shredded]) -> Shredded:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return _of_values([])
    known = None
    if any(p.known is not None for p in parts):
        known = np.concatenate(
            [np.ones(len(p.tags), np.bool_) if p.known is None else p.known for p in parts]
        )
    return Shredded(
        np.concatenate([p.tags for p in parts]),
        known,
        np.concatenate([p.bools for p in parts]),
        np.concatenate([p.ints for p in parts]),
        np.concatenate([p.floats for p in parts]),
        pa.concat_arrays([p.strings for p in parts]),
        _joined(parts),
    )


def _joined(parts: Sequence[Shredded]) -> Arrays | None:
    rows, begins, lengths, elements = [], [], [], []
    first = held = 0
    for part in parts:
        if part.arrays is not None:
            rows.append(part.arrays.rows + first)
            begins.append(part.arrays.begins + held)
            lengths.append(part.arrays.lengths)
            elements.append(part.arrays.elements)
            held += len(part.arrays.elements.tags)
        first += len(part.tags)
    if not rows:
        return None
    return Arrays(
        np.concatenate(rows), np.concatenate(begins), np.concatenate(lengths), concatenated(elements)
    )


class JsonPaths:
    """Shredded vectors of one block's JSON columns, the least recently used path forgotten first."""

    def __init__(self, max_paths: int = MAX_PATHS, max_values: int = MAX_VALUES) -> None:
        self.max_paths = max_paths
        self.max_values = max_values
        self._vectors: OrderedDict[tuple[int, Path], Shredded] = OrderedDict()
        self._lock = Lock()

    def get(self, field_id: int, path: Path, make: Callable[[], Shredded]) -> Shredded:
        """The vectors at `path`; `make` gives them where they are not there yet."""
        key = (field_id, path)
        with self._lock:
            found = self._vectors.get(key)
            if found is not None:
                self._vectors.move_to_end(key)
                return found
        made = make()
        self._put(key, made)
        return made

    def _put(self, key: tuple[int, Path], made: Shredded) -> None:
        with self._lock:
            self._vectors[key] = made
            most = max(1, min(self.max_paths, self.max_values // max(1, len(made.tags))))
            while len(self._vectors) > most:
                self._vectors.popitem(last=False)

    def followed_by(self, other: "JsonPaths") -> "JsonPaths":
        """What both know, for a block that holds the rows of both."""
        joined = JsonPaths(self.max_paths, self.max_values)
        with self._lock:
            mine = list(self._vectors.items())
        with other._lock:
            theirs = dict(other._vectors)
        for key, vectors in mine:
            if key in theirs:
                joined._put(key, concatenated([vectors, theirs[key]]))
        return joined

    def from_row(self, start: int) -> "JsonPaths":
        """The same without the first rows."""
        rest = JsonPaths(self.max_paths, self.max_values)
        with self._lock:
            mine = list(self._vectors.items())
        for key, vectors in mine:
            rest._put(key, vectors.slice(start, len(vectors.tags)))
        return rest


def shred(column: pa.Array, path: Path) -> Shredded:
    """Parses every row of a large_binary array of UTF-8 JSON. Raises CorruptError."""
    known = None if not column.null_count else column.is_valid().to_numpy(zero_copy_only=False)
    return _of_values(_values(column, path), known)


def _of_values(values: list[Any], known: Bools | None = None) -> Shredded:
    tags = np.fromiter((TAGS[type(value)] for value in values), np.uint8, len(values))
    ints = np.zeros(len(values), np.int64)
    floats = np.zeros(len(values), np.float64)
    for row in np.flatnonzero(tags == INT).tolist():
        value = values[row]
        if value in INT64:
            ints[row] = value
        else:
            tags[row] = FLOAT
        floats[row] = _nearest(value)
    for row in np.flatnonzero(tags == FLOAT).tolist():
        floats[row] = _nearest(values[row])
    strings = pa.array([v if type(v) is str else None for v in values], pa.large_string())
    bools = np.fromiter((v is True for v in values), np.bool_, len(values))
    arrays = None
    rows = np.flatnonzero(tags == ARRAY)
    if len(rows):
        lists = [values[row] for row in rows.tolist()]
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        elements = _of_values([item for items in lists for item in items])
        arrays = Arrays(rows, np.cumsum(lengths) - lengths, lengths, elements)
    return Shredded(tags, known, bools, ints, floats, strings, arrays)


_NO_ROWS = np.empty(0, np.int64)


def placed(source: Shredded, rows: int, at: Rows, places: Rows, known: Bools | None) -> Shredded:
    """`rows` rows, ABSENT but for rows `at`, which are `source`'s `places`."""
    tags, bools = np.zeros(rows, np.uint8), np.zeros(rows, np.bool_)
    ints, floats = np.zeros(rows, np.int64), np.zeros(rows, np.float64)
    for vector, given in (
        (tags, source.tags),
        (bools, source.bools),
        (ints, source.ints),
        (floats, source.floats),
    ):
        vector[at] = given[places]
    taken = np.full(rows, -1, np.int64)
    taken[at] = places
    strings = source.strings.take(pa.array(taken, mask=taken < 0))
    arrays = None
    if source.arrays is not None:
        index = np.searchsorted(source.arrays.rows, places)
        index[index == len(source.arrays.rows)] = 0
        hit = source.arrays.rows[index] == places
        if hit.any():
            chosen = index[hit]
            arrays = Arrays(
                at[hit],
                source.arrays.begins[chosen],
                source.arrays.lengths[chosen],
                source.arrays.elements,
            )
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
