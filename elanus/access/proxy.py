"""The proxy's operations in terms of `model`: what every front (gRPC, REST, in-process) calls."""

import time
from collections.abc import Callable

import msgspec

from elanus.access import requests as q
from elanus.access.alterations import Alterations, check_isolation
from elanus.access.gate import WriteGate
from elanus.access.identities import Identities
from elanus.access.index_params import index_of
from elanus.access.partition_names import partition_id, refuse_names
from elanus.access.reads import Reader
from elanus.access.topology import Topology
from elanus.access.writes import Writer
from elanus.model.codes import Code
from elanus.model.errors import (
    CollectionNotFound,
    ElanusError,
    IndexNotFound,
    InvalidParameter,
    PartitionNotLoaded,
)
from elanus.model.index_parameters import JSON_PATH
from elanus.model.nouns import Collection, Database, LoadIntent, LoadState
from elanus.model.timestamps import from_ms
from elanus.roles.data import CompactionCoordinator, CompactionPlan, DataCoordinator
from elanus.roles.identity import IdentityCoordinator
from elanus.roles.index import IndexCoordinator
from elanus.roles.query import QueryCoordinator
from elanus.roles.root import RootCoordinator
from elanus.storage.catalog import Catalog


class ProxyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a call stays with the server before the client has to ask again for progress."""

    flush_seconds: float
    index_seconds: float
    load_seconds: float


class Proxy:
    """Stateless; safe to call from many threads. Raises `model.errors`."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        root: RootCoordinator,
        data: DataCoordinator,
        index: IndexCoordinator,
        query: QueryCoordinator,
        identity: IdentityCoordinator,
        compaction: CompactionCoordinator,
        reader: Reader,
        writer: Writer,
        gate: WriteGate,
        health: Callable[[], list[str]],
        hardware: Callable[[], q.Hardware],
        default_partition: str,
        limits: ProxyLimits,
    ) -> None:
        self._catalog = catalog
        self._root = root
        self._data = data
        self._index = index
        self._query = query
        self._compaction = compaction
        self._reader = reader
        self._writer = writer
        self._gate = gate
        self._health = health
        self.hardware = hardware
        self._default_partition = default_partition
        self.identities = Identities(catalog, identity)
        self.topology = Topology(catalog, data, query)
        alterations = Alterations(catalog, root, index)
        self.create_alias = alterations.create_alias
        self.alter_alias = alterations.alter_alias
        self.drop_alias = alterations.drop_alias
        self.aliased = alterations.aliased
        self.aliases = alterations.aliases
        self.rename_collection = alterations.rename_collection
        self.alter_database = alterations.alter_database
        self.alter_collection = alterations.alter_collection
        self.alter_field = alterations.alter_field
        self.add_field = alterations.add_field
        self.alter_index = alterations.alter_index
        self.truncate_collection = alterations.truncate_collection
        self._limits = limits
        self.insert = writer.insert
        self.upsert = writer.upsert
        self.delete = writer.delete
        self.search = reader.search
        self.query = reader.query

    def confirm(self, revision: int, timeout_seconds: float) -> None:
        """`roles.ProxyControl`."""
        self._catalog.wait(revision, timeout_seconds)
        self._gate.drain(timeout_seconds)

    # databases

    def create_database(self, name: str, properties: dict[str, str]) -> None:
        self._root.create_database(name, properties)

    def drop_database(self, name: str) -> None:
        self._root.drop_database(name)

    def databases(self) -> list[Database]:
        return sorted(self._catalog.databases(), key=lambda d: d.id)

    def database(self, name: str) -> Database:
        return self._catalog.database(name)

    # collections; `name` may be an alias

    def create_collection(self, request: q.CreateCollection) -> None:
        key = request.schema.partition_key
        check_isolation(key, request.properties)
        keyed = [f"{self._default_partition}_{number}" for number in range(request.partitions)]
        self._root.create_collection(
            request.database,
            request.name,
            request.schema,
            request.shards,
            keyed if key is not None else [self._default_partition],
            request.consistency_level,
            request.properties,
        )

    def drop_collection(self, database: str, name: str) -> None:
        self._root.drop_collection(database, name)

    def collection(self, database: str, name: str = "", id: int = 0) -> Collection:
        """By name or alias, or by id where there is no name. Raises CollectionNotFound."""
        if name:
            return self._catalog.collection_named(database, name)
        found = self._catalog.collection(id)
        if found is None or found.dropping or found.database_id != self._catalog.database(database).id:
            raise CollectionNotFound(f"can't find collection[database={database}][collection={id}]")
        return found

    def collections(self, database: str) -> list[Collection]:
        home = self._catalog.database(database)
        names = [n for n in self._catalog.names(home.id) if not n.alias]
        found = (self._catalog.collection(n.collection_id) for n in names)
        return [c for c in found if c is not None and not c.dropping]

    def aliases_of(self, collection: Collection) -> list[str]:
        names = self._catalog.names(collection.database_id)
        return [n.name for n in names if n.alias and n.collection_id == collection.id]

    def row_count(self, database: str, name: str, partition: str = "") -> int:
        collection = self._catalog.collection_named(database, name)
        counts = self._data.row_counts(collection.id)
        return counts[partition_id(collection, partition)] if partition else sum(counts.values())

    # partitions

    def create_partition(self, database: str, collection: str, name: str) -> None:
        found = self._catalog.collection_named(database, collection)
        refuse_names(found, [name])
        self._root.create_partition(found.id, name)

    def drop_partition(self, database: str, collection: str, name: str) -> None:
        found = self._catalog.collection_named(database, collection)
        refuse_names(found, [name])
        self._root.drop_partition(found.id, name)

    # indexes; field or index name "" = any

    def create_index(
        self, database: str, collection: str, field: str, name: str, params: dict[str, str]
    ) -> None:
        """Returns when the index is built, or after a while, when clients ask for its state."""
        found = self._catalog.collection_named(database, collection)
        schema = found.schema
        dynamic = schema.dynamic_field if field not in schema.by_name else None
        wanted = dynamic or schema.field(field)
        asked = index_of(wanted, {JSON_PATH: field, **params} if dynamic else params, schema)
        metric = "" if asked.metric is None else str(asked.metric)
        self._index.create_index(found.id, wanted.id, name or field, asked.type, metric, asked.params, params)
        self._index.progress(found.id, self._limits.index_seconds)

    def indexes(self, database: str, collection: str, field: str = "", name: str = "") -> list[q.IndexState]:
        found = self._catalog.collection_named(database, collection)
        progress = {p.index_id: p for p in self._index.progress(found.id, 0)}
        states = []
        for definition in self._catalog.indexes(found.id):
            state = progress.get(definition.id)
            indexed = found.schema.by_id[definition.field_id]
            if state is None or name not in ("", definition.name) or field not in ("", indexed.name):
                continue
            states.append(
                q.IndexState(
                    definition=definition,
                    field_name=indexed.name,
                    total_rows=state.total_rows,
                    indexed_rows=state.indexed_rows,
                    pending_rows=state.pending_rows,
                    failure=state.failure,
                )
            )
        return states

    def drop_index(self, database: str, collection: str, field: str, name: str) -> None:
        """Nothing where there is none; a loaded collection keeps its vector indexes, as in Milvus."""
        found = self._catalog.collection_named(database, collection)
        for state in self.indexes(database, collection, field, name):
            vector = found.schema.by_id[state.definition.field_id].type.is_vector
            if vector and self._catalog.load(found.id) is not None:
                raise ElanusError(
                    f"vector index cannot be dropped on loaded collection: release {found.name!r} first",
                    Code.UNEXPECTED,
                )
            self._index.drop_index(found.id, state.definition.id)

    # loading; partitions [] = the whole collection

    def load(
        self,
        database: str,
        collection: str,
        partitions: list[str],
        replicas: int,
        fields: list[str],
        refresh: bool,
    ) -> None:
        """Returns when it serves, or after a while, when clients ask for the progress."""
        found = self._catalog.collection_named(database, collection)
        if replicas != 1:
            raise InvalidParameter(
                f"replica_number is {replicas}; there is one query node, so it can be at most 1"
            )
        indexed = {i.field_id for i in self._catalog.indexes(found.id)}
        bare = [f.name for f in found.schema.vectors if f.id not in indexed]
        if bare:
            raise IndexNotFound(
                f"there is no vector index on field: [{' '.join(bare)}], please create index firstly"
            )
        refuse_names(found, partitions)
        wanted = [partition_id(found, p) for p in partitions]
        field_ids = [found.schema.field(f).id for f in fields]
        self._query.load(found.id, wanted, replicas, field_ids, self._limits.load_seconds)

    def release(self, database: str, collection: str, partitions: list[str]) -> None:
        found = self._catalog.collection_named(database, collection)
        refuse_names(found, partitions)
        self._query.release(found.id, [partition_id(found, p) for p in partitions])

    def load_progress(self, database: str, collection: str, partitions: list[str]) -> q.LoadProgress:
        found = self._catalog.collection_named(database, collection)
        intent = self._catalog.load(found.id)
        if intent is None or not self._covers(intent, found, partitions):
            return q.LoadProgress(state=LoadState.NOT_LOADED, percent=0)
        percent = self._query.progress(found.id)
        failure = self._query.failure(found.id)
        if percent < 100 and failure:
            raise ElanusError(
                f"collection {collection!r} cannot be loaded: {failure}", Code.SEGMENT_LOAD_FAILED
            )
        state = LoadState.LOADED if percent == 100 else LoadState.LOADING
        return q.LoadProgress(state=state, percent=percent)

    def _covers(self, intent: LoadIntent, collection: Collection, partitions: list[str]) -> bool:
        wanted = [partition_id(collection, p) for p in partitions]
        return intent.whole_collection or all(p in intent.partitions for p in wanted)

    def loaded_partitions(self, database: str, collection: str) -> dict[str, int]:
        """Loaded partition names and their percentage."""
        found = self._catalog.collection_named(database, collection)
        intent = self._catalog.load(found.id)
        if intent is None:
            raise PartitionNotLoaded(f"collection {collection!r} is not loaded")
        percent = self._query.progress(found.id)
        return {
            p.name: percent for p in found.partitions if intent.whole_collection or p.id in intent.partitions
        }

    # data

    def flush(self, database: str, collections: list[str]) -> dict[str, q.Flushed]:
        """Returns when the rows are sealed, or after a while, when clients ask `flush_state`."""
        found = {name: self._catalog.collection_named(database, name) for name in collections}
        answers = {}
        for name, collection in found.items():
            ticket = self._data.flush(collection.id, self._limits.flush_seconds)
            answers[name] = q.Flushed(
                segments=ticket.sealing,
                flushed_segments=ticket.flushed,
                seal_ms=ticket.seal_ms,
                ts=ticket.ts,
            )
        return answers

    def flush_state(self, database: str, collection: str, ts: int) -> bool:
        return self._data.is_flushed(self._catalog.collection_named(database, collection).id, ts)

    # compaction

    def compact(self, collection: Collection, target_bytes: int | None) -> int:
        """Returns at once; the id is for `compaction_plans`. `target_bytes` None: the usual size."""
        return self._compaction.compact(collection.id, target_bytes)

    def compaction_plans(self, compaction_id: int) -> list[CompactionPlan]:
        return self._compaction.plans(compaction_id)

    def compactions_of(self, collection: Collection) -> list[CompactionPlan]:
        return self._compaction.plans_of(collection.id)

    # service

    def allocate_timestamp(self) -> int:
        return from_ms(int(time.time() * 1000))

    def health(self) -> list[str]:
        """Reasons why the service is not healthy; [] when it is."""
        return self._health()
