"""Partitions by name. A collection with a partition key chooses them itself."""

from collections.abc import Iterable

from elanus.model.errors import InvalidParameter, PartitionNotFound
from elanus.model.nouns import Collection


def partition_id(collection: Collection, name: str) -> int:
    """Raises PartitionNotFound with some of those that are there."""
    found = collection.partition(name)
    if found is None:
        there = ", ".join(p.name for p in collection.partitions[:10])
        raise PartitionNotFound(
            f"partition {name!r} does not exist in collection {collection.name!r}; there are {there}"
        )
    return found.id


def refuse_names(collection: Collection, names: Iterable[str]) -> None:
    """Raises InvalidParameter where a partition is named and the collection has a partition key."""
    named = [n for n in names if n]
    key = collection.schema.partition_key
    if named and key is not None:
        raise InvalidParameter(
            f"the partition {named[0]!r} is named, but the rows of collection {collection.name!r} are placed "
            f"by its partition key {key.name!r}; leave partition names out"
        )
