"""What a scalar index is built from: (row, value) pairs, and the distinct values in order."""

import bisect
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from elanus.engine.filter_array import bounds as list_bounds
from elanus.engine.json_column import BOOL, FLOAT, INT, STRING, Shredded
from elanus.expr.plan import Kind
from elanus.model.schema import Field
from elanus.model.types import DataType

# Any: one dtype a field type.
Numbers = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

_EXACT = 1 << 53
"""Integers below it are doubles without loss."""
_ARRAY = "ARRAY_"


class SortedValues:
    """Distinct values, ascending: numbers, or text in the order of its UTF-8 bytes."""

    def __init__(self, values: Numbers | pa.Array) -> None:
        self._values = values
        self.text = isinstance(values, pa.Array)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def strings(self) -> Any:  # pyarrow is untyped
        """large_string array."""
        return self._values

    def bounds(self, op: str, value: Any) -> tuple[int, int]:
        """First and last (exclusive) place of the values that compare so; `op` is not `!=`."""
        if self.text != isinstance(value, str):
            return 0, 0
        low, high = self._places(value)
        match op:
            case "==":
                return low, high
            case "<":
                return 0, low
            case "<=":
                return 0, high
            case ">":
                return high, len(self)
        return low, len(self)

    def _places(self, value: Any) -> tuple[int, int]:
        """Where `value` stands: [low, high) equal it."""
        if self.text:
            texts = _Texts(self._values)
            return bisect.bisect_left(texts, value), bisect.bisect_right(texts, value)
        dtype = self._values.dtype
        if dtype.kind == "f":
            with np.errstate(over="ignore"):
                value = dtype.type(value)
        elif dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if value < limits.min:
                return 0, 0
            if value > limits.max:
                return len(self), len(self)
            value = dtype.type(value)
        left, right = (int(np.searchsorted(self._values, value, side)) for side in ("left", "right"))
        return left, right

    def prefixed(self, prefix: str) -> tuple[int, int]:
        """Places of the texts that begin with `prefix`."""
        texts = _Texts(self._values)
        low = bisect.bisect_left(texts, prefix)
        return low, bisect.bisect_left(texts, True, low, key=lambda text: not text.startswith(prefix))

    def arrays(self) -> dict[str, Numbers]:
        if not self.text:
            return {"values": self._values}
        strings = self.strings
        _, offsets, data = strings.buffers()
        places = np.frombuffer(offsets, np.int64)[strings.offset : strings.offset + len(strings) + 1]
        text = np.frombuffer(data, np.uint8)[places[0] : places[-1]] if len(strings) else _NO_TEXT
        return {"offsets": places - places[0], "text": text}

    @classmethod
    def of(cls, arrays: dict[str, Numbers]) -> "SortedValues":
        """What `arrays` gave. Raises KeyError."""
        if "values" in arrays:
            return cls(arrays["values"])
        offsets, text = arrays["offsets"], arrays["text"]
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
        return cls(pa.Array.from_buffers(pa.large_string(), len(offsets) - 1, buffers))


_NO_TEXT = np.empty(0, np.uint8)


class _Texts:
    """Arrow strings as a sequence for bisection."""

    def __init__(self, strings: pa.Array) -> None:
        self._strings = strings

    def __len__(self) -> int:
        return len(self._strings)

    def __getitem__(self, place: int) -> str:
        text: str = self._strings[place].as_py()
        return text


class JsonFacts(msgspec.Struct, frozen=True):
    """What an index on a JSON path holds, and how precisely."""

    path: tuple[str | int, ...]
    cast: str
    exact: bool
    """No integer at the path loses precision as a double."""
    whole: bool
    """No float stands among the elements of the arrays."""

    def answers(self, kind: Kind) -> bool:
        """Whether values of this kind can be compared with the index instead of the documents."""
        match self.cast.removeprefix(_ARRAY):
            case "DOUBLE":
                return self.exact and kind in (Kind.INT, Kind.FLOAT)
            case "VARCHAR":
                return kind is Kind.STRING
        return kind is Kind.BOOL

    def precise_elements(self, kind: Kind) -> bool:
        """An element that is sought as an integer must be one."""
        return self.answers(kind) and (kind is not Kind.INT or self.whole)

    def encoded(self) -> dict[str, Any]:
        return msgspec.structs.asdict(self)

    @classmethod
    def decoded(cls, facts: dict[str, Any]) -> "JsonFacts":
        return msgspec.convert(facts, cls)


@dataclass(frozen=True)
class Occurrences:
    """`values[i]` (NumPy numbers, or large_string) stands in row `rows[i]`."""

    rows: Rows
    values: Numbers | pa.Array
    nested: bool = False
    facts: JsonFacts | None = None

    def distinct(self) -> tuple[SortedValues, Rows]:
        """The distinct values, and for each occurrence the place of its value among them."""
        if not isinstance(self.values, pa.Array):
            values, codes = np.unique(self.values, return_inverse=True)
            return SortedValues(values), codes.ravel()
        encoded = self.values.dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        order = pc.sort_indices(encoded.dictionary).to_numpy()
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        return SortedValues(encoded.dictionary.take(pa.array(order))), place[codes]


def occurrences(column: pa.Array, field: Field) -> Occurrences:
    """Every value that is not null, or every element of an ARRAY."""
    if field.type is DataType.ARRAY:
        starts, lengths = list_bounds(column)
        rows = np.repeat(np.arange(len(column)), lengths)
        ends = np.cumsum(lengths)
        places = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
        return Occurrences(rows, _plain(column.values.take(pa.array(places))), nested=True)
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    return Occurrences(rows, _plain(column.drop_null()))


def _plain(array: pa.Array) -> Numbers | pa.Array:
    if pa.types.is_large_string(array.type):
        return array
    numbers: Numbers = array.to_numpy(zero_copy_only=False)
    return numbers.view(np.uint8) if numbers.dtype == np.bool_ else numbers


def json_occurrences(found: Shredded, path: tuple[str | int, ...], cast: str) -> Occurrences:
    """The values that the cast is for, or such elements of arrays."""
    nested = cast.startswith(_ARRAY)
    kind = cast.removeprefix(_ARRAY)
    rows = np.arange(len(found.tags))
    if nested:
        rows, found = found.elements()
    integers = found.ints[found.tags == INT]
    exact = bool(np.all(np.abs(integers.astype(np.float64)) < _EXACT))
    facts = JsonFacts(path, cast, exact, not bool(np.any(found.tags == FLOAT)))
    match kind:
        case "DOUBLE":
            chosen = (found.tags == INT) | (found.tags == FLOAT)
            return Occurrences(rows[chosen], found.floats[chosen], nested, facts)
        case "BOOL":
            chosen = found.tags == BOOL
            return Occurrences(rows[chosen], found.bools[chosen].view(np.uint8), nested, facts)
    chosen = found.tags == STRING
    return Occurrences(rows[chosen], found.strings.filter(pa.array(chosen)), nested, facts)
