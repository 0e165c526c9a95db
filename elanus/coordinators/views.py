"""Views: what one replica serves of a channel, worked out from its manifest and the log."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from elanus.model.errors import NotFoundError
from elanus.model.nouns import (
    Channel,
    Collection,
    ManifestPointer,
    Segment,
    View,
    ViewPointer,
    ViewSegment,
)
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.manifests import Manifests, served_segments
from elanus.storage.meta import MetaStore
from elanus.storage.objects import ObjectStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A view to prepare, and the pointer it is to take the place of."""

    view: View
    old: ViewPointer | None
    old_revision: int
    kept: bool = False
    """The stored view is still right; only its nodes have to prepare it again."""


class Views:
    """Makes views and finds stored ones; whoever asks switches to them."""

    def __init__(
        self,
        *,
        meta: MetaStore,
        objects: ObjectStore,
        catalog: Catalog,
        manifests: Manifests,
        node: int,
        refresh_offsets: int,
    ) -> None:
        self._meta = meta
        self._objects = objects
        self._catalog = catalog
        self._manifests = manifests
        self._node = node
        self._refresh_offsets = refresh_offsets

    def plan(self, collection_id: int, served: Mapping[tuple[int, int], ViewPointer]) -> list[Planned]:
        """What is to be prepared; `served`: what nodes have prepared, by (channel, replica)."""
        collection = self._catalog.collection(collection_id)
        if collection is None or collection.dropping or self._catalog.load(collection_id) is None:
            return []
        planned = []
        for channel in collection.channels:
            key = keys.view(collection_id, channel.id, 0)
            item = self._meta.get(key)
            old = codec.decode(item.value, ViewPointer, key) if item else None
            pointer, start = self._manifests.start(channel)
            now = served.get((channel.id, 0))
            current = now is not None and old is not None and now.name == old.name
            stale = old is not None and start.offset - old.start_offset >= self._refresh_offsets
            if old is not None and old.manifest_version == pointer.version and not stale:
                if current:
                    continue
                stored = self.stored(old)
                if stored is not None:
                    planned.append(Planned(stored, old, item.revision if item else 0, kept=True))
                    continue
            view = self._view(collection, channel, old, pointer, start.offset, start.ts)
            planned.append(Planned(view, old, item.revision if item else 0))
        return planned

    def stored(self, pointer: ViewPointer) -> View | None:
        """None where it is lost: another one can be made."""
        path = keys.view_path(pointer.channel_id, pointer.name)
        try:
            return codec.decode(self._objects.get(path), View, path)
        except NotFoundError:
            log.warning("the view %s is missing, another one is made", path)
            return None

    def _view(
        self,
        collection: Collection,
        channel: Channel,
        old: ViewPointer | None,
        pointer: ManifestPointer,
        start_offset: int,
        start_ts: int,
    ) -> View:
        manifest = self._manifests.body(channel, pointer)
        node = self._node
        live = frozenset(i.id for i in self._catalog.indexes(collection.id))
        version = old.version + 1 if old else 1
        view = View(
            name=f"{version:08d}-{secrets.token_hex(6)}",
            channel_id=channel.id,
            collection_id=collection.id,
            log=channel.log,
            replica=0,
            version=version,
            manifest=pointer,
            placement=tuple(
                ViewSegment(segment=_with_indexes(s, live), node=node) for s in served_segments(manifest)
            ),
            delete_files=manifest.delete_files,
            range_deletes=manifest.range_deletes,
            growing_node=node,
            start_offset=start_offset,
            start_ts=start_ts,
            purged_to=manifest.purged_to,
        )
        self._objects.put_if_absent(keys.view_path(channel.id, view.name), codec.encode(view))
        return view


def _with_indexes(segment: Segment, live: frozenset[int]) -> Segment:
    """A manifest still names the files of indexes that were dropped: another one may be on the field now."""
    return msgspec.structs.replace(segment, indexes=tuple(i for i in segment.indexes if i.index_id in live))


def pointer_to(view: View) -> ViewPointer:
    return ViewPointer(
        name=view.name,
        version=view.version,
        channel_id=view.channel_id,
        log=view.log,
        replica=view.replica,
        nodes=tuple(sorted(view.nodes)),
        growing_node=view.growing_node,
        start_offset=view.start_offset,
        manifest_version=view.manifest.version,
    )
