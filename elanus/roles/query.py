"""Query coordinator and query node: views and reads."""

from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.model.nouns import View

Scalar = bool | int | float | str
TemplateValue = Scalar | list[Scalar]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One channel of a read: which view, and from where on it must be complete.

    `cut` None: at once, at what the node has applied, if it knew itself at the log's end no longer than
    `staleness_ms` ago (None: no bound); else the node has applied every record below `cut`.
    """

    channel_id: int
    view: str
    cut: int | None = None
    staleness_ms: int | None = None


class ReadCall(msgspec.Struct, frozen=True, kw_only=True):
    """What all reads share. `partitions` None: all that are loaded; `at_ts` 0: at the cut."""

    collection_id: int
    schema_version: int
    targets: tuple[Target, ...]
    expression: str = ""
    templates: dict[str, Any] = {}
    partitions: tuple[int, ...] | None = None
    at_ts: int = 0
    ignore_growing: bool = False
    fields: tuple[int, ...] = ()
    """Output fields to deliver with the rows; () where the caller fetches them."""
    deadline_ms: int = 0
    expired_below: int = 0
    """Rows with a smaller timestamp have outlived their collection's time to live."""


class GroupBy(msgspec.Struct, frozen=True, kw_only=True):
    """The best `size` hits of each of the k best values of a field. `strict`: fill every group."""

    field_id: int
    size: int = 1
    strict: bool = False


class SearchCall(ReadCall, frozen=True, kw_only=True):
    field_id: int
    k: int
    metric: str
    params: dict[str, Any] = {}
    iterator: bool = False
    """Pages are cut by scores: those must not depend on what holds a row at the time, segment or log."""
    beyond: float | None = None
    """Only hits with a worse score than this one."""
    group: GroupBy | None = None


class QueryCall(ReadCall, frozen=True, kw_only=True):
    """`limit` None: all rows."""

    limit: int | None = None


class CountCall(ReadCall, frozen=True, kw_only=True):
    pass


class SearchHits(msgspec.Struct, frozen=True, kw_only=True):
    """A node's best k a query, nearest first, all queries one after the other.

    `counts` (nq,) int64; `scores` float32; `keys` primary keys; `rows` the requested fields.
    `read_ts`: the timestamp that each target was read at.
    """

    counts: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    keys: pa.Array
    rows: pa.RecordBatch
    read_ts: tuple[int, ...]
    groups: pa.Array | None = None
    """The value of each hit in the field that was grouped by."""


class QueryHits(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in primary key order; `channels`: the target ordinal of each row, int32."""

    keys: pa.Array
    channels: npt.NDArray[np.int32]
    rows: pa.RecordBatch
    read_ts: tuple[int, ...]


class Count(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    read_ts: tuple[int, ...]


class ServedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that a replica serves: a sealed segment, or the growing rows of a channel under its id."""

    id: int
    rows: int
    bytes: int
    nodes: tuple[int, ...]
    partitions: tuple[int, ...] = ()
    indexes: tuple[int, ...] = ()
    """Ids of the indexes it is searched with."""
    growing: bool = False


class QueryNode(Protocol):
    """Raises ViewGone where a view is not here any more: the caller starts again on the new one."""

    def prepare(self, views: list[View]) -> None:
        """Returns when the views can be read. All or an error."""

    def drop(self, views: list[str]) -> None: ...

    def growing(self, view: str, channel_id: int) -> tuple[int, int]:
        """Rows above the view's floor, and their bytes. Raises ViewGone."""

    def read_ts(self, call: ReadCall) -> tuple[int, ...]:
        """The timestamps that the targets can be read at now, once their cuts are applied."""

    def search(self, call: SearchCall, queries: npt.NDArray[np.float32]) -> SearchHits: ...
    def query(self, call: QueryCall) -> QueryHits: ...
    def count(self, call: CountCall) -> Count: ...


class QueryCoordinator(Protocol):
    def load(
        self, collection_id: int, partitions: list[int], replicas: int, fields: list[int], wait_seconds: float
    ) -> None:
        """`partitions` []: the whole collection. Persisted first; waits at most so long until it serves."""

    def release(self, collection_id: int, partitions: list[int]) -> None:
        """`partitions` []: the whole collection."""

    def progress(self, collection_id: int) -> int:
        """Percent of the loaded collection that is served; 100 when all channels have a view."""

    def segments(self, collection_id: int) -> list[ServedSegment]:
        """What the views of a loaded collection consist of."""

    def failure(self, collection_id: int) -> str:
        """Why the last attempt to serve the collection failed; "" where it did not."""
