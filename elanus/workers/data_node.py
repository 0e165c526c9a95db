"""The data node: buffers its channels' records and seals them into segments and delete files."""

import logging
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pyarrow as pa

from elanus.engine.deletes import write_delete_file
from elanus.engine.reader import default_column
from elanus.engine.segment_file import write_segment
from elanus.model.columns import PARTITION, TS
from elanus.model.errors import ConflictError, NotFoundError, NotReady, StorageError
from elanus.model.nouns import Channel, Collection, DeleteFile, Manifest, Owner, Segment
from elanus.model.schema import Schema
from elanus.model.timestamps import Position
from elanus.roles.data import ChannelState
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.manifests import Manifests, flush_edit, leave_passed_deletes
from elanus.storage.meta import MetaStore
from elanus.storage.objects import ObjectStore
from elanus.storage.sequence import Sequence
from elanus.workers.channel_buffer import ChannelBuffer, Cut, Seal
from elanus.workers.tail import Tails

log = logging.getLogger(__name__)


class SealPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a channel is sealed without being asked."""

    segment_bytes: int
    buffer_bytes: int
    """All channels together; above it the largest is sealed."""
    age_seconds: float
    check_seconds: float
    retry_seconds: float
    threads: int
    schema_seconds: float = 10.0
    """How long the catalogue may take to show the schema that rows were written with."""


class LocalDataNode:
    """One data node in this process: `roles.DataNode`."""

    def __init__(
        self,
        node_id: int,
        *,
        meta: MetaStore,
        objects: ObjectStore,
        catalog: Catalog,
        manifests: Manifests,
        tails: Tails,
        segment_ids: Sequence,
        scratch: Path,
        policy: SealPolicy,
    ) -> None:
        self.node_id = node_id
        self._meta = meta
        self._objects = objects
        self._catalog = catalog
        self._manifests = manifests
        self._tails = tails
        self._segment_ids = segment_ids
        self._scratch = scratch
        self._policy = policy
        self._buffers: dict[int, ChannelBuffer] = {}
        self._lock = threading.Lock()
        self._sealing: dict[int, Future[None]] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._pool = ThreadPoolExecutor(policy.threads, thread_name_prefix="seal")
        self._thread = threading.Thread(target=self._watch_buffers, name="seal-policy", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # what the data coordinator asks

    def adopt(self, collection_id: int, channels: list[Channel]) -> None:
        collection = self._collection(collection_id)
        fresh = [c for c in channels if c.id not in self._buffers]
        made = [self._buffer(collection, channel) for channel in fresh]
        with self._lock:
            made = [b for b in made if self._buffers.setdefault(b.channel.id, b) is b]
        try:
            for name in {b.channel.log for b in made}:
                joiners = [(b.channel.id, b.start, b) for b in made if b.channel.log == name]
                self._tails[name].follow(joiners)
        except BaseException:
            self.abandon([b.channel.id for b in made])
            raise
        for buffer in made:
            buffer.join()

    def abandon(self, channel_ids: list[int]) -> None:
        for channel_id in channel_ids:
            with self._lock:
                buffer = self._buffers.pop(channel_id, None)
            if buffer is not None:
                self._tails[buffer.channel.log].unfollow(channel_id, buffer)
                with buffer.changed:
                    buffer.dropped = True
                    buffer.changed.notify_all()

    def position(self, log: str, at_least: int, timeout_seconds: float) -> Position:
        return self._tails[log].wait(at_least, timeout_seconds)

    def seal(self, channel_id: int, offset: int, timeout_seconds: float) -> int:
        buffer = self._find(channel_id)
        self._tails[buffer.channel.log].wait(offset + 1, timeout_seconds)
        with buffer.lock:
            ts = buffer.flush_ts.get(offset, buffer.floor.ts)
        self._wake.set()
        return ts

    def state(self, channel_ids: list[int]) -> list[ChannelState]:
        found = [b for b in map(self._buffers.get, channel_ids) if b is not None]
        return [self._state(b) for b in found]

    def wait_sealed(self, channel_id: int, ts: int, timeout_seconds: float) -> bool:
        buffer = self._find(channel_id)
        buffer.ask(ts)
        self._wake.set()
        deadline = time.monotonic() + timeout_seconds
        while not self._stopping:
            left = deadline - time.monotonic()
            if buffer.wait_sealed(ts, max(0.0, min(left, self._policy.check_seconds))):
                return True
            if left <= 0 or buffer.dropped:
                return False
        return False

    @property
    def buffered_bytes(self) -> int:
        return sum(b.bytes for b in list(self._buffers.values()))

    def starts(self, log: str) -> Iterable[Position]:
        """Where the channels of a log must be read from."""
        return [b.start for b in self._buffers.values() if b.channel.log == log]

    # sealing

    def _watch_buffers(self) -> None:
        while not self._stopping:
            self._wake.wait(self._policy.check_seconds)
            self._wake.clear()
            for channel_id in self._due():
                self._submit(channel_id)

    def _due(self) -> list[int]:
        now = time.monotonic()
        everything = [(b, self._tails[b.channel.log].position) for b in list(self._buffers.values())]
        due = {b.channel.id for b, applied in everything if b.must_seal(applied)}
        buffers = [b for b, applied in everything if b.can_seal(applied)]
        due |= {
            b.channel.id
            for b in buffers
            if b.bytes >= self._policy.segment_bytes or now - b.oldest_seconds >= self._policy.age_seconds
        }
        if buffers and sum(b.bytes for b in buffers) > self._policy.buffer_bytes:
            due.add(max(buffers, key=lambda b: b.bytes).channel.id)
        return [c for c in due if c not in self._sealing]

    def _submit(self, channel_id: int) -> None:
        with self._lock:
            if channel_id not in self._sealing and channel_id in self._buffers and not self._stopping:
                self._sealing[channel_id] = self._pool.submit(self._seal, self._buffers[channel_id])

    def _seal(self, buffer: ChannelBuffer) -> None:
        """Cuts the channel at where the tail is now, writes, and moves the manifest's floor there.

        A cut whose edit failed or went unanswered comes first, as it was: it may be in the manifest already.
        """
        channel = buffer.channel
        try:
            if buffer.unfinished is None:
                buffer.unfinished = self._write(buffer, buffer.cut(self._tails[channel.log].position))
            if buffer.unfinished is not None:
                end = buffer.unfinished.cut.end
                self._commit(buffer, buffer.unfinished)
                buffer.sealed(end)
        except NotReady:
            log.info("channel %d is not sealed: the node is stopping", channel.id)
        except ConflictError as error:
            log.warning("channel %d is given up: %s", channel.id, error)
            self.abandon([channel.id])
        except StorageError as error:
            log.error(
                "channel %d is not sealed, again in %s s: %s", channel.id, self._policy.retry_seconds, error
            )
            self._pause()
        except Exception:  # a full scratch disk, say: nobody else would hear of it
            log.exception("channel %d is not sealed, again in %s s", channel.id, self._policy.retry_seconds)
            self._pause()
        finally:
            with self._lock:
                self._sealing.pop(channel.id, None)
            self._wake.set()

    def _pause(self) -> None:
        until = time.monotonic() + self._policy.retry_seconds
        while not self._stopping and time.monotonic() < until:
            time.sleep(min(0.1, self._policy.retry_seconds))

    def _write(self, buffer: ChannelBuffer, cut: Cut) -> Seal | None:
        if cut.empty:
            return None
        number = self._segment_ids.take(2)
        parts = ((cut.batches, number), (cut.truncated, number + 1))
        return Seal(
            cut=cut,
            segments=tuple(self._write_rows(buffer, cut, rows, id) for rows, id in parts if rows),
            deletes=self._write_deletes(buffer, cut, number),
            edit=flush_edit(buffer.channel.id, buffer.epoch, number),
        )

    def _commit(self, buffer: ChannelBuffer, seal: Seal) -> None:
        cut, deletes = seal.cut, seal.deletes
        floor = buffer.floor

        def move(manifest: Manifest) -> Manifest:
            if manifest.floor != floor:
                raise ConflictError(
                    f"channel {buffer.channel.id}: the floor is {manifest.floor_offset}, "
                    f"this node expected {floor.offset}"
                )
            return leave_passed_deletes(
                msgspec.structs.replace(
                    manifest,
                    floor_offset=cut.end.offset,
                    floor_ts=cut.end.ts,
                    segments=manifest.segments + seal.segments,
                    delete_files=manifest.delete_files + ((deletes,) if deletes else ()),
                    range_deletes=manifest.range_deletes + cut.range_deletes,
                )
            )

        owner = keys.owner(buffer.channel.id)
        self._manifests.edit(buffer.channel, seal.edit, {owner: buffer.guard_revision}, move)
        log.info(
            "channel %d sealed to offset %d: %d rows, %d deletes",
            buffer.channel.id,
            cut.end.offset,
            sum(s.rows for s in seal.segments),
            deletes.rows if deletes else 0,
        )

    def _write_rows(
        self, buffer: ChannelBuffer, cut: Cut, batches: tuple[pa.RecordBatch, ...], number: int
    ) -> Segment:
        schema = self._schema(buffer.collection_id, cut.schema_version)
        name = f"{number}"
        producer = keys.flushed_by(buffer.epoch)
        prefix = keys.segment_prefix(buffer.collection_id, buffer.channel.id, producer, name)
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="seal-") as directory:
            table = pa.Table.from_batches([_complete(batch, schema) for batch in batches])
            summary = write_segment(table, schema, Path(directory))
            for file in summary.files:
                self._objects.put(f"{prefix}/{file}", Path(directory) / file)
        return Segment(
            name=name,
            prefix=prefix,
            rows=summary.rows,
            bytes=summary.bytes,
            min_ts=summary.min_ts,
            max_ts=summary.max_ts,
            partitions=summary.partitions,
            schema_version=schema.version,
        )

    def _write_deletes(self, buffer: ChannelBuffer, cut: Cut, number: int) -> DeleteFile | None:
        if cut.deletes is None:
            return None
        producer = keys.flushed_by(buffer.epoch)
        path = keys.delete_path(buffer.collection_id, buffer.channel.id, producer, f"{number}")
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="seal-") as directory:
            local = Path(directory) / "deletes"
            write_delete_file(cut.deletes.table, local)
            self._objects.put(path, local)
        return DeleteFile(
            name=f"{number}",
            path=path,
            rows=len(cut.deletes),
            min_ts=cut.deletes.min_ts,
            max_ts=cut.deletes.max_ts,
        )

    def _buffer(self, collection: Collection, channel: Channel) -> ChannelBuffer:
        item = self._meta.get(keys.owner(channel.id))
        if item is None:
            raise ConflictError(
                f"channel {channel.id} has no owner record: the data coordinator writes it first"
            )
        pointer, start = self._manifests.start(channel)
        return ChannelBuffer(
            collection_id=collection.id,
            channel=channel,
            schema=collection.schema,
            floor=Position(pointer.floor_offset, pointer.floor_ts),
            start=start,
            guard_revision=item.revision,
            epoch=codec.decode(item.value, Owner, item.key).epoch,
        )

    def _state(self, buffer: ChannelBuffer) -> ChannelState:
        held = buffer.unsealed()
        return ChannelState(
            channel_id=buffer.channel.id,
            rows=sum(held.rows.values()),
            bytes=held.bytes,
            partition_rows=held.rows,
            range_deletes=held.range_deletes,
            floor_offset=held.floor.offset,
            sealed_to=buffer.sealed_to(self._tails[buffer.channel.log].position),
        )

    def _find(self, channel_id: int) -> ChannelBuffer:
        buffer = self._buffers.get(channel_id)
        if buffer is None:
            raise NotReady(f"channel {channel_id} is not at data node {self.node_id}")
        return buffer

    def _schema(self, collection_id: int, version: int) -> Schema:
        schema = self._catalog.schema(collection_id, version, self._policy.schema_seconds)
        if schema is None:
            raise NotFoundError(f"collection {collection_id} is not in the catalogue")
        return schema

    def _collection(self, collection_id: int) -> Collection:
        collection = self._catalog.collection(collection_id)
        if collection is None:
            raise NotFoundError(f"collection {collection_id} is not in the catalogue")
        return collection


def _complete(batch: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
    """Rows that were written before a field was added get its default."""
    names = set(batch.schema.names)
    columns = [
        batch.column(f.key) if f.key in names else default_column(f, batch.num_rows) for f in schema.fields
    ]
    columns += [batch.column(PARTITION), batch.column(TS)]
    return pa.RecordBatch.from_arrays(columns, names=[*(f.key for f in schema.fields), PARTITION, TS])
