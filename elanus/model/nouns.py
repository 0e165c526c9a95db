"""What the meta store and the object store hold: collections, channels, manifests, views."""

from enum import StrEnum
from typing import Any

import msgspec

from elanus.model.properties import (
    AUTO_COMPACTION,
    KEYS_GIVEN,
    LARGE_TOP_K,
    QUERY_MODE,
    TTL_SECONDS,
    boolean,
)
from elanus.model.schema import Schema
from elanus.model.timestamps import Position, from_ms
from elanus.model.types import ConsistencyLevel, Metric

ALL_PARTITIONS = -1
"""In place of a partition id."""


class Noun(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Immutable and stored as JSON; `msgspec.structs.replace` makes the next version."""


class Database(Noun, frozen=True, kw_only=True):
    id: int
    name: str
    properties: dict[str, str] = {}
    created_ts: int = 0


class Partition(Noun, frozen=True, kw_only=True):
    id: int
    name: str
    created_ts: int = 0


class Channel(Noun, frozen=True, kw_only=True):
    """One shard of one collection. Its id is never reused; it starts at `start` in `log`."""

    id: int
    log: str
    start_offset: int
    start_ts: int

    @property
    def start(self) -> Position:
        return Position(self.start_offset, self.start_ts)


EXPIRY_STEP_MS = 100
"""A row outlives its time by at most this."""


class Collection(Noun, frozen=True, kw_only=True):
    """A collection as the root coordinator stores it."""

    id: int
    database_id: int
    name: str
    schema: Schema
    channels: tuple[Channel, ...]
    partitions: tuple[Partition, ...]
    consistency_level: ConsistencyLevel = ConsistencyLevel.BOUNDED
    properties: dict[str, str] = {}
    created_ts: int = 0
    updated_ts: int = 0
    """When the schema last changed; 0: never."""
    dropping: bool = False

    def partition(self, name: str) -> Partition | None:
        return next((p for p in self.partitions if p.name == name), None)

    @property
    def ttl_seconds(self) -> int:
        """How long a row lives; 0: for ever."""
        return max(0, int(self.properties.get(TTL_SECONDS, 0)))

    def expired_below(self, now_ms: int) -> int:
        """Rows with a smaller timestamp have outlived their time at `now_ms`; 0: none has.

        It moves on in steps: reads within one share the mask of what has expired, and their calls.
        """
        ttl = self.ttl_seconds
        if not ttl:
            return 0
        oldest_ms = max(0, now_ms - ttl * 1000 + 1)
        return from_ms(oldest_ms - oldest_ms % EXPIRY_STEP_MS)

    @property
    def compacts_itself(self) -> bool:
        """Whether its segments are compacted without a call."""
        return boolean(self.properties.get(AUTO_COMPACTION, "true"))

    @property
    def takes_keys(self) -> bool:
        """Whether an insert may give the keys that are generated otherwise."""
        return boolean(self.properties.get(KEYS_GIVEN, "false"))

    @property
    def large_top_k(self) -> bool:
        """Whether its reads may answer more rows than those of others."""
        return self.properties.get(QUERY_MODE) == LARGE_TOP_K


class Name(Noun, frozen=True, kw_only=True):
    """What a name of a database stands for: a collection, directly or as an alias."""

    name: str
    collection_id: int
    alias: bool = False


class IndexDefinition(Noun, frozen=True, kw_only=True):
    """An index that a user created on a field. `params` are the client's, without index and metric type."""

    id: int
    collection_id: int
    field_id: int
    name: str
    type: str
    """The type that is built: AUTOINDEX resolved."""
    metric: Metric | None = None
    params: dict[str, Any] = {}
    requested: dict[str, str] = {}
    """What the client sent, to be answered as it came."""


class PartitionRange(Noun, frozen=True, kw_only=True):
    """Rows [start, end) of a segment belong to `partition_id`."""

    partition_id: int
    start: int
    end: int


class IndexFile(Noun, frozen=True, kw_only=True):
    """A built index of a segment."""

    index_id: int
    field_id: int
    type: str
    metric: Metric | None
    path: str
    bytes: int
    params: dict[str, Any] = {}


class Segment(Noun, frozen=True, kw_only=True):
    """An immutable set of rows of one channel, as a manifest names it."""

    name: str
    prefix: str
    """Object prefix; see `engine.segment_file` for the files below it."""
    rows: int
    bytes: int
    min_ts: int
    max_ts: int
    partitions: tuple[PartitionRange, ...]
    schema_version: int
    deletes_applied_to: int = 0
    """Deletes with ts up to this are in the segment's delete column."""
    purged_to: int = 0
    """Rows deleted at or before this ts may be gone: no read below it."""
    deleted: int = 0
    """Rows with a timestamp in the delete column."""
    indexes: tuple[IndexFile, ...] = ()
    replaces: tuple["Segment", ...] = ()
    """Inputs of a compaction that a view still serves until this one is indexed."""


class DeleteFile(Noun, frozen=True, kw_only=True):
    """Deletes of an offset range: (key, partition id or ALL, ts, as_of or null), unresolved."""

    name: str
    path: str
    rows: int
    min_ts: int
    max_ts: int


class RangeDelete(Noun, frozen=True, kw_only=True):
    """Truncate or DropPartition: hides rows with ts <= as_of, in `partition_id` or all."""

    partition_id: int
    ts: int
    as_of: int

    def covers(self, partition_id: int, ts: int) -> bool:
        """Whether it hides every row of a partition up to `ts`."""
        return ts <= self.as_of and self.partition_id in (ALL_PARTITIONS, partition_id)


class Manifest(Noun, frozen=True, kw_only=True):
    """The only source of truth on a channel's sealed data: what lies below F is here, the rest in the log."""

    channel_id: int
    version: int
    floor_offset: int
    floor_ts: int
    segments: tuple[Segment, ...] = ()
    delete_files: tuple[DeleteFile, ...] = ()
    range_deletes: tuple[RangeDelete, ...] = ()
    purged_to: int = 0
    """Rows deleted at or before this ts may be gone with all others of their segment: no read below it."""
    edits: tuple[str, ...] = ()
    """Ids of the edits whose job or owner record still exists."""

    @property
    def floor(self) -> Position:
        return Position(self.floor_offset, self.floor_ts)

    @property
    def rows(self) -> int:
        return sum(s.rows for s in self.segments)


class ManifestPointer(Noun, frozen=True, kw_only=True):
    """What the meta store holds of a manifest; moved by compare-and-swap."""

    version: int
    name: str
    floor_offset: int
    floor_ts: int
    rows: int = 0
    segments: int = 0


class ViewSegment(Noun, frozen=True, kw_only=True):
    segment: Segment
    node: int


class View(Noun, frozen=True, kw_only=True):
    """What a replica serves for a channel. Known on nodes by `name`, its body's unique object name."""

    name: str
    channel_id: int
    collection_id: int
    log: str
    replica: int
    version: int
    manifest: ManifestPointer
    placement: tuple[ViewSegment, ...]
    delete_files: tuple[DeleteFile, ...]
    range_deletes: tuple[RangeDelete, ...]
    growing_node: int
    start_offset: int
    start_ts: int
    purged_to: int = 0

    @property
    def start(self) -> Position:
        return Position(self.start_offset, self.start_ts)

    @property
    def nodes(self) -> frozenset[int]:
        return frozenset({s.node for s in self.placement} | {self.growing_node})


class ViewPointer(Noun, frozen=True, kw_only=True):
    """What the meta store holds of a view: enough for a proxy to ask its nodes."""

    name: str
    version: int
    channel_id: int
    log: str
    replica: int
    nodes: tuple[int, ...]
    growing_node: int
    start_offset: int
    manifest_version: int


class LogIdentity(Noun, frozen=True, kw_only=True):
    """Which incarnation of a log the stored offsets belong to (rule 12)."""

    identity: str


class Mark(Noun, frozen=True, kw_only=True):
    """Every channel of the log is sealed below this position."""

    offset: int
    ts: int


class Owner(Noun, frozen=True, kw_only=True):
    """The data node that may edit a channel's manifest, and which time it was given (rule 8)."""

    node: int
    epoch: int


class Job(Noun, frozen=True, kw_only=True):
    """A job that may commit one edit while its key exists, and that `coordinator` forgets when it starts."""

    coordinator: str
    collection_id: int
    started_ms: int


class DropCollectionIntent(Noun, frozen=True, kw_only=True):
    """Replayed until the collection is gone from every place (rule 13)."""

    collection: Collection


class DropPartitionIntent(Noun, frozen=True, kw_only=True):
    """`as_of` per channel id: rows with ts up to it are hidden; {} until every proxy has confirmed."""

    collection_id: int
    partition_id: int
    as_of: dict[int, int] = {}


class TruncateIntent(Noun, frozen=True, kw_only=True):
    """Rows with ts up to `as_of`, per channel id, are hidden; persisted before the first record goes out."""

    id: int
    collection_id: int
    as_of: dict[int, int]


class SchemaChangeIntent(Noun, frozen=True, kw_only=True):
    """The schema of this version is in the catalogue; the logs are to say so."""

    collection_id: int
    version: int


class User(Noun, frozen=True, kw_only=True):
    """`password`: salted hash with its parameters, see `coordinators.passwords`."""

    name: str
    password: str
    description: str = ""
    roles: tuple[str, ...] = ()
    created_ts: int = 0


class Grant(Noun, frozen=True, kw_only=True):
    """A privilege, or a group of privileges, on an object of a database. `*`: any."""

    object: str
    """The object's type, see `model.privileges.ObjectType`."""
    object_name: str
    privilege: str
    database: str
    grantor: str = ""

    def same(self, other: "Grant") -> bool:
        """Whether both allow the same, whoever granted it."""
        return msgspec.structs.replace(self, grantor="") == msgspec.structs.replace(other, grantor="")


class Role(Noun, frozen=True, kw_only=True):
    name: str
    description: str = ""
    grants: tuple[Grant, ...] = ()
    created_ts: int = 0


class PrivilegeGroup(Noun, frozen=True, kw_only=True):
    """A group of privileges that users made, beside the built-in ones."""

    name: str
    privileges: tuple[str, ...] = ()


class LoadState(StrEnum):
    NOT_EXIST = "NotExist"
    NOT_LOADED = "NotLoad"
    LOADING = "Loading"
    LOADED = "Loaded"


class LoadIntent(Noun, frozen=True, kw_only=True):
    """A user asked for these partitions to be served."""

    collection_id: int
    partitions: tuple[int, ...]
    whole_collection: bool
    replicas: int = 1
    fields: tuple[int, ...] = ()
    requested_ms: int = 0
