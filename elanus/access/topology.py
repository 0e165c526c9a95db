"""What is where: replicas and segments, as operators ask for them."""

from dataclasses import dataclass

import msgspec

from elanus.model.codes import Code
from elanus.model.errors import ElanusError
from elanus.model.nouns import Collection, IndexDefinition, ViewPointer
from elanus.roles.data import DataCoordinator, SegmentState
from elanus.roles.query import QueryCoordinator, ServedSegment
from elanus.storage.catalog import Catalog


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One copy of a loaded collection: a view of each channel."""

    number: int
    partitions: tuple[int, ...]
    views: tuple[ViewPointer, ...]


class Served(msgspec.Struct, frozen=True, kw_only=True):
    segment: ServedSegment
    index: IndexDefinition | None
    """The index it is searched with."""


@dataclass(frozen=True)
class Topology:
    catalog: Catalog
    data: DataCoordinator
    query: QueryCoordinator

    def replicas(self, collection: Collection) -> list[Replica]:
        """Raises an error with REPLICA_NOT_FOUND where the collection is not loaded."""
        intent = self.catalog.load(collection.id)
        if intent is None:
            raise ElanusError(
                f"collection {collection.name!r} has no replica; load it first", Code.REPLICA_NOT_FOUND
            )
        whole = tuple(p.id for p in collection.partitions)
        views = self.catalog.views(collection.id)
        return [
            Replica(
                number=number,
                partitions=whole if intent.whole_collection else intent.partitions,
                views=tuple(v for v in views if v.replica == number),
            )
            for number in range(intent.replicas)
        ]

    def sealed(self, collection: Collection) -> list[SegmentState]:
        return self.data.segments(collection.id)

    def served(self, collection: Collection) -> list[Served]:
        """[] where the collection is not loaded."""
        by_id = {i.id: i for i in self.catalog.indexes(collection.id)}
        return [
            Served(segment=s, index=next((by_id[i] for i in s.indexes if i in by_id), None))
            for s in self.query.segments(collection.id)
        ]
