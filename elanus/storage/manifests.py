"""Manifests: read, and edited by compare-and-swap (rule 8)."""

import secrets
from collections.abc import Callable, Mapping

import msgspec

from elanus.model.errors import AmbiguousError, ConflictError, CorruptError, RetriableStorageError
from elanus.model.nouns import Channel, Manifest, ManifestPointer, Mark, Segment
from elanus.model.timestamps import Position
from elanus.storage import codec, keys
from elanus.storage.meta import Absent, Compare, Item, MetaStore
from elanus.storage.objects import ObjectStore

Change = Callable[[Manifest], Manifest]
"""Makes the next body from the current one; raises ConflictError where its precondition no longer holds."""


class Manifests:
    """The manifests of all channels."""

    def __init__(self, meta: MetaStore, objects: ObjectStore, *, attempts: int = 20) -> None:
        self._meta = meta
        self._objects = objects
        self._attempts = attempts

    def read(self, channel: Channel) -> Manifest:
        """The current manifest; that of a channel without one starts at the channel's start."""
        return self._read(channel)[0]

    def pointer(self, channel: Channel) -> ManifestPointer:
        item = self._meta.get(keys.manifest(channel.id))
        if item is not None:
            return codec.decode(item.value, ManifestPointer, item.key)
        return ManifestPointer(
            version=0, name="", floor_offset=channel.start_offset, floor_ts=channel.start_ts
        )

    def mark(self, log: str) -> Position:
        """Every channel of the log is sealed below it."""
        item = self._meta.get(keys.mark(log))
        if item is None:
            return Position(0, 0)
        mark = codec.decode(item.value, Mark, item.key)
        return Position(mark.offset, mark.ts)

    def start(self, channel: Channel) -> tuple[ManifestPointer, Position]:
        """The pointer, and the pair at which a consumer of the channel starts: max(floor, mark).

        The mark is read first: one that is newer than the manifest would skip what was sealed in between.
        """
        mark = self.mark(channel.log)
        pointer = self.pointer(channel)
        return pointer, max(Position(pointer.floor_offset, pointer.floor_ts), mark)

    def body(self, channel: Channel, pointer: ManifestPointer) -> Manifest:
        if not pointer.name:
            return Manifest(
                channel_id=channel.id, version=0, floor_offset=channel.start_offset, floor_ts=channel.start_ts
            )
        path = keys.manifest_path(channel.id, pointer.name)
        manifest = codec.decode(self._objects.get(path), Manifest, path)
        if manifest.version != pointer.version or manifest.channel_id != channel.id:
            raise CorruptError(
                f"{path} is version {manifest.version} of channel {manifest.channel_id}, "
                f"expected version {pointer.version} of channel {channel.id}"
            )
        return manifest

    def edit(self, channel: Channel, edit_id: str, guards: Mapping[str, int], change: Change) -> Manifest:
        """Applies `change` once. `guards`: owner or job keys and the revision at which they must still be.

        Looks for `edit_id` before anything else, so an attempt whose answer was lost counts as done. Raises
        ConflictError when the precondition of the change or a guard does not hold, AmbiguousError when the
        outcome stays unknown, RetriableStorageError after too many lost races.
        """
        ambiguous: AmbiguousError | None = None
        for _ in range(self._attempts):
            manifest, item = self._read(channel)
            if edit_id in manifest.edits:
                return manifest
            self._check_guards(guards)
            body = change(manifest)
            body = msgspec.structs.replace(
                body, version=manifest.version + 1, edits=self._live_edits(manifest, edit_id)
            )
            try:
                if self._swap(channel, item, body, guards):
                    return body
            except AmbiguousError as error:
                ambiguous = error
        if ambiguous is not None:
            raise ambiguous
        raise RetriableStorageError(
            f"edit {edit_id} of channel {channel.id} lost {self._attempts} races for the manifest"
        )

    def _swap(self, channel: Channel, item: Item | None, body: Manifest, guards: Mapping[str, int]) -> bool:
        name = f"{body.version:08d}-{secrets.token_hex(6)}"
        pointer = ManifestPointer(
            version=body.version,
            name=name,
            floor_offset=body.floor_offset,
            floor_ts=body.floor_ts,
            rows=body.rows,
            segments=len(body.segments),
        )
        self._objects.put_if_absent(keys.manifest_path(channel.id, name), codec.encode(body))
        key = keys.manifest(channel.id)
        compares: list[Compare | Absent] = [Compare(key, item.revision) if item else Absent(key)]
        compares += [Compare(guard, revision) for guard, revision in guards.items()]
        return self._meta.txn(compares, {key: codec.encode(pointer)}).succeeded

    def _check_guards(self, guards: Mapping[str, int]) -> None:
        for key, revision in guards.items():
            item = self._meta.get(key)
            if item is None or item.revision != revision:
                raise ConflictError(f"{key} has changed hands since the edit began")

    def _live_edits(self, manifest: Manifest, edit_id: str) -> tuple[str, ...]:
        """The ids that somebody may still look for. A holder repeats only its last edit, so a newer id of the
        same holder replaces the older one; ids of holders that are gone are dropped."""
        holder = _holder(edit_id)
        kept = [e for e in manifest.edits if _holder(e) != holder and self._meta.get(_holder(e)) is not None]
        return (*kept, edit_id)

    def _read(self, channel: Channel) -> tuple[Manifest, Item | None]:
        item = self._meta.get(keys.manifest(channel.id))
        pointer = (
            codec.decode(item.value, ManifestPointer, item.key)
            if item
            else ManifestPointer(
                version=0, name="", floor_offset=channel.start_offset, floor_ts=channel.start_ts
            )
        )
        return self.body(channel, pointer), item


def edit_id(holder_key: str, number: int | str) -> str:
    """The id of an edit made by the holder of a meta key (an owner or a job)."""
    return f"{holder_key}#{number}"


def flush_edit(channel_id: int, epoch: int, number: int) -> str:
    """The edit of flush `number` by the channel's owner of `epoch`; numbers of an epoch grow."""
    return edit_id(keys.owner(channel_id), f"{epoch}.{number}")


def last_flush(manifest: Manifest, epoch: int) -> int:
    """The number of the last flush of this epoch that is in the manifest; 0 where there is none.

    An earlier one of the epoch is in it, too, or never will be: a flush whose floor is passed is refused.
    """
    start = flush_edit(manifest.channel_id, epoch, 0).removesuffix("0")
    found = [int(e.removeprefix(start)) for e in manifest.edits if e.startswith(start)]
    return max(found, default=0)


def _holder(edit: str) -> str:
    return edit.partition("#")[0]


def leave_passed_deletes(manifest: Manifest) -> Manifest:
    """Drops the delete files and range deletes that every older segment has passed (rule 9)."""
    segments = with_inputs(manifest)

    def needed(ts: int) -> bool:
        return any(s.min_ts < ts and s.deletes_applied_to < ts for s in segments)

    return msgspec.structs.replace(
        manifest,
        delete_files=tuple(f for f in manifest.delete_files if needed(f.max_ts)),
        range_deletes=tuple(r for r in manifest.range_deletes if needed(r.ts)),
    )


def with_inputs(manifest: Manifest) -> list[Segment]:
    """Every segment that the manifest names; those that a compaction's outputs wait to replace, too."""
    found = {s.name: s for listed in manifest.segments for s in _with_inputs(listed)}
    return list(found.values())


def served_segments(manifest: Manifest) -> list[Segment]:
    """What a view holds: a compaction's outputs, or its inputs while those wait for an index (rule 6).

    Outputs of one compaction name the same inputs, and stop to name them in one edit.
    """
    found = {s.name: s for listed in manifest.segments for s in _served(listed)}
    return list(found.values())


def replace_inputs(manifest: Manifest, ready: Callable[[Segment], bool]) -> Manifest:
    """Lets outputs take their inputs' place where all outputs of a compaction are `ready`."""
    waiting: dict[tuple[str, ...], bool] = {}
    for segment in manifest.segments:
        inputs = _names(segment.replaces)
        waiting[inputs] = waiting.get(inputs, True) and ready(segment)
    if not any(inputs and done for inputs, done in waiting.items()):
        return manifest
    segments = tuple(
        msgspec.structs.replace(s, replaces=()) if waiting[_names(s.replaces)] else s
        for s in manifest.segments
    )
    return leave_passed_deletes(msgspec.structs.replace(manifest, segments=segments))


def _served(segment: Segment) -> list[Segment]:
    return [s for i in segment.replaces for s in _served(i)] if segment.replaces else [segment]


def _with_inputs(segment: Segment) -> list[Segment]:
    return [segment, *(s for i in segment.replaces for s in _with_inputs(i))]


def _names(segments: tuple[Segment, ...]) -> tuple[str, ...]:
    return tuple(s.name for s in segments)
