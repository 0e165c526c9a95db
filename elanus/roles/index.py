"""Index coordinator and index node."""

from typing import Any, Protocol

import msgspec

from elanus.model.nouns import Channel, IndexDefinition, IndexFile, Segment
from elanus.model.schema import Schema


class IndexTask(msgspec.Struct, frozen=True, kw_only=True):
    """Build one index of one segment under a job key."""

    job_id: int
    collection_id: int
    schema: Schema
    channel: Channel
    segment: Segment
    definition: IndexDefinition


class IndexProgress(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of sealed segments: all, with the index (small segments count), still to be indexed."""

    index_id: int
    total_rows: int
    indexed_rows: int
    pending_rows: int
    failure: str = ""


class IndexNode(Protocol):
    def build(self, task: IndexTask) -> IndexFile:
        """Builds and uploads; the result is not in any manifest yet."""


class IndexCoordinator(Protocol):
    def create_index(
        self,
        collection_id: int,
        field_id: int,
        name: str,
        index_type: str,
        metric: str,
        params: dict[str, Any],
        requested: dict[str, str],
    ) -> IndexDefinition:
        """Idempotent for the same definition; a different one on the same field or name is an error."""

    def alter_index(
        self, collection_id: int, index_id: int, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        """Properties that do not change what is built."""

    def drop_index(self, collection_id: int, index_id: int) -> None: ...
    def drop_collection(self, collection_id: int) -> None: ...

    def progress(self, collection_id: int, wait_seconds: float) -> list[IndexProgress]:
        """Of every index of the collection; waits at most so long for the builds under way."""
