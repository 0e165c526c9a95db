"""A proxy in memory: no storage, no engine, brute force; enough for real clients to walk through."""

import json
import threading
import time
from typing import Any
from unittest.mock import create_autospec

import msgspec
import numpy as np
import pyarrow as pa

from elanus.access import requests as q
from elanus.access.identities import Identities
from elanus.access.topology import Topology
from elanus.access.translate.params import nested
from elanus.access.validation import check_vectors
from elanus.access.validation.searches import vector_field
from elanus.model.columns import row_schema
from elanus.model.errors import (
    CollectionNotFound,
    CollectionNotLoaded,
    DatabaseNotFound,
    IndexNotFound,
    InvalidParameter,
)
from elanus.model.nouns import Channel, Collection, Database, IndexDefinition, LoadState, Partition
from elanus.model.schema import Field
from elanus.model.timestamps import from_ms
from elanus.model.types import Metric
from elanus.roles.identity import IdentityBackup, IdentityCoordinator
from elanus.storage.catalog import Catalog

# Any below: rows are dicts here, whatever their fields hold.
Row = dict[str, Any]


class FakeProxy:
    """Answers as `elanus.access.proxy.Proxy` does."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._databases = {"default": Database(id=1, name="default")}
        self._collections: dict[tuple[str, str], Collection] = {}
        self._rows: dict[int, list[Row]] = {}
        self._indexes: dict[int, list[IndexDefinition]] = {}
        self._loaded: dict[int, set[str]] = {}
        self._last = 100
        self._aliases: dict[tuple[str, str], str] = {}
        catalog = create_autospec(Catalog, instance=True)
        for method in (catalog.users, catalog.roles, catalog.privilege_groups):
            method.return_value = []
        for method in (catalog.user, catalog.role):
            method.return_value = None
        coordinator = create_autospec(IdentityCoordinator, instance=True)
        coordinator.backup.return_value = IdentityBackup(users=(), roles=(), groups=())
        self.identities = Identities(catalog, coordinator)
        self.topology = create_autospec(Topology, instance=True)
        self.topology.replicas.return_value = []
        self.topology.sealed.return_value = []
        self.topology.served.return_value = []
        self.last_search: q.Search | None = None
        self.last_query: q.Query | None = None
        self.unhealthy: list[str] = []

    def _id(self) -> int:
        self._last += 1
        return self._last

    def _now(self) -> int:
        return from_ms(int(time.time() * 1000)) + 1

    # databases
    def create_database(self, name: str, properties: dict[str, str]) -> None:
        if name in self._databases:
            raise InvalidParameter(f"database {name!r} exists already")
        self._databases[name] = Database(id=self._id(), name=name, properties=properties)

    def drop_database(self, name: str) -> None:
        del self._databases[self.database(name).name]

    def databases(self) -> list[Database]:
        return list(self._databases.values())

    def database(self, name: str) -> Database:
        if name not in self._databases:
            raise DatabaseNotFound(f"database {name!r} does not exist")
        return self._databases[name]

    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> None:
        old = self.database(name)
        kept = {k: v for k, v in (old.properties | properties).items() if k not in delete_keys}
        self._databases[name] = msgspec.structs.replace(old, properties=kept)

    # collections
    def create_collection(self, request: q.CreateCollection) -> None:
        self.database(request.database)
        if (request.database, request.name) in self._collections:
            raise InvalidParameter(f"collection {request.name!r} exists already")
        created = Collection(
            id=self._id(),
            database_id=self.database(request.database).id,
            name=request.name,
            schema=request.schema,
            channels=tuple(
                Channel(id=self._id(), log=f"log{i}", start_offset=0, start_ts=0)
                for i in range(request.shards)
            ),
            partitions=(Partition(id=self._id(), name="_default"),),
            consistency_level=request.consistency_level,
            properties=request.properties,
            created_ts=self._now(),
        )
        self._collections[request.database, request.name] = created
        self._rows[created.id] = []
        self._indexes[created.id] = []

    def drop_collection(self, database: str, name: str) -> None:
        del self._collections[database, self.collection(database, name).name]

    def collection(self, database: str, name: str = "", id: int = 0) -> Collection:
        self.database(database)
        for (where, called), found in self._collections.items():
            if (where == database and called == name) or (id and found.id == id):
                return found
        raise CollectionNotFound(f"collection {name!r} does not exist in database {database!r}")

    def collections(self, database: str) -> list[Collection]:
        self.database(database)
        return [c for (where, _), c in self._collections.items() if where == database]

    def aliases_of(self, collection: Collection) -> list[str]:
        return []

    def row_count(self, database: str, name: str, partition: str = "") -> int:
        return len([r for r in self._live(database, name) if not partition or r["p"] == partition])

    # names and properties
    def create_alias(self, database: str, collection: str, alias: str) -> None:
        self._aliases[database, alias] = self.collection(database, collection).name

    alter_alias = create_alias

    def drop_alias(self, database: str, alias: str) -> None:
        self._aliases.pop((database, alias), None)

    def aliased(self, database: str, alias: str) -> Collection:
        if (database, alias) not in self._aliases:
            raise InvalidParameter(f"there is no alias {alias!r}")
        return self.collection(database, self._aliases[database, alias])

    def aliases(self, database: str, collection: str) -> list[str]:
        return [a for (d, a), name in self._aliases.items() if d == database and collection in ("", name)]

    def rename_collection(self, database: str, name: str, new_database: str, new_name: str) -> None:
        renamed = msgspec.structs.replace(self.collection(database, name), name=new_name)
        del self._collections[database, name]
        self._collections[new_database, new_name] = renamed

    def alter_collection(
        self, database: str, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        old = self.collection(database, name)
        self._collections[database, old.name] = msgspec.structs.replace(old, properties=properties)

    def alter_field(
        self, database: str, collection: str, field: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        self.collection(database, collection).schema.field(field)

    def add_field(self, database: str, collection: str, field: Field) -> None:
        old = self.collection(database, collection)
        added = msgspec.structs.replace(field, id=self._id())
        schema = msgspec.structs.replace(old.schema, fields=(*old.schema.fields, added))
        self._collections[database, old.name] = msgspec.structs.replace(old, schema=schema)

    def alter_index(
        self, database: str, collection: str, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        self.collection(database, collection)

    def truncate_collection(self, database: str, name: str) -> None:
        self._rows[self.collection(database, name).id].clear()

    def hardware(self) -> q.Hardware:
        return q.Hardware(
            ip="", cores=1, cpu_percent=0, memory=1, memory_used=1, disk=1, disk_used=1, started=""
        )

    # partitions
    def create_partition(self, database: str, collection: str, name: str) -> None:
        old = self.collection(database, collection)
        added = (*old.partitions, Partition(id=self._id(), name=name))
        self._collections[database, collection] = msgspec.structs.replace(old, partitions=added)

    def drop_partition(self, database: str, collection: str, name: str) -> None:
        old = self.collection(database, collection)
        left = tuple(p for p in old.partitions if p.name != name)
        self._collections[database, collection] = msgspec.structs.replace(old, partitions=left)

    # indexes
    def create_index(
        self, database: str, collection: str, field: str, name: str, params: dict[str, str]
    ) -> None:
        found = self.collection(database, collection)
        asked = nested(params.get("params", "")) | params
        type = asked.get("index_type", "AUTOINDEX")
        self._indexes[found.id].append(
            IndexDefinition(
                id=self._id(),
                collection_id=found.id,
                field_id=found.schema.field(field).id,
                name=name or field,
                type="HNSW" if type == "AUTOINDEX" else type,
                metric=Metric(asked.get("metric_type") or "COSINE"),
                requested=params,
            )
        )

    def indexes(self, database: str, collection: str, field: str = "", name: str = "") -> list[q.IndexState]:
        found = self.collection(database, collection)
        rows = self.row_count(database, collection)
        states = [
            q.IndexState(
                definition=d,
                field_name=found.schema.by_id[d.field_id].name,
                total_rows=rows,
                indexed_rows=rows,
                pending_rows=0,
            )
            for d in self._indexes[found.id]
        ]
        return [s for s in states if field in ("", s.field_name) and name in ("", s.definition.name)]

    def drop_index(self, database: str, collection: str, field: str, name: str) -> None:
        if not self.indexes(database, collection, field, name):
            raise IndexNotFound(f"index {name!r} does not exist")
        self._indexes[self.collection(database, collection).id].clear()

    # loading
    def load(
        self,
        database: str,
        collection: str,
        partitions: list[str],
        replicas: int,
        fields: list[str],
        refresh: bool,
    ) -> None:
        found = self.collection(database, collection)
        self._loaded.setdefault(found.id, set()).update(partitions or [p.name for p in found.partitions])

    def release(self, database: str, collection: str, partitions: list[str]) -> None:
        self._loaded.pop(self.collection(database, collection).id, None)

    def load_progress(self, database: str, collection: str, partitions: list[str]) -> q.LoadProgress:
        if self.collection(database, collection).id in self._loaded:
            return q.LoadProgress(state=LoadState.LOADED, percent=100)
        return q.LoadProgress(state=LoadState.NOT_LOADED, percent=0)

    def loaded_partitions(self, database: str, collection: str) -> dict[str, int]:
        return dict.fromkeys(self._loaded.get(self.collection(database, collection).id, ()), 100)

    # data
    def insert(self, request: q.Write) -> q.Written:
        with self._lock:
            collection = self.collection(request.database, request.collection)
            rows = request.rows.to_pylist()
            primary = collection.schema.primary
            for row in rows:
                row["p"] = request.partition or "_default"
                for field in collection.schema.fields:
                    if row.get(field.key) is None:
                        row[field.key] = b"{}" if field.dynamic else field.default
                if primary.auto_id and row[primary.key] is None:
                    row[primary.key] = self._id()
            keys = [row[primary.key] for row in rows]
            self._rows[collection.id] += rows
            return q.Written(keys=pa.array(keys), count=len(rows), ts=self._now())

    def upsert(self, request: q.Write) -> q.Written:
        with self._lock:
            collection = self.collection(request.database, request.collection)
            key = collection.schema.primary.key
            keys = set(request.rows.column(key).to_pylist())
            kept = [r for r in self._rows[collection.id] if r[key] not in keys]
            self._rows[collection.id] = kept
            return self.insert(request)

    def delete(self, request: q.Delete) -> q.Written:
        with self._lock:
            collection = self.collection(request.database, request.collection)
            gone = self._live(request.database, request.collection, request.expression)
            self._rows[collection.id] = [r for r in self._rows[collection.id] if r not in gone]
            return q.Written(keys=pa.array([]), count=len(gone), ts=self._now())

    def search(self, request: q.Search) -> q.SearchResult:
        self.last_search = request
        collection = self._served(request)
        field = vector_field(collection.schema, request.field)
        index = next(i for i in self._indexes[collection.id] if i.field_id == field.id)
        check_vectors(request, field, index.metric)
        rows = self._live(request.database, request.collection, request.expression, request.partitions)
        vectors = np.array([r[field.key] for r in rows], np.float32).reshape(len(rows), field.dim)
        found: list[Row] = []
        scores: list[float] = []
        counts = []
        for query in request.queries:
            near = _scores(index.metric, vectors, query)
            order = np.argsort(near if index.metric is Metric.L2 else -near, kind="stable")
            order = order[request.offset : request.offset + request.limit]
            counts.append(len(order))
            found += [rows[i] for i in order]
            scores += [float(near[i]) for i in order]
        key = collection.schema.primary
        return q.SearchResult(
            counts=tuple(counts),
            scores=np.array(scores, np.float32),
            keys=pa.array([r[key.key] for r in found], row_schema(collection.schema).field(key.key).type),
            rows=_output(found, collection, request.output_fields, with_key=False),
            ts=self._now(),
        )

    def query(self, request: q.Query) -> q.QueryResult:
        self.last_query = request
        collection = self._served(request)
        rows = self._live(request.database, request.collection, request.expression, request.partitions)
        if request.output_fields == ("count(*)",):
            count = pa.RecordBatch.from_arrays([pa.array([len(rows)])], names=["count(*)"])
            return q.QueryResult(
                rows=q.Rows(names=("count(*)",), columns=count, schema=collection.schema), ts=self._now()
            )
        rows.sort(key=lambda r: r[collection.schema.primary.key])
        rows = rows[request.offset :][: request.limit]
        return q.QueryResult(
            rows=_output(rows, collection, request.output_fields, with_key=True), ts=self._now()
        )

    def flush(self, database: str, collections: list[str]) -> dict[str, q.Flushed]:
        for name in collections:
            self.collection(database, name)
        done = q.Flushed(segments=(7,), flushed_segments=(6, 7), seal_ms=1000, ts=self._now())
        return dict.fromkeys(collections, done)

    def flush_state(self, database: str, collection: str, ts: int) -> bool:
        return ts > 0

    # service
    def allocate_timestamp(self) -> int:
        return self._now()

    def health(self) -> list[str]:
        return self.unhealthy

    # ------------------------------------------------------------------------------------------------
    def _served(self, request: q.Read) -> Collection:
        found = self.collection(request.database, request.collection)
        if found.id not in self._loaded:
            raise CollectionNotLoaded(f"collection {request.collection!r} is not loaded; load it first")
        return found

    def _live(
        self, database: str, name: str, expression: str = "", partitions: tuple[str, ...] = ()
    ) -> list[Row]:
        """The filter is Python here: the language of filters is tested elsewhere."""
        collection = self.collection(database, name)
        rows = [r for r in self._rows[collection.id] if not partitions or r["p"] in partitions]
        if not expression:
            return rows
        return [r for r in rows if eval(expression, {}, _named(r, collection))]


def _named(row: Row, collection: Collection) -> Row:
    named = {f.name: row[f.key] for f in collection.schema.fields}
    dynamic: Row = json.loads(named.pop("$meta", None) or "{}")
    return named | dynamic


def _scores(metric: Metric | None, vectors: Any, query: Any) -> Any:
    if metric is Metric.L2:
        return ((vectors - query) ** 2).sum(axis=1)
    dots = vectors @ query
    if metric is Metric.COSINE:
        dots = dots / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    return dots


def _output(rows: list[Row], collection: Collection, asked: tuple[str, ...], *, with_key: bool) -> q.Rows:
    schema = collection.schema
    names = [f.name for f in schema.fields] if "*" in asked else list(asked)
    if with_key and schema.primary.name not in names:
        names.append(schema.primary.name)
    fields = [schema.by_name[n] for n in names if n in schema.by_name]
    dynamic = tuple(n for n in names if n not in schema.by_name)
    if dynamic and schema.dynamic_field is not None:
        fields.append(schema.dynamic_field)
    types = row_schema(schema)
    return q.Rows(
        names=tuple(names),
        columns=pa.RecordBatch.from_arrays(
            [pa.array([r[f.key] for r in rows], types.field(f.key).type) for f in fields],
            names=[f.key for f in fields],
        ),
        schema=schema,
        dynamic=dynamic,
    )
