"""The root coordinator: databases, collections, partitions; DDL as replayed intents (rule 13)."""

import logging
from collections.abc import Sequence

import msgspec

from elanus.coordinators.alterations import Alterations
from elanus.coordinators.catalog_writer import CatalogWriter, now
from elanus.coordinators.names import Names, most_collections
from elanus.coordinators.range_deletes import RangeDeletes
from elanus.model.codes import Code
from elanus.model.columns import ALL_PARTITIONS
from elanus.model.errors import ElanusError, InvalidParameter
from elanus.model.nouns import (
    Channel,
    Collection,
    Database,
    DropCollectionIntent,
    DropPartitionIntent,
    Name,
    Partition,
)
from elanus.model.records import Header, Kind, encode
from elanus.model.schema import Schema
from elanus.model.types import ConsistencyLevel
from elanus.roles.data import DataCoordinator
from elanus.roles.index import IndexCoordinator
from elanus.roles.query import QueryCoordinator
from elanus.storage import codec, keys
from elanus.storage.catalog import DEFAULT_DATABASE
from elanus.storage.log import LogBroker
from elanus.storage.meta import Absent, Compare, MetaStore
from elanus.storage.sequence import Sequence as Ids

log = logging.getLogger(__name__)


class RootLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the catalogue."""

    max_databases: int
    max_collections: int
    max_database_collections: int
    """Of one database, where it has no property of its own."""
    max_partitions: int
    max_capacity: int
    """Partitions times shards, over all collections."""


class LocalRootCoordinator:
    """`roles.RootCoordinator` in this process. One DDL at a time."""

    def __init__(
        self,
        writer: CatalogWriter,
        *,
        meta: MetaStore,
        broker: LogBroker,
        ids: Ids,
        data: DataCoordinator,
        index: IndexCoordinator,
        query: QueryCoordinator,
        limits: RootLimits,
    ) -> None:
        self._writer = writer
        self._catalog = writer.catalog
        self._collection = writer.collection
        self._lock = writer.lock
        self._meta = meta
        self._broker = broker
        self._ids = ids
        self._data = data
        self._index = index
        self._query = query
        self._limits = limits
        self._names = Names(writer)
        self._alterations = Alterations(writer, meta, broker)
        self._range_deletes = RangeDeletes(writer, meta, broker, data, ids)
        self.create_alias = self._names.create_alias
        self.alter_alias = self._names.alter_alias
        self.drop_alias = self._names.drop_alias
        self.rename_collection = self._names.rename_collection
        self.alter_collection = self._alterations.alter_collection
        self.alter_field = self._alterations.alter_field
        self.add_field = self._alterations.add_field
        self.truncate_collection = self._range_deletes.truncate

    def start(self) -> None:
        """Makes the default database and replays what an earlier coordinator left unfinished."""
        if not any(d.name == DEFAULT_DATABASE for d in self._catalog.databases()):
            self._put_database(Database(id=self._ids.take(), name=DEFAULT_DATABASE, created_ts=now()), [])
        for item in self._meta.range(keys.COLLECTION_DROPS)[0]:
            intent = codec.decode(item.value, DropCollectionIntent, item.key)
            self._finish_drop_collection(intent.collection)
        self._range_deletes.replay()
        self._alterations.replay()

    # databases

    def create_database(self, name: str, properties: dict[str, str]) -> Database:
        with self._lock:
            there = self._catalog.databases()
            if any(d.name == name for d in there):
                raise ElanusError(f"database already exist: {name}", Code.UNEXPECTED)
            if len(there) > self._limits.max_databases:
                raise ElanusError(
                    f"there are {len(there) - 1} databases beside {DEFAULT_DATABASE!r}, the limit is "
                    f"{self._limits.max_databases} (rootCoord.maxDatabaseNum)",
                    Code.DATABASE_NUM_LIMIT_EXCEEDED,
                )
            database = Database(id=self._ids.take(), name=name, properties=properties, created_ts=now())
            self._put_database(database, [Absent(keys.database(database.id))])
            return database

    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> Database:
        with self._lock:
            old = self._catalog.database(name)
            kept = {k: v for k, v in old.properties.items() if k not in delete_keys}
            database = msgspec.structs.replace(old, properties={**kept, **properties})
            self._put_database(database, [])
            return database

    def drop_database(self, name: str) -> None:
        with self._lock:
            if name == DEFAULT_DATABASE:
                raise InvalidParameter(f"the database {DEFAULT_DATABASE!r} cannot be dropped")
            database = self._catalog.database(name)
            names = [n.name for n in self._catalog.names(database.id)]
            if names:
                raise InvalidParameter(
                    f"database {name!r} is not empty: drop its {len(names)} collections first, "
                    f"{names[0]!r} among them"
                )
            self._writer.change([], {}, [keys.database(database.id)])

    def _put_database(self, database: Database, compares: list[Compare | Absent]) -> None:
        self._writer.change(compares, {keys.database(database.id): codec.encode(database)})

    # collections

    def create_collection(
        self,
        database: str,
        name: str,
        schema: Schema,
        shards: int,
        partitions: list[str],
        consistency_level: ConsistencyLevel,
        properties: dict[str, str],
    ) -> Collection:
        with self._lock:
            home = self._catalog.database(database)
            existing = self._existing(home, name)
            if existing is not None:
                keyed = existing.schema.partition_key is not None
                if keyed and len(existing.partitions) != len(partitions):
                    raise _different(existing)
                same = self._same_or_error(existing, schema, shards, consistency_level, properties)
                # Whoever made it may have failed half-way.
                self._data.adopt(same.id)
                return same
            there = self._catalog.collections()
            count = len(there)
            if count >= self._limits.max_collections:
                raise ElanusError(
                    f"there are {count} collections, the limit is {self._limits.max_collections}",
                    Code.COLLECTION_NUM_LIMIT_EXCEEDED,
                )
            most = most_collections(home)
            self._names.check_room(home, self._limits.max_database_collections if most is None else most)
            self._check_capacity(there, shards * len(partitions))
            at = now()
            first = self._ids.take(1 + shards + len(partitions))
            collection = Collection(
                id=first,
                database_id=home.id,
                name=name,
                schema=schema,
                channels=tuple(self._channel(first + 1 + i) for i in range(shards)),
                partitions=tuple(
                    Partition(id=first + 1 + shards + i, name=p, created_ts=at)
                    for i, p in enumerate(partitions)
                ),
                consistency_level=consistency_level,
                properties=properties,
                created_ts=at,
            )
            entry = Name(name=name, collection_id=collection.id)
            revision = self._writer.commit(
                [Absent(keys.name(home.id, name))],
                {
                    keys.collection(collection.id): codec.encode(collection),
                    keys.name(home.id, name): codec.encode(entry),
                },
            )
            self._data.adopt(collection.id)
            self._writer.confirm(revision)
            return collection

    def _check_capacity(self, there: Sequence[Collection], more: int) -> None:
        used = sum(len(c.channels) * len(c.partitions) for c in there)
        if used + more > self._limits.max_capacity:
            raise ElanusError(
                f"all collections have {used} partitions times shards, with these {used + more}; "
                f"the limit is {self._limits.max_capacity} (rootCoord.maxGeneralCapacity)",
                Code.GENERAL_CAPACITY_EXCEEDED,
            )

    def _channel(self, channel_id: int) -> Channel:
        logs = self._broker.logs()
        name = logs[channel_id % len(logs)]
        start = self._data.position(name, 0)
        return Channel(id=channel_id, log=name, start_offset=start.offset, start_ts=start.ts)

    def _existing(self, home: Database, name: str) -> Collection | None:
        entry = self._catalog.name(home.id, name)
        if entry is None:
            return None
        if entry.alias:
            raise ElanusError(
                f"{name!r} is an alias of a collection; choose another name or drop the alias first",
                Code.ALIAS_COLLECTION_NAME_CONFLICT,
            )
        return self._catalog.collection(entry.collection_id)

    def _same_or_error(
        self,
        existing: Collection,
        schema: Schema,
        shards: int,
        consistency_level: ConsistencyLevel,
        properties: dict[str, str],
    ) -> Collection:
        same = (
            existing.schema == schema
            and len(existing.channels) == shards
            and existing.consistency_level == consistency_level
            and existing.properties == properties
        )
        if not same:
            raise _different(existing)
        return existing

    def drop_collection(self, database: str, name: str) -> None:
        with self._lock:
            home = self._catalog.database(database)
            entry = self._catalog.name(home.id, name)
            if entry is None:
                self._finish_drops_of(home, name)
                return
            if entry.alias:
                raise InvalidParameter(
                    f"cannot drop the collection via alias {name!r}; use the collection's own name"
                )
            collection = self._collection(entry.collection_id)
            aliases = self._names.aliases(collection)
            if aliases:
                raise InvalidParameter(
                    f"collection {name!r} has the aliases {', '.join(aliases)}; drop them first"
                )
            dropping = msgspec.structs.replace(collection, dropping=True)
            intent = DropCollectionIntent(collection=dropping)
            self._writer.commit(
                [],
                {
                    keys.collection_drop(collection.id): codec.encode(intent),
                    keys.collection(collection.id): codec.encode(dropping),
                },
                [keys.name(home.id, name)],
            )
            self._finish_drop_collection(dropping)

    def _finish_drops_of(self, home: Database, name: str) -> None:
        """Goes on with drops that failed half-way, for a client that asks again."""
        for item in self._meta.range(keys.COLLECTION_DROPS)[0]:
            collection = codec.decode(item.value, DropCollectionIntent, item.key).collection
            if collection.database_id == home.id and collection.name == name:
                self._finish_drop_collection(collection)

    def _finish_drop_collection(self, collection: Collection) -> None:
        # From here on no write is under way, nor will one begin.
        self._writer.confirm()
        self._query.release(collection.id, [])
        self._index.drop_collection(collection.id)
        self._append(collection.channels, Kind.DROP, collection.id)
        self._data.abandon(collection.id, list(collection.channels))
        self._writer.change(
            [],
            {},
            [
                keys.collection(collection.id),
                keys.collection_drop(collection.id),
                *(keys.manifest(c.id) for c in collection.channels),
                *(keys.owner(c.id) for c in collection.channels),
            ],
        )

    # partitions

    def create_partition(self, collection_id: int, name: str) -> Partition:
        with self._lock:
            collection = self._collection(collection_id)
            existing = collection.partition(name)
            if existing is not None:
                return existing
            if len(collection.partitions) >= self._limits.max_partitions:
                raise InvalidParameter(
                    f"collection {collection.name!r} has {len(collection.partitions)} partitions, at most "
                    f"{self._limits.max_partitions} (rootCoord.maxPartitionNum)"
                )
            self._check_capacity(self._catalog.collections(), len(collection.channels))
            partition = Partition(id=self._ids.take(), name=name, created_ts=now())
            changed = msgspec.structs.replace(collection, partitions=(*collection.partitions, partition))
            self._writer.put_collection(changed)
            return partition

    def drop_partition(self, collection_id: int, name: str) -> None:
        with self._lock:
            collection = self._collection(collection_id)
            partition = collection.partition(name)
            if partition is None:
                self._range_deletes.finish_partitions_of(collection_id)
                return
            if partition == collection.partitions[0]:
                raise InvalidParameter(f"the default partition {name!r} cannot be dropped")
            load = self._catalog.load(collection_id)
            if load is not None and (load.whole_collection or partition.id in load.partitions):
                raise InvalidParameter(f"partition {name!r} is loaded; release it before you drop it")
            intent = DropPartitionIntent(collection_id=collection_id, partition_id=partition.id)
            left = tuple(p for p in collection.partitions if p.id != partition.id)
            changed = msgspec.structs.replace(collection, partitions=left)
            self._writer.commit(
                [],
                {
                    keys.collection(collection_id): codec.encode(changed),
                    keys.partition_drop(partition.id): codec.encode(intent),
                },
            )
            self._range_deletes.finish_partition(intent)

    # shared

    def _append(self, channels: Sequence[Channel], kind: Kind, intent: int) -> None:
        for channel in channels:
            self._broker.append(
                channel.log, encode(Header(channel.id, kind, partition_id=ALL_PARTITIONS, intent=intent))
            )


def _different(existing: Collection) -> ElanusError:
    return ElanusError(
        f"create duplicate collection with different parameters, collection: {existing.name}; "
        "drop it first or use the same schema",
        Code.UNEXPECTED,
    )
