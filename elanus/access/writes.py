"""The write path: complete the rows, hash keys to channels, append (architecture, 4)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa

from elanus.access import requests as q
from elanus.access.gate import WriteGate
from elanus.access.reads import Reader
from elanus.expr import parse
from elanus.model.columns import ALL_PARTITIONS, PARTITION, arrow_type
from elanus.model.errors import CollectionNotFound, InvalidParameter, PartitionNotFound
from elanus.model.hashing import channel_of
from elanus.model.nouns import Channel, Collection
from elanus.model.records import KEY, Header, Kind, encode
from elanus.model.schema import Field, Schema
from elanus.model.timestamps import from_ms
from elanus.model.types import ConsistencyLevel
from elanus.storage.catalog import Catalog
from elanus.storage.log import LogBroker
from elanus.storage.sequence import Sequence as Ids

_EMPTY_DYNAMIC = b"{}"


class WriteLimits(msgspec.Struct, frozen=True, kw_only=True):
    record_bytes: int
    """A record's body is at most about this long; more rows go into further records of the same append."""


@dataclass(frozen=True)
class Writer:
    """Inserts, upserts and deletes of a proxy."""

    catalog: Catalog
    broker: LogBroker
    row_ids: Ids
    gate: WriteGate
    reader: Reader
    limits: WriteLimits

    def insert(self, request: q.Write) -> q.Written:
        return self._write(request, Kind.INSERT)

    def upsert(self, request: q.Write) -> q.Written:
        return self._write(request, Kind.UPSERT)

    def _write(self, request: q.Write, kind: Kind) -> q.Written:
        with self.gate.write():
            collection = self.catalog.collection_named(request.database, request.collection)
            partition_id = self._partition(collection, request.partition)
            rows = self._complete(request.rows, collection.schema, partition_id)
            keys = rows.column(collection.schema.primary.key)
            if kind is Kind.UPSERT:
                rows = _last_of_each_key(rows, keys)
            ms = self._append(collection, rows, rows.column(collection.schema.primary.key), kind)
        return q.Written(keys=keys, count=len(keys), ts=from_ms(ms))

    def _partition(self, collection: Collection, name: str) -> int:
        if not name:
            return collection.partitions[0].id
        return _partition_id(collection, name)

    def _complete(self, rows: pa.RecordBatch, schema: Schema, partition_id: int) -> pa.RecordBatch:
        """Every field of the schema in order, then the partition."""
        count = rows.num_rows
        given = dict(zip(rows.schema.names, rows.columns, strict=True))
        columns = [
            _defaulted(given[f.key], f) if f.key in given else self._absent(f, count) for f in schema.fields
        ]
        columns.append(pa.repeat(pa.scalar(partition_id, pa.int64()), count))
        return pa.RecordBatch.from_arrays(columns, names=[*(f.key for f in schema.fields), PARTITION])

    def _absent(self, field: Field, count: int) -> pa.Array:
        if field.primary and field.auto_id:
            first = self.row_ids.take(count)
            ids = pa.array(np.arange(first, first + count, dtype=np.int64))
            return ids if pa.types.is_int64(arrow_type(field)) else ids.cast(arrow_type(field))
        if field.dynamic:
            return pa.repeat(pa.scalar(_EMPTY_DYNAMIC, arrow_type(field)), count)
        if field.default is not None:
            return pa.repeat(pa.scalar(field.default, arrow_type(field)), count)
        if field.nullable:
            return pa.nulls(count, arrow_type(field))
        raise InvalidParameter(f"field {field.name!r} is missing; every row needs a value of it")

    def _append(self, collection: Collection, rows: pa.RecordBatch, keys: pa.Array, kind: Kind) -> int:
        version = collection.schema.version
        records: dict[str, list[bytes]] = {}
        for channel, part in _by_channel(collection.channels, rows, keys):
            header = Header(channel.id, kind, schema_version=version)
            for piece in _pieces(part, self.limits.record_bytes):
                records.setdefault(channel.log, []).append(encode(header, piece))
        return self._append_all(records)

    def _append_all(self, records: dict[str, list[bytes]]) -> int:
        """The append time of the last record. What belongs to one log is one append."""
        last = 0
        for log, batch in records.items():
            last = max(last, self.broker.append_batch(log, batch)[-1].append_ms)
        return last

    # deletes

    def delete(self, request: q.Delete) -> q.Written:
        collection = self.catalog.collection_named(request.database, request.collection)
        if not request.expression.strip():
            raise InvalidParameter("a delete needs a filter; the expression is empty")
        plan = parse(request.expression, collection.schema, request.templates)
        keys = plan.primary_keys()
        if keys is not None:
            return self._delete_keys(request, keys)
        return self._delete_found(request)

    def _delete_keys(self, request: q.Delete, keys: pa.Array) -> q.Written:
        with self.gate.write():
            collection = self.catalog.collection_named(request.database, request.collection)
            scope = _scope(collection, request.partition)
            channels = channel_of(keys, len(collection.channels))
            records: dict[str, list[bytes]] = {}
            for number, channel in enumerate(collection.channels):
                part = keys.filter(pa.array(channels == number))
                self._delete_records(records, channel, part, scope, 0)
            ms = self._append_all(records)
        return q.Written(keys=keys.slice(0, 0), count=len(keys), ts=from_ms(ms))

    def _delete_found(self, request: q.Delete) -> q.Written:
        """Rule 1: the keys that a strong read finds, each channel's with the ts it was read at.

        The gate is not held while it reads: a DDL would wait for the view of a collection being loaded.
        """
        collection = self.catalog.collection_named(request.database, request.collection)
        found = self.reader.keys(
            collection,
            q.Query(
                database=request.database,
                collection=request.collection,
                partitions=(request.partition,) if request.partition else (),
                expression=request.expression,
                templates=request.templates,
                consistency_level=ConsistencyLevel.STRONG,
            ),
        )
        with self.gate.write():
            now = self.catalog.collection_named(request.database, request.collection)
            if now.id != collection.id:
                raise CollectionNotFound(
                    f"collection {request.collection!r} was dropped and made again while its rows were "
                    "looked for; delete again"
                )
            scope = _scope(now, request.partition)
            records: dict[str, list[bytes]] = {}
            for number, channel in enumerate(collection.channels):
                part = found.keys.filter(pa.array(found.channels == number))
                self._delete_records(records, channel, part, scope, found.read_ts[number])
            ms = self._append_all(records)
        return q.Written(keys=found.keys.slice(0, 0), count=len(found.keys), ts=from_ms(ms))

    def _delete_records(
        self, records: dict[str, list[bytes]], channel: Channel, keys: pa.Array, scope: int, as_of: int
    ) -> None:
        if not len(keys):
            return
        header = Header(channel.id, Kind.DELETE, partition_id=scope, as_of=as_of)
        batch = pa.RecordBatch.from_arrays([keys], names=[KEY])
        for piece in _pieces(batch, self.limits.record_bytes):
            records.setdefault(channel.log, []).append(encode(header, piece))


def _scope(collection: Collection, partition: str) -> int:
    return _partition_id(collection, partition) if partition else ALL_PARTITIONS


def _defaulted(column: pa.Array, field: Field) -> pa.Array:
    """A null counts as left out: where the field has a default, it takes that, nullable or not."""
    if field.default is None or not column.null_count:
        return column
    return column.fill_null(pa.scalar(field.default, arrow_type(field)))


def _partition_id(collection: Collection, name: str) -> int:
    found = collection.partition(name)
    if found is None:
        there = ", ".join(p.name for p in collection.partitions[:10])
        raise PartitionNotFound(
            f"partition {name!r} does not exist in collection {collection.name!r}; there are {there}"
        )
    return found.id


def _last_of_each_key(rows: pa.RecordBatch, keys: pa.Array) -> pa.RecordBatch:
    """An upsert that names a key twice keeps the last row of it (rule 1)."""
    order = pa.table({"k": keys, "i": np.arange(len(keys))}).group_by("k").aggregate([("i", "max")])
    if order.num_rows == len(keys):
        return rows
    return rows.take(order.column("i_max").combine_chunks().sort())


def _by_channel(
    channels: Sequence[Channel], rows: pa.RecordBatch, keys: pa.Array
) -> Iterator[tuple[Channel, pa.RecordBatch]]:
    if len(channels) == 1:
        if rows.num_rows:
            yield channels[0], rows
        return
    owner = channel_of(keys, len(channels))
    for number, channel in enumerate(channels):
        indices = np.flatnonzero(owner == number)
        if len(indices):
            yield channel, rows.take(pa.array(indices))


def _pieces(batch: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    rows = max(1, int(batch.num_rows * most_bytes // max(1, batch.nbytes)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
