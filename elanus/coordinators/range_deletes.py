"""Truncate and DropPartition: rows hidden by range, each with the as_of that its intent keeps (rule 13)."""

import msgspec

from elanus.coordinators.catalog_writer import CatalogWriter
from elanus.model.columns import ALL_PARTITIONS
from elanus.model.nouns import Channel, Collection, DropPartitionIntent, TruncateIntent
from elanus.model.records import Header, Kind, encode
from elanus.roles.data import DataCoordinator
from elanus.storage import codec, keys
from elanus.storage.log import LogBroker
from elanus.storage.meta import MetaStore
from elanus.storage.sequence import Sequence as Ids


class RangeDeletes:
    def __init__(
        self, writer: CatalogWriter, meta: MetaStore, broker: LogBroker, data: DataCoordinator, ids: Ids
    ) -> None:
        self._writer = writer
        self._meta = meta
        self._broker = broker
        self._data = data
        self._ids = ids

    def replay(self) -> None:
        """Finishes what an earlier coordinator began; the same rows are hidden as by its first attempt."""
        for item in self._meta.range(keys.PARTITION_DROPS)[0]:
            self.finish_partition(codec.decode(item.value, DropPartitionIntent, item.key))
        for item in self._meta.range(keys.TRUNCATES)[0]:
            self._finish_truncate(codec.decode(item.value, TruncateIntent, item.key))

    def truncate(self, collection_id: int) -> None:
        """Hides every row that was acknowledged before the call."""
        with self._writer.lock:
            collection = self._writer.collection(collection_id)
            intent = TruncateIntent(
                id=self._ids.take(), collection_id=collection_id, as_of=self._now(collection)
            )
            self._writer.commit([], {keys.truncate(intent.id): codec.encode(intent)})
            self._finish_truncate(intent)

    def _finish_truncate(self, intent: TruncateIntent) -> None:
        collection = self._writer.catalog.collection(intent.collection_id)
        for channel in collection.channels if collection else ():
            self._hide(channel, Kind.TRUNCATE, ALL_PARTITIONS, intent.as_of[channel.id], intent.id)
        self._writer.commit([], {}, [keys.truncate(intent.id)])

    def finish_partitions_of(self, collection_id: int) -> None:
        """Goes on with drops that failed half-way, for a client that asks again."""
        for item in self._meta.range(keys.PARTITION_DROPS)[0]:
            intent = codec.decode(item.value, DropPartitionIntent, item.key)
            if intent.collection_id == collection_id:
                self.finish_partition(intent)

    def finish_partition(self, intent: DropPartitionIntent) -> None:
        collection = self._writer.catalog.collection(intent.collection_id)
        key = keys.partition_drop(intent.partition_id)
        if collection is not None:
            if not intent.as_of:
                # From here on no row of the partition is appended.
                self._writer.confirm()
                intent = msgspec.structs.replace(intent, as_of=self._now(collection))
                self._writer.commit([], {key: codec.encode(intent)})
            for channel in collection.channels:
                as_of = intent.as_of[channel.id]
                self._hide(channel, Kind.DROP_PARTITION, intent.partition_id, as_of, intent.partition_id)
        self._writer.commit([], {}, [key])

    def _now(self, collection: Collection) -> dict[int, int]:
        """Of each channel, the timestamp of the last record its log has."""
        ends = {c.log: self._broker.end_offset(c.log) for c in collection.channels}
        at = {name: self._data.position(name, end).ts for name, end in ends.items()}
        return {c.id: at[c.log] for c in collection.channels}

    def _hide(self, channel: Channel, kind: Kind, partition_id: int, as_of: int, intent: int) -> None:
        header = Header(channel.id, kind, partition_id=partition_id, as_of=as_of, intent=intent)
        self._broker.append(channel.log, encode(header))
