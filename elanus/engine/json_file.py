"""JSON columns in shreds: frequent paths of a segment's documents as typed columns of a Parquet file.

`<field id>.json.parquet` has a struct column for each path, named by the path as a JSON array: `t` its type
(the tags of `json_column`), `b`, `i`, `f`, `s` the value where it is a bool, integer, float or
string, `a` the elements of an array, each such a struct with `x`, the text of an array within. The column
`rest` holds, of each document, those top-level keys whose values are not all in the columns. So a path that
has no column is read from `rest`, which is null almost everywhere. The documents themselves, byte by byte as
they were inserted, stay in rows.parquet.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from elanus.engine.json_column import (
    ARRAY,
    BOOL,
    FLOAT,
    INT,
    INT64,
    STRING,
    TAGS,
    Arrays,
    Bools,
    Shredded,
    placed,
    shred,
)
from elanus.engine.json_column import Path as JsonPath
from elanus.model.columns import UNREADABLE
from elanus.model.errors import CorruptError

FORMAT = 1
MOST_PATHS = 64
"""Paths of a field that get a column: the most frequent ones."""
DEEPEST = 16
"""Keys of a path that may have a column."""
ROWS_AT_ONCE = 16_384
"""Documents in memory at a time, parsed. The first so many say which paths are frequent."""
REST, NULL = "rest", "null"
FORMAT_KEY = b"elanus.json.format"

_ELEMENT = pa.struct(
    [
        ("t", pa.uint8()),
        ("b", pa.bool_()),
        ("i", pa.int64()),
        ("f", pa.float64()),
        ("s", pa.large_string()),
        ("x", pa.large_binary()),
    ]
)
_VALUE = pa.struct([*list(_ELEMENT)[:5], pa.field("a", pa.large_list(_ELEMENT))])

# Any: a JSON value may be anything.
Document = Any
Piece = tuple[list[Document], Bools]
_NO_PIECE: Piece = ([], np.empty(0, np.bool_))


# Writing -------------------------------------------------------------------------------------------------


def write_json(column: pa.ChunkedArray, path: Path, most_paths: int = MOST_PATHS) -> bool:
    """Shreds of a column of UTF-8 JSON, in its order; False, and no file, where a document cannot be read or
    is nested too deep to be walked: then the documents are parsed when they are asked for."""
    try:
        _write(column, path, most_paths)
    except (RecursionError, msgspec.DecodeError, UnicodeDecodeError):
        path.unlink(missing_ok=True)
        return False
    return True


def _write(column: pa.ChunkedArray, path: Path, most_paths: int) -> None:
    pieces = _documents(column)
    first = next(pieces, _NO_PIECE)
    paths = _frequent(first[0], most_paths)
    schema = pa.schema(
        [
            *(pa.field(_name(p), _VALUE) for p in paths),
            pa.field(REST, pa.large_binary()),
            pa.field(NULL, pa.bool_()),
        ],
        metadata={FORMAT_KEY: str(FORMAT).encode()},
    )
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for documents, null in _again(first, pieces):
            writer.write_batch(_shreds(documents, null, paths, schema))


def _again(first: Piece, rest: Iterator[Piece]) -> Iterator[Piece]:
    if first[0]:
        yield first
    yield from rest


def _documents(column: pa.ChunkedArray) -> Iterator[Piece]:
    decode = msgspec.json.Decoder().decode
    for start in range(0, len(column), ROWS_AT_ONCE):
        texts = column.slice(start, ROWS_AT_ONCE).to_pylist()
        documents = [None if text is None else decode(text) for text in texts]
        yield documents, np.array([text is None for text in texts], np.bool_)


def _frequent(documents: list[Document], most: int) -> list[JsonPath]:
    """Paths of object keys, a parent before its children, the most frequent first; the whole document too."""
    counts: dict[JsonPath, int] = {}

    def visit(path: JsonPath, values: list[Document]) -> None:
        counts[path] = len(values)
        objects = [v for v in values if type(v) is dict]
        if objects and len(path) < DEEPEST:
            # A key that so many others of the same object beat cannot be among the most frequent paths.
            for key, _ in Counter(chain.from_iterable(objects)).most_common(most):
                if _printable(key):
                    visit((*path, key), [v[key] for v in objects if key in v])

    visit((), documents)
    return sorted(counts, key=lambda p: (-counts[p], len(p)))[:most]


def _shreds(
    documents: list[Document], null: Bools, paths: list[JsonPath], schema: pa.Schema
) -> pa.RecordBatch:
    found: dict[JsonPath, tuple[list[int], list[Document]]] = {}
    missed: dict[int, set[str]] = {}
    children: dict[JsonPath, set[str | int]] = {p: set() for p in paths}
    for path in paths:
        if path:
            children[path[:-1]].add(path[-1])

    def visit(path: JsonPath, rows: list[int], values: list[Document]) -> None:
        found[path] = rows, values
        objects = [v for v in values if type(v) is dict]
        if not objects:
            return
        if len(objects) < len(values):
            rows = [row for row, v in zip(rows, values, strict=True) if type(v) is dict]
        keys = set(chain.from_iterable(objects))
        for key in keys & children[path]:
            held = [v[key] for v in objects if key in v]
            at = rows
            if len(held) < len(rows):
                at = [row for row, v in zip(rows, objects, strict=True) if key in v]
            visit((*path, key), at, held)
        others = keys - children[path]
        if others:
            for row, v in zip(rows, objects, strict=True):
                if not others.isdisjoint(v):
                    missed.setdefault(row, set()).update([str(path[0])] if path else others.intersection(v))

    visit((), list(range(len(documents))), documents)
    rest: list[bytes | None] = [None] * len(documents)
    for row, some in missed.items():
        rest[row] = msgspec.json.encode({key: documents[row][key] for key in some})
    columns = [_column(len(documents), *found.get(p, ([], [])), _VALUE) for p in paths]
    columns += [pa.array(rest, pa.large_binary()), pa.array(null)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _column(rows: int, at: list[int], values: list[Document], type: pa.DataType) -> pa.StructArray:
    """A value in each row of `at`, absent elsewhere."""
    kinds = np.fromiter(map(_kind, values), np.uint8, len(values))
    there = set(np.unique(kinds).tolist())
    tags = np.zeros(rows, np.uint8)
    places = np.asarray(at, np.int64)
    tags[places] = kinds

    def chosen(kind: int) -> tuple[npt.NDArray[np.int64], list[Document]]:
        if kind not in there:
            return places[:0], []
        if len(there) == 1:
            return places, values
        mine = np.flatnonzero(kinds == kind)
        return places[mine], [values[i] for i in mine.tolist()]

    children = [
        pa.array(tags),
        _sparse(rows, *chosen(BOOL), pa.bool_()),
        _sparse(rows, *chosen(INT), pa.int64()),
        _sparse(rows, *chosen(FLOAT), pa.float64()),
        _sparse(rows, *chosen(STRING), pa.large_string()),
    ]
    arrays = chosen(ARRAY)
    if type.equals(_VALUE):
        children.append(_lists(rows, *arrays))
    else:
        texts = [msgspec.json.encode(array) for array in arrays[1]]
        children.append(_sparse(rows, arrays[0], texts, pa.large_binary()))
    return pa.StructArray.from_arrays(children, fields=list(type))


def _kind(value: Document) -> int:
    kind = TAGS[type(value)]
    return FLOAT if kind == INT and value not in INT64 else kind


def _sparse(rows: int, at: npt.NDArray[np.int64], values: list[Document], type: pa.DataType) -> pa.Array:
    if not len(at):
        return pa.nulls(rows, type)
    if pa.types.is_float64(type):
        values = [v if isinstance(v, float) else _nearest(v) for v in values]
    made = pa.array(values, type)
    if len(at) == rows:
        return made
    places = np.full(rows, -1, np.int64)
    places[at] = np.arange(len(at))
    return made.take(pa.array(places, mask=places < 0))


def _lists(rows: int, at: npt.NDArray[np.int64], lists: list[list[Document]]) -> pa.Array:
    items = list(chain.from_iterable(lists))
    lengths = np.zeros(rows, np.int64)
    lengths[at] = [len(one) for one in lists]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return pa.LargeListArray.from_arrays(
        pa.array(offsets), _column(len(items), list(range(len(items))), items, _ELEMENT)
    )


def _nearest(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _name(path: JsonPath) -> str:
    return msgspec.json.encode(path).decode()


def _printable(key: str) -> bool:
    """Whether the key can stand in a column's name: not with half of a surrogate pair."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


# Reading -------------------------------------------------------------------------------------------------


class JsonFile:
    """An open file of shreds."""

    def __init__(self, file: pq.ParquetFile, path: Path) -> None:
        self._file = file
        self._path = path
        self._names = frozenset(file.schema_arrow.names)

    def at(self, path: JsonPath) -> Shredded | None:
        """The values at `path`, one a row; None where the documents have to be asked: what is below the
        elements of an array has no column. Raises CorruptError."""
        keys = next((i for i, key in enumerate(path) if isinstance(key, int)), len(path))
        if len(path) > keys + 1:
            return None
        if _name(path[:keys]) not in self._names:
            rest = self._read(REST)
            rows = np.flatnonzero(rest.is_valid().to_numpy(zero_copy_only=False))
            values = shred(rest.drop_null(), path[:keys])
            found = placed(values, len(rest), rows, np.arange(len(rows)), self._known())
        else:
            found = _of_struct(self._read(_name(path[:keys])), self._known())
        return found if keys == len(path) else found.element(_position(path[keys]))

    def _known(self) -> Bools | None:
        null = self._read(NULL).to_numpy(zero_copy_only=False)
        return ~null if null.any() else None

    def _read(self, name: str) -> Any:
        """The column in one piece."""
        try:
            column = self._file.read(columns=[name], use_threads=False).column(0)
        except UNREADABLE as error:
            raise CorruptError(f"column {name} of segment file {self._path}: {error}") from error
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _position(key: str | int) -> int:
    assert isinstance(key, int)
    return key


def _of_struct(column: pa.StructArray, known: Bools | None) -> Shredded:
    tags = _numbers(column.field("t"), 0).astype(np.uint8, copy=False)
    ints = _numbers(column.field("i"), 0)
    floats = _numbers(column.field("f"), 0.0)
    whole = tags == INT
    if whole.any():
        floats = np.where(whole, ints.astype(np.float64), floats)
    arrays = None
    rows = np.flatnonzero(tags == ARRAY)
    names = {field.name for field in column.type}
    if len(rows) and "a" in names:
        lists = column.field("a")
        offsets = lists.offsets.to_numpy()
        arrays = Arrays(
            rows, offsets[rows], offsets[rows + 1] - offsets[rows], _of_struct(lists.values, None)
        )
    elif len(rows):
        within = shred(column.field("x").take(pa.array(rows)), ())
        assert within.arrays is not None
        arrays = Arrays(rows, within.arrays.begins, within.arrays.lengths, within.arrays.elements)
    bools = _numbers(column.field("b"), False)
    return Shredded(tags, known, bools, ints, floats, column.field("s"), arrays)


def _numbers(column: pa.Array, absent: Any) -> npt.NDArray[Any]:
    if column.null_count:
        column = column.fill_null(absent)
    return np.asarray(column.to_numpy(zero_copy_only=False))
