"""What a read has to know of a collection, gathered once for each revision of the catalogue."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

from elanus.access.partition_names import refuse_names
from elanus.model.errors import CollectionNotLoaded, IndexNotFound, PartitionNotFound, PartitionNotLoaded
from elanus.model.nouns import Collection, IndexDefinition, LoadIntent, ViewPointer
from elanus.model.schema import DYNAMIC_FIELD, Field, Schema
from elanus.storage.catalog import Catalog

OUTPUTS_KEPT = 64
"""Choices of output fields that are remembered of a collection."""
_ALL = "*"


@dataclass(frozen=True)
class Output:
    """Output fields, resolved: which columns to ask for and how the answer names them."""

    names: tuple[str, ...]
    fields: tuple[int, ...]
    dynamic: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A collection with all that the catalogue says of it; immutable but for what it remembers."""

    revision: int
    collection: Collection
    intent: LoadIntent | None
    indexes: dict[int, IndexDefinition]
    """By field id."""
    found_views: tuple[ViewPointer, ...]
    _outputs: dict[tuple[tuple[str, ...], bool], Output] = field(default_factory=dict)

    @property
    def schema(self) -> Schema:
        return self.collection.schema

    @cached_property
    def views(self) -> tuple[ViewPointer, ...]:
        """One of each channel; () while some are being prepared."""
        by_channel = {v.channel_id: v for v in self.found_views}
        if not all(c.id in by_channel for c in self.collection.channels):
            return ()
        return tuple(by_channel[c.id] for c in self.collection.channels)

    @property
    def loaded(self) -> LoadIntent:
        """Raises CollectionNotLoaded."""
        if self.intent is None:
            raise _not_loaded(self.collection)
        return self.intent

    def index(self, field: Field) -> IndexDefinition:
        """Raises IndexNotFound; CollectionNotLoaded where that comes first."""
        found = self.indexes.get(field.id)
        if found is None:
            missing = f"field {field.name!r} has no index; create one before you search it"
            if self.intent is None:
                # Clients go by the code, and a collection that is not loaded has the same one for every read.
                raise CollectionNotLoaded(
                    f"collection not loaded[collection={self.collection.name}]; {missing}, then load it"
                )
            raise IndexNotFound(missing)
        return found

    def partitions(self, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """The partitions to read; None: all. Raises PartitionNotFound, PartitionNotLoaded."""
        intent = self.loaded
        refuse_names(self.collection, names)
        if not names:
            return None if intent.whole_collection else intent.partitions
        wanted = []
        for name in names:
            partition = self.collection.partition(name)
            if partition is None:
                raise PartitionNotFound(
                    f"partition {name!r} does not exist in collection {self.collection.name!r}"
                )
            if not intent.whole_collection and partition.id not in intent.partitions:
                raise PartitionNotLoaded(f"partition not loaded[partition={name}]; load it first")
            wanted.append(partition.id)
        return tuple(wanted)

    def output(self, names: tuple[str, ...], *, with_key: bool) -> Output:
        """Resolves output field names; raises FieldNotFound."""
        found = self._outputs.get((names, with_key))
        if found is None:
            found = _output(self.schema, names, with_key=with_key)
            if len(self._outputs) >= OUTPUTS_KEPT:
                self._outputs.clear()
            self._outputs[names, with_key] = found
        return found


class Snapshots:
    """The latest snapshot of each collection that is read. Safe to call from many threads."""

    def __init__(self, catalog: Catalog, kept: int) -> None:
        self._catalog = catalog
        self._kept = kept
        self._snapshots: OrderedDict[tuple[str, str], Snapshot] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, database: str, name: str) -> Snapshot:
        """What the catalogue says at this moment or later. Raises CollectionNotFound, DatabaseNotFound."""
        revision = self._catalog.revision
        found = self._snapshots.get((database, name))
        if found is not None and found.revision == revision:
            return found
        made = self._make(revision, self._catalog.collection_named(database, name))
        with self._lock:
            self._snapshots[database, name] = made
            self._snapshots.move_to_end((database, name))
            while len(self._snapshots) > self._kept:
                self._snapshots.popitem(last=False)
        return made

    def again(self, snapshot: Snapshot) -> Snapshot:
        """The same collection, as it is now."""
        revision = self._catalog.revision
        return self._make(revision, self._catalog.collection(snapshot.collection.id) or snapshot.collection)

    def _make(self, revision: int, collection: Collection) -> Snapshot:
        return Snapshot(
            revision=revision,
            collection=collection,
            intent=self._catalog.load(collection.id),
            indexes={i.field_id: i for i in reversed(self._catalog.indexes(collection.id))},
            found_views=tuple(self._catalog.views(collection.id)),
        )


def _not_loaded(collection: Collection) -> CollectionNotLoaded:
    return CollectionNotLoaded(f"collection not loaded[collection={collection.name}]; load it first")


def _output(schema: Schema, names: tuple[str, ...], *, with_key: bool) -> Output:
    """What is no field is a key of the dynamic field, where there is one."""
    wanted: dict[str, None] = {}
    dynamic: dict[str, None] = {}
    for name in names:
        if name == _ALL:
            wanted.update(dict.fromkeys(f.name for f in schema.fields))
        elif name in schema.by_name:
            wanted[name] = None
        elif schema.dynamic_field is not None:
            dynamic[_dynamic_key(name)] = None
        else:
            schema.field(name)
    if with_key:
        wanted[schema.primary.name] = None
    columns = dict(wanted)
    if dynamic and DYNAMIC_FIELD not in columns:
        columns[DYNAMIC_FIELD] = None
    shown = [n for n in wanted if n != DYNAMIC_FIELD or DYNAMIC_FIELD in names or _ALL in names]
    return Output(
        names=(*shown, *dynamic),
        fields=tuple(schema.by_name[n].id for n in columns),
        dynamic=tuple(dynamic),
    )


def _dynamic_key(name: str) -> str:
    """`$meta["key"]` and `key` name the same."""
    for quote in "\"'":
        if name.startswith(f"{DYNAMIC_FIELD}[{quote}") and name.endswith(f"{quote}]"):
            return name[len(DYNAMIC_FIELD) + 2 : -2]
    return name
