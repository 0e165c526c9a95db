"""What a query node holds of a channel: growing rows, segments, recent deletes, and the views of them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from elanus.engine.deletes import Deletes
from elanus.engine.growing import GrowingSegment
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.model.errors import CorruptError, InvalidParameter, ViewGone
from elanus.model.nouns import RangeDelete, View
from elanus.model.records import KEY, Kind, Record
from elanus.model.schema import Schema


@dataclass
class ServedView:
    """A view whose parts are all here."""

    view: View
    segments: tuple[SealedSegment, ...]
    pins: int = 0
    dropped: bool = False


@dataclass
class ChannelServing:
    """A follower of its channel. Deletes are kept from the lowest floor of any view on, so that a segment
    that is loaded later still gets them (rule 9)."""

    view: View
    """The first view: where this node began to follow the channel."""
    schema: Schema
    later_schema: Callable[[int], Schema | None]
    """The collection's schema at a version or later; None where the collection is gone."""
    apply_threshold: int
    """Keys of pending deletes above which they are applied without waiting for a read."""
    block_rows: int
    block_bytes: int
    """Bounds of the blocks of growing rows."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.growing = GrowingSegment(self.schema, self.block_rows, self.block_bytes)
        self.segments: dict[str, SealedSegment] = {}
        self.views: dict[str, ServedView] = {}
        self._preparing: dict[str, View] = {}
        self._deletes: list[Deletes] = []
        self._range_deletes: list[RangeDelete] = []
        self._pending: list[Deletes] = []
        self._pending_keys = 0

    # the log's side

    def apply(self, offset: int, ts: int, record: Record) -> None:
        header = record.header
        with self.lock:
            if header.schema_version > self.schema.version:
                self.alter(self.later_schema(header.schema_version))
            match header.kind:
                case Kind.INSERT:
                    self.growing.append(record.batch(), ts)
                case Kind.UPSERT:
                    batch = record.batch()
                    keys = batch.column(self.schema.primary.key)
                    self._delete(Deletes.from_record(keys, header.partition_id, ts, 0))
                    self.growing.append(batch, ts)
                case Kind.DELETE:
                    keys = record.batch().column(KEY)
                    self._delete(Deletes.from_record(keys, header.partition_id, ts, header.as_of))
                case Kind.DROP_PARTITION | Kind.TRUNCATE:
                    self._hide(RangeDelete(partition_id=header.partition_id, ts=ts, as_of=header.as_of))
                case Kind.FLUSH | Kind.FENCE | Kind.SCHEMA_CHANGE | Kind.DROP:
                    pass
                case _:
                    raise CorruptError(
                        f"channel {self.view.channel_id}: record kind {header.kind.name} at offset {offset}"
                    )

    def alter(self, schema: Schema | None) -> None:
        """Goes on with a newer schema; what is here shows new fields with their defaults."""
        if schema is None or schema.version <= self.schema.version:
            return
        with self.lock:
            if schema.version <= self.schema.version:
                return
            self.schema = schema
            for segment in self._all():
                segment.alter(schema)

    def _delete(self, deletes: Deletes) -> None:
        self._deletes.append(deletes)
        self._pending.append(deletes)
        self._pending_keys += len(deletes)
        if self._pending_keys >= self.apply_threshold:
            self._settle()

    def _hide(self, hidden: RangeDelete) -> None:
        self._range_deletes.append(hidden)
        for segment in self._all():
            segment.apply_range(hidden)

    def _settle(self) -> None:
        """Applies the pending deletes. Their order against rows does not matter: a row that comes later has
        a timestamp above their bound."""
        if not self._pending:
            return
        deletes = Deletes.concat(self._pending)
        self._pending, self._pending_keys = [], 0
        for segment in self._all():
            segment.apply(deletes)

    def _all(self) -> list[GrowingSegment | SealedSegment]:
        return [self.growing, *self.segments.values()]

    # the coordinator's side

    def begin(self, view: View) -> dict[str, SealedSegment]:
        """The segments that are here. Until `add` or `cancel`, what `view` needs of this channel stays."""
        with self.lock:
            self._preparing[view.name] = view
            return dict(self.segments)

    def cancel(self, name: str) -> None:
        with self.lock:
            if self._preparing.pop(name, None) is not None:
                self._let_go()

    @property
    def idle(self) -> bool:
        """Nobody reads it, nobody prepares it."""
        with self.lock:
            return not self.views and not self._preparing

    def add(self, view: View, loaded: dict[str, SealedSegment]) -> None:
        """Registers a view. `loaded`: its segments that were not here, with their delete files applied."""
        with self.lock:
            self._settle()
            for name, segment in loaded.items():
                segment.alter(self.schema)
                if self._deletes:
                    segment.apply(Deletes.concat(self._deletes))
                for hidden in self._range_deletes:
                    segment.apply_range(hidden)
                self.segments[name] = segment
            placed = tuple(self.segments[p.segment.name] for p in view.placement)
            self.views[view.name] = ServedView(view, placed)
            self._preparing.pop(view.name, None)

    def drop(self, name: str) -> None:
        with self.lock:
            served = self.views.get(name)
            if served is not None:
                served.dropped = True
                self._forget(served)

    def _forget(self, served: ServedView) -> None:
        """Once nobody reads it, what only this view needed goes."""
        if served.pins or not served.dropped:
            return
        self.views.pop(served.view.name, None)
        self._let_go()

    def _let_go(self) -> None:
        wanted = [*(v.view for v in self.views.values()), *self._preparing.values()]
        needed = {p.segment.name for v in wanted for p in v.placement}
        for name in [n for n in self.segments if n not in needed]:
            self.segments.pop(name).close()
        if wanted:
            low = min(v.manifest.floor_ts for v in wanted)
            self.growing.release_up_to(low)
            self._deletes = [d for d in self._deletes if d.max_ts > low]
            self._range_deletes = [r for r in self._range_deletes if r.ts > low]

    # the readers' side

    @contextmanager
    def pin(self, name: str) -> Iterator[ServedView]:
        """Keeps the view's parts here while they are read. Raises ViewGone."""
        served = self.hold(name)
        try:
            yield served
        finally:
            self.release(served)

    def hold(self, name: str) -> ServedView:
        """Keeps the view's parts here until `release`. Raises ViewGone."""
        with self.lock:
            served = self.views.get(name)
            if served is None or served.dropped:
                raise ViewGone(f"view {name} of channel {self.view.channel_id} is not on this node any more")
            served.pins += 1
            return served

    def release(self, served: ServedView) -> bool:
        """Whether nobody is left who reads the channel or prepares it."""
        with self.lock:
            served.pins -= 1
            self._forget(served)
            return self.idle

    def readers(
        self,
        served: ServedView,
        at_ts: int,
        partitions: frozenset[int] | None,
        growing: bool = True,
        expired_below: int = 0,
        light: int | None = None,
    ) -> list[Reader]:
        """Everything visible at `at_ts`, every record up to it having been applied, without rows that have a
        timestamp below `expired_below`; `growing` False: only what is sealed; `light`: a field of vectors
        that may be searched by its light indexes."""
        floor = served.view.manifest.floor_ts
        purged = served.view.purged_to
        if at_ts < purged:
            raise InvalidParameter(
                f"a read at timestamp {at_ts} is too old: rows deleted up to {purged} have been "
                "purged; start the read again"
            )
        with self.lock:
            self._settle()
            found = [s.reader(at_ts, partitions, expired_below, light) for s in served.segments]
            if not growing:
                return found
            if light is None:
                tails = [self.growing.reader(at_ts, floor, partitions, expired_below)]
            else:
                tails = self.growing.readers(light, at_ts, floor, partitions, expired_below)
            return found + [t for t in tails if t.rows or not found]

    def close(self) -> None:
        with self.lock:
            for segment in self.segments.values():
                segment.close()
            self.segments.clear()
            self.views.clear()
