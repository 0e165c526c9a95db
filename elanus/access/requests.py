"""What the proxy is asked and what it answers, in terms of `model`: no protobuf here."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.model.nouns import IndexDefinition, LoadState
from elanus.model.schema import Schema
from elanus.model.types import ConsistencyLevel, DataType

TemplateValue = bool | int | float | str | Sequence["TemplateValue"]


@dataclass(frozen=True, kw_only=True)
class CreateCollection:
    """`schema` has final field ids; the `$meta` field is in it where dynamic fields are on."""

    database: str
    name: str
    schema: Schema
    shards: int = 1
    consistency_level: ConsistencyLevel = ConsistencyLevel.BOUNDED
    properties: dict[str, str] = dataclasses.field(default_factory=dict)
    partitions: int = 0
    """Number of partitions behind a partition key; 0 where there is none."""


@dataclass(frozen=True, kw_only=True)
class IndexState:
    """An index and how far it is. Rows are those of sealed segments, small ones counted as indexed."""

    definition: IndexDefinition
    field_name: str
    total_rows: int
    indexed_rows: int
    pending_rows: int
    failure: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    state: LoadState
    percent: int


@dataclass(frozen=True, kw_only=True)
class Write:
    """Insert or upsert. `rows` has a column per field that the client sent, named by field id, validated by
    `access.validation.check_rows`; auto ids, defaults and an absent `$meta` are filled in by the proxy."""

    database: str
    collection: str
    partition: str = ""
    rows: pa.RecordBatch


@dataclass(frozen=True, kw_only=True)
class Written:
    """`keys`: primary keys in the order of the rows (empty for a delete); `ts`: append time << 18."""

    keys: pa.Array
    count: int
    ts: int


@dataclass(frozen=True, kw_only=True)
class Delete:
    database: str
    collection: str
    partition: str = ""
    expression: str
    templates: dict[str, TemplateValue] = dataclasses.field(default_factory=dict)
    consistency_level: ConsistencyLevel | None = None


@dataclass(frozen=True, kw_only=True)
class Read:
    """What search and query share. `consistency_level` None: the collection's default."""

    database: str
    collection: str
    partitions: tuple[str, ...] = ()
    expression: str = ""
    templates: dict[str, TemplateValue] = dataclasses.field(default_factory=dict)
    output_fields: tuple[str, ...] = ()
    consistency_level: ConsistencyLevel | None = None
    guarantee_ts: int = 0
    iterator: bool = False
    """A page of an iterator: answered as of one timestamp, which later pages come back with."""
    at_ts: int = 0
    """Read as of this timestamp (later pages of an iterator); 0: now."""
    ignore_growing: bool = False


@dataclass(frozen=True, kw_only=True)
class Search(Read):
    """`queries`: (nq, dim) float32; where `ids` are given, empty: the vectors of the rows with those keys.
    `field` "" where the collection has one vector field. `metric` "": the index's. `params`: the search
    parameters, merged from wherever the client put them."""

    queries: npt.NDArray[np.float32]
    ids: pa.Array | None = None
    query_type: DataType = DataType.FLOAT_VECTOR
    field: str = ""
    limit: int
    offset: int = 0
    metric: str = ""
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    round_decimal: int = -1
    group: "Grouping | None" = None
    page: "Page | None" = None

    @property
    def nq(self) -> int:
        return len(self.queries) if self.ids is None else len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The best `size` hits of each value of a field; `limit` and `offset` count values.
    `strict`: look on until each group is full, not only until there are enough groups."""

    field: str
    size: int = 1
    strict: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of a search iterator whose server knows where it goes on: the hits beyond `last_bound`, the
    score of the page's last hit before (None: the first page)."""

    token: str = ""
    last_bound: float | None = None


@dataclass(frozen=True, kw_only=True)
class Query(Read):
    """`limit` None: no limit."""

    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Output fields of the rows found. `columns` has one column a name, in the order of `names`; a name of a
    dynamic key is not a column: the whole `$meta` column stands for all of them, and `dynamic` names the keys
    that were asked for ([] with `$meta` among `names`: all of them)."""

    names: tuple[str, ...]
    columns: pa.RecordBatch
    schema: Schema
    dynamic: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Hits of all queries one after the other: `counts[i]` hits belong to query i, nearest first.
    `scores` are as the protocol shows them (L2 squared, IP, COSINE similarity)."""

    counts: tuple[int, ...]
    scores: npt.NDArray[np.float32]
    keys: pa.Array
    rows: Rows
    ts: int
    """The timestamp the search read at (`session_ts`)."""
    groups: pa.Array | None = None
    """The value of each hit in the field that was grouped by."""
    group_field: str = ""
    last_bound: float | None = None
    """The score of a page's last hit: where the next page goes on."""


@dataclass(frozen=True, kw_only=True)
class QueryResult:
    rows: Rows
    ts: int


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The machine a server runs on, sizes in bytes; the `used` ones are the process's own."""

    ip: str
    cores: int
    cpu_percent: float
    """Of one core, on average since the process began."""
    memory: int
    memory_used: int
    disk: int
    disk_used: int
    started: str
    """When the process began, ISO 8601."""


@dataclass(frozen=True, kw_only=True)
class Flushed:
    """Of one collection: the segments sealed now, all flushed ones, and the ts for `flush_state`."""

    segments: tuple[int, ...]
    flushed_segments: tuple[int, ...]
    seal_ms: int
    ts: int
