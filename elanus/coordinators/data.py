"""The data coordinator: channels to data nodes, flush, statistics, trimming the logs."""

import logging
import threading
import time
from collections.abc import Iterable

import msgspec

from elanus.coordinators.term import Term
from elanus.model.errors import CollectionNotFound, CorruptError, ElanusError
from elanus.model.nouns import Channel, Collection, LogIdentity, Manifest, Mark, Owner
from elanus.model.records import Header, Kind, encode
from elanus.model.timestamps import Position
from elanus.roles.data import ChannelState, DataNode, FlushTicket, SegmentState
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.log import LogBroker
from elanus.storage.manifests import Manifests
from elanus.storage.meta import MetaStore

log = logging.getLogger(__name__)


class DataLimits(msgspec.Struct, frozen=True, kw_only=True):
    seal_seconds: float
    """The longest a flush waits for the data node to see its record."""
    trim_seconds: float
    """How often marks move and logs are trimmed."""
    read_attempts: int
    """How often statistics are read again when a channel was sealed meanwhile."""
    read_retry_seconds: float = 0.005


class LocalDataCoordinator:
    """`roles.DataCoordinator` in this process."""

    def __init__(
        self,
        term: Term,
        *,
        meta: MetaStore,
        catalog: Catalog,
        broker: LogBroker,
        manifests: Manifests,
        node_id: int,
        node: DataNode,
        limits: DataLimits,
    ) -> None:
        self._term = term
        self._meta = meta
        self._catalog = catalog
        self._broker = broker
        self._manifests = manifests
        self._node_id = node_id
        self._node = node
        self._limits = limits
        self._starts = threading.Lock()
        """Held while channels are adopted or logs trimmed: a start that was read is not trimmed away."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._trim_now_and_then, name="trim", daemon=True)

    def start(self) -> None:
        """Gives every channel to the data node."""
        for collection in self._catalog.collections():
            if not collection.dropping:
                self._adopt(collection)

    def start_trimming(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    # channels

    def adopt(self, collection_id: int) -> None:
        self._adopt(self._collection(collection_id))

    def _adopt(self, collection: Collection) -> None:
        puts: dict[str, bytes] = {}
        for channel in collection.channels:
            item = self._meta.get(keys.owner(channel.id))
            old = codec.decode(item.value, Owner, item.key) if item else Owner(node=-1, epoch=0)
            if old.node != self._node_id:
                owner = Owner(node=self._node_id, epoch=old.epoch + 1)
                puts[keys.owner(channel.id)] = codec.encode(owner)
        if puts:
            self._term.txn([], puts)
        with self._starts:
            self._node.adopt(collection.id, list(collection.channels))

    def abandon(self, collection_id: int, channels: list[Channel]) -> None:
        self._node.abandon([c.id for c in channels])

    def position(self, log: str, at_least: int) -> Position:
        return self._node.position(log, at_least, self._limits.seal_seconds)

    # flush

    def flush(self, collection_id: int, wait_seconds: float) -> FlushTicket:
        collection = self._collection(collection_id)
        deadline = time.monotonic() + wait_seconds
        before = {s.id for s in self.segments(collection_id)}
        sealed: list[int] = []
        seal_ms = 0
        for channel in collection.channels:
            appended = self._broker.append(channel.log, encode(Header(channel.id, Kind.FLUSH)))
            sealed.append(self._node.seal(channel.id, appended.offset, self._limits.seal_seconds))
            seal_ms = appended.append_ms
        # One timestamp for all channels, whichever logs they are in: it is all that a client gets to ask by.
        ts = max(sealed)
        for channel in collection.channels:
            self._node.wait_sealed(channel.id, ts, max(0.0, deadline - time.monotonic()))
        after = {s.id for s in self.segments(collection_id)}
        return FlushTicket(
            ts=ts,
            seal_ms=seal_ms,
            sealing=tuple(sorted(after - before)),
            flushed=tuple(sorted(after)),
        )

    def is_flushed(self, collection_id: int, ts: int) -> bool:
        channels = self._collection(collection_id).channels
        for name in {c.log for c in channels}:
            self.position(name, self._broker.end_offset(name))
        # Every channel is asked, so that all are being sealed when the client comes again.
        done = [self._node.wait_sealed(c.id, ts, 0.0) for c in channels]
        return all(done)

    # statistics

    def row_counts(self, collection_id: int) -> dict[int, int]:
        collection = self._collection(collection_id)
        counts = {p.id: 0 for p in collection.partitions}
        for name in {c.log for c in collection.channels}:
            self.position(name, self._broker.end_offset(name))
        for channel in collection.channels:
            state, manifest = self._consistent(channel)
            hidden = (*manifest.range_deletes, *state.range_deletes)
            for segment in manifest.segments:
                for part in segment.partitions:
                    gone = any(r.covers(part.partition_id, segment.max_ts) for r in hidden)
                    if part.partition_id in counts and not gone:
                        counts[part.partition_id] += part.end - part.start
            for partition_id, rows in state.partition_rows.items():
                if partition_id in counts:
                    counts[partition_id] += rows
        return counts

    def _consistent(self, channel: Channel) -> tuple[ChannelState, Manifest]:
        """A node's state and a manifest with the same floor: nothing is counted twice or missed."""
        for _ in range(self._limits.read_attempts):
            state = self._states([channel])[channel.id]
            manifest = self._manifests.read(channel)
            if manifest.floor_offset == state.floor_offset:
                return state, manifest
            time.sleep(self._limits.read_retry_seconds)
        raise ElanusError(
            f"channel {channel.id} was sealed {self._limits.read_attempts} times while its rows "
            "were counted; ask again"
        )

    def segments(self, collection_id: int) -> list[SegmentState]:
        return [
            SegmentState(
                id=int(segment.name),
                name=segment.name,
                channel_id=channel.id,
                rows=segment.rows,
                bytes=segment.bytes,
                partitions=tuple(p.partition_id for p in segment.partitions),
                channel=channel.log,
                replaces=tuple(int(s.name) for s in segment.replaces),
            )
            for channel in self._collection(collection_id).channels
            for segment in self._manifests.read(channel).segments
        ]

    def _states(self, channels: Iterable[Channel]) -> dict[int, ChannelState]:
        wanted = list(channels)
        states = {s.channel_id: s for s in self._node.state([c.id for c in wanted])}
        missing = [c.id for c in wanted if c.id not in states]
        if missing:
            raise ElanusError(f"channels {missing} are at no data node")
        return states

    # logs

    def check_logs(self) -> None:
        """Rule 12: a log that was made anew or has lost records is refused loudly. Raises CorruptError."""
        for name in self._broker.logs():
            self._check_identity(name)
        for collection in self._catalog.collections():
            if not collection.dropping:
                for channel in collection.channels:
                    self._check_range(collection, channel)

    def _check_identity(self, name: str) -> None:
        identity, end = self._broker.identity(name), self._broker.end_offset(name)
        item = self._meta.get(keys.log(name))
        if item is None:
            if end:
                raise CorruptError(
                    f"log {name!r} holds records up to offset {end}, but the meta store knows nothing of it: "
                    "the meta store was lost, or is another deployment's. Restore it, or start on an empty "
                    "directory"
                )
            self._term.txn([], {keys.log(name): codec.encode(LogIdentity(identity=identity))})
            return
        stored = codec.decode(item.value, LogIdentity, item.key).identity
        if stored != identity:
            raise CorruptError(
                f"log {name!r} is not the one this deployment wrote: its identity is {identity}, not "
                f"{stored}. It was deleted and made again; what was acknowledged in the old one is lost. "
                "Restore it, or start on an empty directory"
            )

    def _check_range(self, collection: Collection, channel: Channel) -> None:
        """The log still has all that is not sealed."""
        _, start = self._manifests.start(channel)
        first, end = self._broker.start_offset(channel.log), self._broker.end_offset(channel.log)
        if not first <= start.offset <= end:
            raise CorruptError(
                f"log {channel.log!r} holds offsets {first} to {end}; channel {channel.id} of collection "
                f"{collection.name!r} continues at {start.offset}. The log has lost what was acknowledged in "
                "it. Restore it, or start on an empty directory"
            )

    def _trim_now_and_then(self) -> None:
        while not self._stop.wait(self._limits.trim_seconds):
            try:
                for name in self._broker.logs():
                    self.trim(name)
            except ElanusError as error:
                log.warning("logs are not trimmed, again in %s s: %s", self._limits.trim_seconds, error)

    def trim(self, log_name: str) -> None:
        """Moves the mark up to where every channel is sealed, and drops what no start pair needs (rule 9)."""
        with self._starts:
            self._trim(log_name)

    def _trim(self, log_name: str) -> None:
        # The position first: a channel that the catalogue does not show yet has all its records above it.
        here = self._node.position(log_name, 0, self._limits.seal_seconds)
        collections = self._catalog.collections()
        channels = [c for k in collections for c in k.channels if c.log == log_name]
        sealed = [s.sealed_to for s in self._node.state([c.id for c in channels])]
        old = self._manifests.mark(log_name)
        new = min([here, *sealed])
        if len(sealed) == len(channels) and new > old:
            self._term.txn([], {keys.mark(log_name): codec.encode(Mark(offset=new.offset, ts=new.ts))})
            old = new
        starts = [max(self._manifests.pointer(c).floor_offset, old.offset) for c in channels]
        views = [v for k in collections for v in self._catalog.views(k.id) if v.log == log_name]
        low = min([here.offset, *starts, *(v.start_offset for v in views)])
        if low > self._broker.start_offset(log_name):
            self._broker.trim(log_name, low)

    def _collection(self, collection_id: int) -> Collection:
        collection = self._catalog.collection(collection_id)
        if collection is None:
            raise CollectionNotFound(f"collection {collection_id} does not exist")
        return collection
