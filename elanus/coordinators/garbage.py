"""Garbage collection: the only place where objects are deleted (rule 10).

One pass lists the objects, asks of each whoever made it whether it may still be put to use, then reads the
manifests, and the views after them: what is named by none of them, for the whole grace time, goes.
The order is what makes it safe. An object in the list was made before all else was read, so a job that has
ended has its edit in the manifests read later, or never will; and a view that is made of a manifest that was
replaced meanwhile is seen because views are read last.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable

import msgspec

from elanus.coordinators.term import Term
from elanus.model.errors import ElanusError, NotFoundError
from elanus.model.nouns import (
    Channel,
    Collection,
    DropCollectionIntent,
    Job,
    LoadIntent,
    Manifest,
    ManifestPointer,
    Owner,
    Segment,
    View,
    ViewPointer,
)
from elanus.storage import codec, keys
from elanus.storage.manifests import last_flush, with_inputs
from elanus.storage.meta import MetaStore
from elanus.storage.objects import ObjectStore

log = logging.getLogger(__name__)

_DATA = (keys.SEGMENT_OBJECTS, keys.DELETE_OBJECTS, keys.INDEX_OBJECTS)
_MS = 1000


class GarbagePolicy(msgspec.Struct, frozen=True, kw_only=True):
    interval_seconds: float
    grace_seconds: float
    """What has been garbage for so long is deleted; longer than nodes keep a view that was replaced."""
    job_seconds: float
    """A job that has not ended after so long is presumed dead: its key goes, and its right to commit."""


class _Producers(msgspec.Struct, kw_only=True):
    """Who was alive before the manifests were read."""

    jobs: frozenset[int]
    epochs: dict[int, int]
    """Channel id -> the epoch of its owner."""


class _Channels(msgspec.Struct, kw_only=True):
    """What the manifests and views of all channels name."""

    data: set[str] = msgspec.field(default_factory=set)
    """Object paths, and segments' prefixes."""
    flushed: dict[int, int] = msgspec.field(default_factory=dict)
    """Channel id -> number of its owner's last flush that is in the manifest."""
    manifests: dict[int, ManifestPointer] = msgspec.field(default_factory=dict)
    views: dict[int, list[ViewPointer]] = msgspec.field(default_factory=dict)
    loaded: set[int] = msgspec.field(default_factory=set)
    """Channels whose collection is to be served."""
    unknown: set[int] = msgspec.field(default_factory=set)
    """Channels of which something could not be read: nothing of theirs is touched."""


class GarbageCollector:
    """Part of the data coordinator. Deletes only in its term."""

    def __init__(
        self,
        term: Term,
        *,
        meta: MetaStore,
        objects: ObjectStore,
        policy: GarbagePolicy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._term = term
        self._meta = meta
        self._objects = objects
        self._policy = policy
        self._clock = clock
        self._since: dict[str, float] = {}
        """Object -> when it was first found to be garbage; it has been ever since."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._collect_now_and_then, name="garbage", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _collect_now_and_then(self) -> None:
        while not self._stop.wait(self._policy.interval_seconds):
            try:
                self.collect()
            except ElanusError as error:
                log.warning(
                    "garbage is not collected, again in %s s: %s", self._policy.interval_seconds, error
                )

    def collect(self) -> int:
        """One pass; how many objects it deleted."""
        listed = [o.path for o in self._objects.list("")]
        producers = self._producers()
        channels = self._named(producers)
        now = self._clock()
        garbage = [p for p in listed if _is_garbage(p, producers, channels)]
        self._since = {p: self._since.get(p, now) for p in garbage}
        due = [p for p, since in self._since.items() if now - since >= self._policy.grace_seconds]
        return self._delete(due)

    def _delete(self, paths: list[str]) -> int:
        deleted = 0
        for path in paths:
            if self._stop.is_set() or not self._term.active:
                break
            self._objects.delete(path)
            self._since.pop(path, None)
            deleted += 1
        if deleted:
            log.info("%d objects that nothing names were deleted", deleted)
        return deleted

    def _producers(self) -> _Producers:
        """Jobs whose key exists, after the keys of those presumed dead are gone; owners."""
        oldest = int((time.time() - self._policy.job_seconds) * _MS)
        alive = set()
        for item in self._meta.range(keys.JOBS)[0]:
            if codec.decode(item.value, Job, item.key).started_ms < oldest:
                self._term.txn([], {}, [item.key])
            else:
                alive.add(int(item.key.removeprefix(keys.JOBS)))
        owners = self._meta.range(keys.OWNERS)[0]
        epochs = {
            int(i.key.removeprefix(keys.OWNERS)): codec.decode(i.value, Owner, i.key).epoch for i in owners
        }
        return _Producers(jobs=frozenset(alive), epochs=epochs)

    def _named(self, producers: _Producers) -> _Channels:
        found = _Channels()
        # Manifests first: a view made meanwhile may be of a manifest that was replaced meanwhile.
        for channel in self._channels():
            self._read_manifest(channel, producers, found)
        self._read_views(found)
        return found

    def _channels(self) -> Iterable[Channel]:
        """Of all collections, those that are being dropped included."""
        collections = {
            c.id: c
            for item in self._meta.range(keys.COLLECTIONS)[0]
            for c in [codec.decode(item.value, Collection, item.key)]
        }
        for item in self._meta.range(keys.COLLECTION_DROPS)[0]:
            dropping = codec.decode(item.value, DropCollectionIntent, item.key).collection
            collections.setdefault(dropping.id, dropping)
        return [c for k in collections.values() for c in k.channels]

    def _read_manifest(self, channel: Channel, producers: _Producers, found: _Channels) -> None:
        item = self._meta.get(keys.manifest(channel.id))
        if item is None:
            found.manifests[channel.id] = ManifestPointer(
                version=0, name="", floor_offset=channel.start_offset, floor_ts=channel.start_ts
            )
            return
        pointer = codec.decode(item.value, ManifestPointer, item.key)
        path = keys.manifest_path(channel.id, pointer.name)
        try:
            manifest = codec.decode(self._objects.get(path), Manifest, path)
        except NotFoundError:
            self._give_up(channel.id, path, found)
            return
        found.manifests[channel.id] = pointer
        found.data.update(f.path for f in manifest.delete_files)
        _name_segments(with_inputs(manifest), found.data)
        if channel.id in producers.epochs:
            found.flushed[channel.id] = last_flush(manifest, producers.epochs[channel.id])

    def _read_views(self, found: _Channels) -> None:
        loads = [codec.decode(i.value, LoadIntent, i.key) for i in self._meta.range(keys.LOADS)[0]]
        for load in loads:
            item = self._meta.get(keys.collection(load.collection_id))
            if item is not None:
                collection = codec.decode(item.value, Collection, item.key)
                found.loaded.update(c.id for c in collection.channels)
        for item in self._meta.range(keys.VIEWS)[0]:
            pointer = codec.decode(item.value, ViewPointer, item.key)
            path = keys.view_path(pointer.channel_id, pointer.name)
            try:
                view = codec.decode(self._objects.get(path), View, path)
            except NotFoundError:
                self._give_up(pointer.channel_id, path, found)
                continue
            found.views.setdefault(pointer.channel_id, []).append(pointer)
            found.data.update(f.path for f in view.delete_files)
            _name_segments([p.segment for p in view.placement], found.data)

    def _give_up(self, channel_id: int, path: str, found: _Channels) -> None:
        log.warning("object %s is missing: nothing of channel %d is collected", path, channel_id)
        found.unknown.add(channel_id)


def _name_segments(segments: Iterable[Segment], paths: set[str]) -> None:
    for segment in segments:
        paths.add(f"{segment.prefix}/")
        paths.update(i.path for i in segment.indexes)


def _is_garbage(path: str, producers: _Producers, channels: _Channels) -> bool:
    """Nothing names it and nothing ever will. What has an unknown form is left alone."""
    kind, _, rest = path.partition("/")
    parts = rest.split("/")
    if f"{kind}/" in (keys.MANIFEST_OBJECTS, keys.VIEW_OBJECTS):
        if len(parts) != 2 or not parts[0].isdigit() or int(parts[0]) in channels.unknown:
            return False
        is_old = _is_old_manifest if f"{kind}/" == keys.MANIFEST_OBJECTS else _is_old_view
        return is_old(int(parts[0]), parts[1], channels)
    if f"{kind}/" not in _DATA or len(parts) < 4 or not parts[1].isdigit():
        return False
    channel_id, producer, name = int(parts[1]), parts[2], parts[3]
    if channel_id in channels.unknown or _may_come(channel_id, producer, name, producers, channels):
        return False
    prefix = "/".join([kind, *parts[:4]])
    return path not in channels.data and f"{prefix}/" not in channels.data


def _may_come(channel_id: int, producer: str, name: str, producers: _Producers, channels: _Channels) -> bool:
    """Whether an edit that names it may still be made."""
    if producer.startswith(keys.MADE) and producer[1:].isdigit():
        return int(producer[1:]) in producers.jobs
    if producer.startswith(keys.FLUSHED) and producer[1:].isdigit() and name.isdigit():
        epoch = producers.epochs.get(channel_id)
        return epoch == int(producer[1:]) and int(name) > channels.flushed.get(channel_id, 0)
    return True


def _is_old_manifest(channel_id: int, name: str, channels: _Channels) -> bool:
    """A body becomes the manifest by a swap of the version before it, or never."""
    pointer = channels.manifests.get(channel_id)
    return pointer is None or (name != pointer.name and _version(name) <= pointer.version)


def _is_old_view(channel_id: int, name: str, channels: _Channels) -> bool:
    pointers = channels.views.get(channel_id)
    if not pointers:
        # One that is being prepared has no pointer yet.
        return channel_id not in channels.loaded
    return all(name != p.name and _version(name) <= p.version for p in pointers)


def _version(name: str) -> int:
    """Of a body; an unknown form counts as one that is still to come."""
    digits = name.partition("-")[0]
    return int(digits) if digits.isdigit() else 1 << 62
