"""What an inspection of a data directory has found."""

import msgspec


class SegmentReport(msgspec.Struct, kw_only=True):
    name: str
    rows: int
    bytes: int
    first_ms: int
    """Append time of its oldest row, ms since the epoch."""
    last_ms: int
    indexes: list[str]


class ChannelReport(msgspec.Struct, kw_only=True):
    """One shard. Rows below the floor are sealed, those at or above it are growing, in the log."""

    id: int
    log: str
    start_offset: int
    floor_offset: int
    manifest_version: int
    segments: list[SegmentReport]
    delete_files: int = 0
    range_deletes: int = 0
    sealed_rows: int = 0
    bytes: int = 0
    growing_records: int = 0
    growing_rows: int = 0
    growing_deletes: int = 0


class CollectionReport(msgspec.Struct, kw_only=True):
    id: int
    database: str
    name: str
    fields: list[str]
    partitions: list[str]
    indexes: list[str]
    loaded: bool
    dropping: bool
    channels: list[ChannelReport]


class LogReport(msgspec.Struct, kw_only=True):
    name: str
    identity: str
    start_offset: int
    end_offset: int
    flushed_below: int
    last_append_ms: int
    files: int
    bytes: int
    records: dict[str, int]
    """Records that are still there, by kind."""


class Report(msgspec.Struct, kw_only=True):
    directory: str
    format: int = 0
    created_by: str = ""
    meta_revision: int = 0
    objects: int = 0
    object_bytes: int = 0
    collections: list[CollectionReport] = []
    logs: list[LogReport] = []
    notes: list[str] = []
    problems: list[str] = []
