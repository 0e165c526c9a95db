"""What a data node holds of a channel: the records at or above its floor, until they are sealed."""

import threading
import time
from dataclasses import dataclass, field

import pyarrow as pa

from elanus.engine.deletes import Deletes
from elanus.model.columns import ALL_PARTITIONS, PARTITION, TS
from elanus.model.errors import CorruptError
from elanus.model.nouns import Channel, DeleteFile, RangeDelete, Segment
from elanus.model.records import KEY, Kind, Record
from elanus.model.schema import Schema
from elanus.model.timestamps import Position


@dataclass(frozen=True)
class Cut:
    """Everything of a channel from its floor up to (not including) `end.offset`."""

    end: Position
    schema_version: int
    """The newest that a record was written with."""
    batches: tuple[pa.RecordBatch, ...]
    """Rows in log order, with the TS column; older ones may lack the latest fields."""
    truncated: tuple[pa.RecordBatch, ...]
    """The same, of rows that a truncate of this cut hides: a segment of their own is soon let go of."""
    deletes: Deletes | None
    range_deletes: tuple[RangeDelete, ...]

    @property
    def empty(self) -> bool:
        return not self.batches and not self.truncated and self.deletes is None and not self.range_deletes


@dataclass(frozen=True)
class Seal:
    """A cut whose files are written. Its edit keeps this id until the outcome is known (rule 8)."""

    cut: Cut
    segments: tuple[Segment, ...]
    deletes: DeleteFile | None
    edit: str


@dataclass(frozen=True)
class Unsealed:
    """What a channel holds above its floor, at one moment."""

    floor: Position
    rows: dict[int, int]
    """By partition id; without those that a truncate has hidden."""
    range_deletes: tuple[RangeDelete, ...]
    bytes: int


@dataclass
class _Entry:
    offset: int
    ts: int
    bytes: int
    schema_version: int = 0
    rows: pa.RecordBatch | None = None
    deletes: Deletes | None = None
    range_delete: RangeDelete | None = None


@dataclass
class ChannelBuffer:
    """A follower of its channel. `apply` runs on the tail's thread, the rest on any."""

    collection_id: int
    channel: Channel
    schema: Schema
    floor: Position
    start: Position
    """Where the channel was read from: its floor, or the log's mark where that is higher."""
    guard_revision: int
    """Revision of the channel's owner key: whoever edits the manifest compares it."""
    epoch: int = 0
    """Which time the channel was given to a data node: names what this one writes."""
    entries: list[_Entry] = field(default_factory=list)
    bytes: int = 0
    oldest_seconds: float = 0.0
    seal_to: int = 0
    """Offset up to which somebody asked to seal (exclusive)."""
    seal_ts: int = 0
    """Timestamp up to which somebody asked to seal."""
    flush_ts: dict[int, int] = field(default_factory=dict)
    unfinished: Seal | None = None
    """A seal whose edit has not been answered: it may be in the manifest. Only the sealing thread uses it."""
    joined: bool = False
    """The tail has handed it over: until then records below the tail's position may be missing here."""
    dropped: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    changed: threading.Condition = field(init=False)

    def __post_init__(self) -> None:
        self.changed = threading.Condition(self.lock)

    def apply(self, offset: int, ts: int, record: Record) -> None:
        with self.changed:
            entry = self._entry(offset, ts, record)
            if entry is not None:
                if not self.entries:
                    self.oldest_seconds = time.monotonic()
                self.entries.append(entry)
                self.bytes += entry.bytes
            self.changed.notify_all()

    def _entry(self, offset: int, ts: int, record: Record) -> _Entry | None:
        header = record.header
        match header.kind:
            case Kind.INSERT | Kind.UPSERT:
                rows = record.batch()
                deletes = None
                if header.kind is Kind.UPSERT:
                    keys = rows.column(self.schema.primary.key)
                    deletes = Deletes.from_record(keys, header.partition_id, ts, 0)
                rows = rows.append_column(TS, pa.repeat(pa.scalar(ts, pa.uint64()), rows.num_rows))
                return _Entry(offset, ts, rows.nbytes, header.schema_version, rows=rows, deletes=deletes)
            case Kind.DELETE:
                batch = record.batch()
                deletes = Deletes.from_record(batch.column(KEY), header.partition_id, ts, header.as_of)
                return _Entry(offset, ts, batch.nbytes, deletes=deletes)
            case Kind.DROP_PARTITION | Kind.TRUNCATE:
                hidden = RangeDelete(partition_id=header.partition_id, ts=ts, as_of=header.as_of)
                return _Entry(offset, ts, 0, range_delete=hidden)
            case Kind.FLUSH:
                self.seal_to = max(self.seal_to, offset + 1)
                self.flush_ts[offset] = ts
                return None
            case Kind.DROP:
                self.dropped = True
                self.entries.clear()
                self.bytes = 0
                return None
            case Kind.FENCE | Kind.SCHEMA_CHANGE:
                return None
        raise CorruptError(f"channel {self.channel.id}: record kind {header.kind.name} at offset {offset}")

    def join(self) -> None:
        """The tail has it now."""
        with self.changed:
            self.joined = True
            self.changed.notify_all()

    def cut(self, end: Position) -> Cut:
        """What lies below `end`, which is a position the channel has been applied to."""
        with self.lock:
            below = [e for e in self.entries if e.offset < end.offset]
        found = [e.deletes for e in below if e.deletes is not None]
        hidden = tuple(e.range_delete for e in below if e.range_delete is not None)
        truncated_to = max((r.as_of for r in hidden if r.partition_id == ALL_PARTITIONS), default=-1)
        return Cut(
            end=end,
            schema_version=max((e.schema_version for e in below), default=0),
            batches=tuple(e.rows for e in below if e.rows is not None and e.ts > truncated_to),
            truncated=tuple(e.rows for e in below if e.rows is not None and e.ts <= truncated_to),
            deletes=Deletes.concat(found) if found else None,
            range_deletes=hidden,
        )

    def sealed(self, end: Position) -> None:
        """The manifest has moved to `end`: what lies below is no longer needed here."""
        with self.changed:
            self.floor = end
            self.unfinished = None
            self.entries = [e for e in self.entries if e.offset >= end.offset]
            self.bytes = sum(e.bytes for e in self.entries)
            self.flush_ts = {o: t for o, t in self.flush_ts.items() if o >= end.offset}
            self.oldest_seconds = time.monotonic()
            self.changed.notify_all()

    def sealed_to(self, applied: Position) -> Position:
        """An idle channel counts as sealed up to where it has been applied."""
        with self.lock:
            return max(applied, self.floor) if self.joined and not self.entries else self.floor

    def must_seal(self, applied: Position) -> bool:
        """Whether somebody waits for records below `applied` to be sealed."""
        with self.lock:
            if self.unfinished is not None:
                return True
            if not self._any_below(applied):
                return False
            first = self.entries[0]
            return first.offset < self.seal_to or first.ts <= self.seal_ts

    def can_seal(self, applied: Position) -> bool:
        with self.lock:
            return self._any_below(applied)

    def _any_below(self, applied: Position) -> bool:
        return self.joined and bool(self.entries) and self.entries[0].offset < applied.offset

    def ask(self, ts: int) -> None:
        """What has a timestamp up to `ts` shall be sealed soon."""
        with self.lock:
            self.seal_ts = max(self.seal_ts, ts)

    def wait_sealed(self, ts: int, timeout_seconds: float) -> bool:
        """Whether nothing that was applied with a timestamp up to `ts` is unsealed, after so long at most."""

        def over() -> bool:
            return self.dropped or (self.joined and not (self.entries and self.entries[0].ts <= ts))

        with self.changed:
            return self.changed.wait_for(over, timeout_seconds) and not self.dropped

    def unsealed(self) -> Unsealed:
        with self.lock:
            floor, size = self.floor, self.bytes
            entries = list(self.entries)
        hidden = tuple(e.range_delete for e in entries if e.range_delete is not None)
        counts: dict[int, int] = {}
        for entry in entries:
            if entry.rows is None:
                continue
            for item in entry.rows.column(PARTITION).value_counts().to_pylist():
                if not any(r.covers(item["values"], entry.ts) for r in hidden):
                    counts[item["values"]] = counts.get(item["values"], 0) + item["counts"]
        return Unsealed(floor, counts, hidden, size)
