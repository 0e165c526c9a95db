"""The files of a segment: writer, reader and their formats.

Below a segment's prefix: `rows.parquet` (zstd: scalar fields by id, `p`, `ts`, and `dts` in a compacted
one), `<field id>.arrow` for each dense vector field (an uncompressed Arrow IPC file with one record batch,
values at a multiple of 64 bytes, to be memory-mapped as a matrix), `<field id>.json.parquet` for each JSON
field (see `json_file`) and `stats.json`, which lists the others with length and CRC32C. Rows are sorted by
(partition, ts). Every file carries the format version.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Protocol

import google_crc32c
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from elanus.engine.json_column import Path as JsonPath
from elanus.engine.json_column import Shredded
from elanus.engine.json_file import FORMAT_KEY, JsonFile, write_json
from elanus.engine.reader import default_column
from elanus.model.columns import DELETE_TS, PARTITION, TS, UNREADABLE, arrow_type, zero_nulls
from elanus.model.errors import CorruptError, NewerFormatError
from elanus.model.nouns import PartitionRange
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType

FORMAT = 1
ROWS_FILE = "rows.parquet"
STATS_FILE = "stats.json"
ROW_GROUP_ROWS = 65_536
LONGEST_BOUND = 256
"""Bytes of a string minimum or maximum that stats.json keeps; a longer one is left out."""
_FORMAT_KEY = b"elanus.segment.format"
_ALIGN = 64
_BUFFER_ALIGN = 8
"""Of the buffers in a file that Arrow writes, in bytes."""
_CHECKSUM_BYTES = 1 << 20

OpenFile = Callable[[str], Path]
"""From a file's name below the segment's prefix to its local path."""


class ColumnStats(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bounds of a scalar column's values; None where they are not kept (no value, JSON, arrays, long)."""

    nulls: int = 0
    min: bool | int | float | str | None = None
    max: bool | int | float | str | None = None


class FileStats(msgspec.Struct, frozen=True):
    bytes: int
    crc32c: int


class SegmentStats(msgspec.Struct, frozen=True):
    """The body of stats.json."""

    format: int
    rows: int
    min_ts: int
    max_ts: int
    deleted: int
    partitions: tuple[PartitionRange, ...]
    columns: dict[str, ColumnStats]
    files: dict[str, FileStats]


class SegmentSummary(NamedTuple):
    """What a manifest needs to know of a segment that was written; `bytes` over all `files`."""

    rows: int
    bytes: int
    min_ts: int
    max_ts: int
    partitions: tuple[PartitionRange, ...]
    files: tuple[str, ...]


def vector_file(field: Field) -> str:
    return f"{field.key}.arrow"


def json_file(field: Field) -> str:
    return f"{field.key}.json.parquet"


def has_own_file(field: Field) -> bool:
    """Dense vectors have a file each; sparse ones are a column of rows.parquet."""
    return field.type.is_vector and field.type is not DataType.SPARSE_FLOAT_VECTOR


# Writing -------------------------------------------------------------------------------------------------


def write_segment(
    rows: pa.Table, schema: Schema, directory: Path, row_group_rows: int = ROW_GROUP_ROWS
) -> SegmentSummary:
    """Write the files of a segment into `directory`, which exists. Not synced: the object store does that.

    `rows`: all fields by id, `p`, `ts` and, where rows are deleted, `dts`; at least one row, in any order.
    """
    if not rows.num_rows:
        raise ValueError("a segment has at least one row")
    partitions, ts = rows.column(PARTITION).to_numpy(), rows.column(TS).to_numpy()
    sorting = np.lexsort((ts, partitions))
    order = None if bool(np.all(sorting[:-1] < sorting[1:])) else sorting
    scalars = [f.key for f in schema.fields if not has_own_file(f)]
    system = [PARTITION, TS, *([DELETE_TS] if DELETE_TS in rows.column_names else [])]
    table = rows.select([*scalars, *system])
    if order is not None:
        table = table.take(pa.array(order))
    pq.write_table(
        table.replace_schema_metadata({_FORMAT_KEY: str(FORMAT).encode()}),
        directory / ROWS_FILE,
        compression="zstd",
        row_group_size=row_group_rows,
        write_page_checksum=True,
    )
    names = [ROWS_FILE]
    for field in schema.fields:
        name = json_file(field)
        if field.type is DataType.JSON and write_json(table.column(field.key), directory / name):
            names.append(name)
    for field in filter(has_own_file, schema.fields):
        _write_vectors(rows.column(field.key), field, order, directory / vector_file(field))
        names.append(vector_file(field))
    stats = SegmentStats(
        format=FORMAT,
        rows=rows.num_rows,
        min_ts=int(ts.min()),
        max_ts=int(ts.max()),
        deleted=rows.num_rows - table.column(DELETE_TS).null_count if DELETE_TS in system else 0,
        partitions=_partition_ranges(table.column(PARTITION).to_numpy()),
        columns={key: _column_stats(table.column(key)) for key in scalars},
        files={name: _file_stats(directory / name) for name in names},
    )
    body = msgspec.json.encode(stats)
    (directory / STATS_FILE).write_bytes(body)
    size = len(body) + sum(f.bytes for f in stats.files.values())
    return SegmentSummary(
        stats.rows, size, stats.min_ts, stats.max_ts, stats.partitions, (*names, STATS_FILE)
    )


def _write_vectors(
    column: pa.ChunkedArray, field: Field, order: npt.NDArray[np.int64] | None, path: Path
) -> None:
    """One record batch in one file, so that the file maps as one matrix; a null has zeros there."""
    if column.null_count and not field.nullable:
        raise ValueError(f"{path.name}: {column.null_count} vectors are null; the field is not nullable")
    array = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
    if order is not None:
        array = array.take(pa.array(order))
    array = zero_nulls(array, field)
    with pa.OSFile(str(path), "wb") as file:
        _write_batch(file, array, _aligned_schema(array))


def _write_batch(sink: Any, array: pa.Array, schema: pa.Schema) -> None:
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([array], schema=schema))


def _aligned_schema(array: pa.Array) -> pa.Schema:
    """A schema with just so much metadata that the values start at a multiple of 64 in the file.

    Arrow's Python writer aligns to 8; of what precedes the values only the bits that say which are null
    depend on the number of rows.
    """
    one = array.slice(0, 1)
    bits = _padded(array) if array.null_count else 0
    for padding in range(0, _ALIGN + 1, 8):
        schema = _vector_schema(array.type, padding, nullable=bool(array.null_count))
        sink = pa.BufferOutputStream()
        _write_batch(sink, one, schema)
        written = sink.getvalue()
        with pa.ipc.open_file(written) as probe:
            values = probe.get_batch(0).column(0).buffers()[-1]
        before = values.address - written.address - (_padded(one) if one.null_count else 0)
        if (before + bits) % _ALIGN == 0:
            return schema
    raise AssertionError("no padding aligns the values of a vector file")


def _padded(array: pa.Array) -> int:
    """Bytes that a bit per value takes in the file."""
    return -(-len(array) // (8 * _BUFFER_ALIGN)) * _BUFFER_ALIGN


def _vector_schema(kind: pa.DataType, padding: int, *, nullable: bool) -> pa.Schema:
    metadata = {_FORMAT_KEY: str(FORMAT).encode(), b"padding": b"." * padding}
    return pa.schema([pa.field("vector", kind, nullable=nullable)], metadata=metadata)


def _partition_ranges(ids: npt.NDArray[np.int64]) -> tuple[PartitionRange, ...]:
    starts = np.concatenate([[0], np.flatnonzero(ids[1:] != ids[:-1]) + 1])
    ends = np.concatenate([starts[1:], [len(ids)]])
    return tuple(
        PartitionRange(partition_id=int(ids[start]), start=int(start), end=int(end))
        for start, end in zip(starts, ends, strict=True)
    )


def _column_stats(column: pa.ChunkedArray) -> ColumnStats:
    kind = column.type
    ordered = pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (ordered or pa.types.is_large_string(kind)) or column.null_count == len(column):
        return ColumnStats(nulls=column.null_count)
    bounds = pc.min_max(column)
    low, high = bounds["min"].as_py(), bounds["max"].as_py()
    if isinstance(low, str) and max(len(low.encode()), len(high.encode())) > LONGEST_BOUND:
        return ColumnStats(nulls=column.null_count)
    return ColumnStats(nulls=column.null_count, min=low, max=high)


def _file_stats(path: Path) -> FileStats:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHECKSUM_BYTES):
            checksum = google_crc32c.extend(checksum, chunk)
    return FileStats(bytes=path.stat().st_size, crc32c=checksum)


# Reading -------------------------------------------------------------------------------------------------


class Columns(Protocol):
    """Where columns that were read are kept. A key names a column for ever."""

    def get(self, key: str, read: Callable[[], pa.Array]) -> pa.Array: ...

    def forget(self, prefix: str) -> None:
        """The columns below `prefix` are not wanted any more."""


class KeptColumns:
    """Every column that was read, in memory."""

    def __init__(self) -> None:
        self._columns: dict[str, pa.Array] = {}
        self._lock = Lock()

    def get(self, key: str, read: Callable[[], pa.Array]) -> pa.Array:
        found = self._columns.get(key)
        if found is None:
            # Two threads must not read the same column twice.
            with self._lock:
                found = self._columns.get(key)
                if found is None:
                    found = self._columns[key] = read()
        return found

    def forget(self, prefix: str) -> None:
        for key in [k for k in self._columns if k.startswith(f"{prefix}/")]:
            self._columns.pop(key, None)


class _Vectors(Mapping[str, pa.Array]):
    """Vector columns by field, each mapped when it is first needed: an idle segment has no mapping."""

    def __init__(self, paths: Mapping[str, tuple[Path, Field]], rows: int) -> None:
        self._paths = paths
        self._rows = rows
        self._mapped: dict[str, pa.Array] = {}

    def __getitem__(self, key: str) -> pa.Array:
        found = self._mapped.get(key)
        if found is None:
            path, field = self._paths[key]
            found = self._mapped[key] = _map_vectors(path, field, self._rows)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


class SegmentFile:
    """A segment's files: vectors mapped, scalar columns read on demand (and not kept here). None is open."""

    def __init__(
        self,
        stats: SegmentStats,
        names: frozenset[str],
        path: Path,
        vectors: Mapping[str, pa.Array],
        shreds: Mapping[str, Path],
    ):
        self._shreds = shreds
        self.stats = stats
        self._path = path
        self._vectors = vectors
        self._names = names

    @classmethod
    def open(cls, open_file: OpenFile, schema: Schema) -> "SegmentFile":
        """Raises CorruptError or NewerFormatError with the name of the file.

        A field that the segment lacks (added later) is filled with its default when it is read.
        """
        stats = read_stats(open_file(STATS_FILE))
        paths = {name: open_file(name) for name in stats.files}
        for name, path in paths.items():
            size = path.stat().st_size
            if size != stats.files[name].bytes:
                raise CorruptError(
                    f"segment file {path} has {size} bytes instead of {stats.files[name].bytes}"
                )
        if ROWS_FILE not in paths:
            raise CorruptError(f"a segment's {STATS_FILE} does not list {ROWS_FILE}")
        with _open_rows(paths[ROWS_FILE], stats.rows) as rows:
            names = frozenset(rows.schema_arrow.names)
        vectors = {
            field.key: (paths[vector_file(field)], field)
            for field in filter(has_own_file, schema.fields)
            if vector_file(field) in paths
        }
        shreds = {field.key: paths[json_file(field)] for field in schema.fields if json_file(field) in paths}
        return cls(stats, names, paths[ROWS_FILE], _Vectors(vectors, stats.rows), shreds)

    def json(self, field: Field, path: JsonPath) -> Shredded | None:
        """(rows,) what is at `path` of a JSON field; None where the documents have to be parsed."""
        file = self._shreds.get(field.key)
        if file is None:
            return None
        with _open_shreds(file, self.stats.rows) as shreds:
            return JsonFile(shreds, file).at(path)

    def field(self, field: Field) -> pa.Array:
        """(rows,) values of a field: vectors as they are mapped, scalars read anew at each call."""
        if field.key in self._vectors:
            return self._vectors[field.key]
        if has_own_file(field) or field.key not in self._names:
            return default_column(field, self.stats.rows)
        column = self.scalar(field.key)
        if column.type != arrow_type(field):
            raise CorruptError(
                f"column {field.key} of segment file {self._path} has type {column.type}"
                f" instead of {arrow_type(field)}"
            )
        return column

    def scalar(self, name: str) -> pa.Array:
        """(rows,) values of a column of rows.parquet."""
        try:
            with _open_rows(self._path, self.stats.rows) as rows:
                column = rows.read(columns=[name]).column(0)
        except UNREADABLE as error:
            raise CorruptError(f"column {name} of segment file {self._path}: {error}") from error
        if len(column) != self.stats.rows:
            # Page checksums do not cover the pages' headers.
            raise CorruptError(
                f"column {name} of segment file {self._path} has {len(column)} rows"
                f" instead of {self.stats.rows}"
            )
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)

    def has(self, name: str) -> bool:
        """Whether rows.parquet has a column."""
        return name in self._names


def read_segment(open_file: OpenFile, schema: Schema) -> pa.Table:
    """All rows of a segment: the fields of `schema` by id, `p`, `ts` and `dts` where it is there.

    Raises CorruptError or NewerFormatError.
    """
    file = SegmentFile.open(open_file, schema)
    fields = [pa.field(f.key, arrow_type(f), nullable=f.nullable) for f in schema.fields]
    columns = [file.field(f) for f in schema.fields]
    for name, kind, nullable in (
        (PARTITION, pa.int64(), False),
        (TS, pa.uint64(), False),
        (DELETE_TS, pa.uint64(), True),
    ):
        if file.has(name):
            fields.append(pa.field(name, kind, nullable=nullable))
            columns.append(file.scalar(name))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def verify_segment(open_file: OpenFile) -> None:
    """Read every byte and compare the checksums. Raises CorruptError or NewerFormatError."""
    for name, expected in read_stats(open_file(STATS_FILE)).files.items():
        path = open_file(name)
        found = _file_stats(path)
        if found != expected:
            raise CorruptError(f"segment file {path} is {found} instead of {expected}")


def read_stats(path: Path) -> SegmentStats:
    """Raises CorruptError or NewerFormatError with the file's name."""
    try:
        body = path.read_bytes()
        _refuse_newer(msgspec.json.decode(body, type=_Versioned).format, path)
        return msgspec.json.decode(body, type=SegmentStats)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"segment file {path} cannot be read: {error}") from error


class _Versioned(msgspec.Struct):
    format: int


def _open_shreds(path: Path, rows: int) -> pq.ParquetFile:
    return _open_parquet(path, rows, FORMAT_KEY)


def _open_rows(path: Path, rows: int) -> pq.ParquetFile:
    return _open_parquet(path, rows, _FORMAT_KEY)


def _open_parquet(path: Path, rows: int, key: bytes) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)
        metadata = file.schema_arrow.metadata
    except UNREADABLE as error:
        raise CorruptError(f"segment file {path} cannot be read: {error}") from error
    _check_version(metadata, path, key)
    if file.metadata.num_rows != rows:
        raise CorruptError(f"segment file {path} has {file.metadata.num_rows} rows instead of {rows}")
    return file


def _map_vectors(path: Path, field: Field, rows: int) -> pa.Array:
    try:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
            _check_version(file.schema.metadata, path)
            column = file.get_batch(0).column(0)
    except UNREADABLE as error:
        raise CorruptError(f"segment file {path} cannot be read: {error}") from error
    if column.type != arrow_type(field) or len(column) != rows:
        raise CorruptError(
            f"segment file {path} has {len(column)} values of {column.type}"
            f" instead of {rows} of {arrow_type(field)}"
        )
    return column


def _check_version(metadata: Mapping[bytes, bytes] | None, path: Path, key: bytes = _FORMAT_KEY) -> None:
    text = (metadata or {}).get(key, b"")
    if not text.isdigit() or int(text) < 1:
        raise CorruptError(f"{path} is not a segment file: it has no format version")
    _refuse_newer(int(text), path)


def _refuse_newer(version: int, path: Path) -> None:
    if version > FORMAT:
        raise NewerFormatError(
            f"segment file {path} has format {version}; this elanus reads up to {FORMAT}: upgrade it"
        )
