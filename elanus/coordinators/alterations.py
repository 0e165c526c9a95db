"""Collections that change: properties, fields, new fields; a new schema is announced in the logs."""

from collections.abc import Callable, Sequence

import msgspec

from elanus.coordinators.catalog_writer import CatalogWriter, now
from elanus.model.errors import InvalidParameter
from elanus.model.nouns import Channel, Collection, SchemaChangeIntent
from elanus.model.properties import (
    DESCRIPTION,
    DYNAMIC_FIELD_ENABLED,
    FIELD_DESCRIPTION,
    MAX_CAPACITY,
    MAX_LENGTH,
    boolean,
)
from elanus.model.records import Header, Kind, encode
from elanus.model.schema import Field, Schema, dynamic_field
from elanus.storage import codec, keys
from elanus.storage.log import LogBroker
from elanus.storage.meta import MetaStore


class Alterations:
    """What a proxy has judged by `model.properties` and `access.validation` is carried out here."""

    def __init__(self, writer: CatalogWriter, meta: MetaStore, broker: LogBroker) -> None:
        self._writer = writer
        self._meta = meta
        self._broker = broker

    def replay(self) -> None:
        """Announces what an earlier coordinator did not get to."""
        for item in self._meta.range(keys.SCHEMA_CHANGES)[0]:
            self._announce(codec.decode(item.value, SchemaChangeIntent, item.key))

    def alter_collection(
        self, collection_id: int, properties: dict[str, str], delete_keys: list[str]
    ) -> Collection:
        """The description goes into the schema, the switch of dynamic fields adds `$meta`."""
        with self._writer.lock:
            collection = self._writer.collection(collection_id)
            given = dict(properties)
            dynamic = given.pop(DYNAMIC_FIELD_ENABLED, None)
            schema = collection.schema
            if DESCRIPTION in given:
                schema = msgspec.structs.replace(schema, description=given.pop(DESCRIPTION))
            kept = {k: v for k, v in collection.properties.items() if k not in delete_keys}
            altered = msgspec.structs.replace(collection, schema=schema, properties={**kept, **given})
            if dynamic is not None:
                return self._switch_dynamic(altered, boolean(dynamic))
            self._writer.put_collection(altered)
            return altered

    def alter_field(
        self, collection_id: int, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> Collection:
        with self._writer.lock:
            collection = self._writer.collection(collection_id)
            old = collection.schema.field(name)
            sizes = {
                key: _grown(old, key, int(properties[key]))
                for key in (MAX_LENGTH, MAX_CAPACITY)
                if key in properties
            }
            kept = {k: v for k, v in old.params.items() if k not in delete_keys}
            apart = (MAX_LENGTH, MAX_CAPACITY, FIELD_DESCRIPTION)
            field = msgspec.structs.replace(
                old,
                max_length=sizes.get(MAX_LENGTH, old.max_length),
                max_capacity=sizes.get(MAX_CAPACITY, old.max_capacity),
                description=properties.get(FIELD_DESCRIPTION, old.description),
                params=kept | {k: v for k, v in properties.items() if k not in apart},
            )
            # Fields keep their ids and Arrow types: no worker needs to know.
            fields = tuple(field if f.id == old.id else f for f in collection.schema.fields)
            schema = msgspec.structs.replace(collection.schema, fields=fields)
            altered = msgspec.structs.replace(collection, schema=schema, updated_ts=now())
            self._writer.put_collection(altered)
            return altered

    def add_field(self, collection_id: int, field: Field) -> Collection:
        """`field.id` is given here. Rows that were written before show its default, or null."""
        with self._writer.lock:
            collection = self._writer.collection(collection_id)
            if field.name in collection.schema.by_name:
                self._resume(collection_id)
                raise InvalidParameter(
                    f"collection {collection.name!r} has a field {field.name!r} already; choose another name"
                )
            return self._extend(collection, lambda id: msgspec.structs.replace(field, id=id))

    def _switch_dynamic(self, collection: Collection, on: bool) -> Collection:
        if collection.schema.dynamic and not on:
            raise InvalidParameter(
                f"collection {collection.name!r} has dynamic fields; they cannot be switched off"
            )
        if collection.schema.dynamic or not on:
            self._resume(collection.id)
            self._writer.put_collection(collection)
            return collection
        return self._extend(collection, dynamic_field)

    def _extend(self, collection: Collection, make: Callable[[int], Field]) -> Collection:
        """A schema with one field more. The catalogue first: whoever meets a record of the new version in a
        log finds its schema there."""
        old = collection.schema
        added = make(1 + max(f.id for f in old.fields))
        declared = [f for f in (*old.fields, added) if not f.dynamic]
        schema = Schema(
            fields=(*declared, *(f for f in (*old.fields, added) if f.dynamic)),
            description=old.description,
            dynamic=old.dynamic or added.dynamic,
            version=old.version + 1,
        )
        intent = SchemaChangeIntent(collection_id=collection.id, version=schema.version)
        extended = msgspec.structs.replace(collection, schema=schema, updated_ts=now())
        self._writer.put_collection(extended, {keys.schema_change(collection.id): codec.encode(intent)})
        self._announce(intent)
        return extended

    def _resume(self, collection_id: int) -> None:
        """Goes on with a change that failed half-way, for a client that asks again."""
        item = self._meta.get(keys.schema_change(collection_id))
        if item is not None:
            self._announce(codec.decode(item.value, SchemaChangeIntent, item.key))

    def _announce(self, intent: SchemaChangeIntent) -> None:
        collection = self._writer.catalog.collection(intent.collection_id)
        if collection is not None and not collection.dropping:
            self._append(collection.channels, intent)
        self._writer.commit([], {}, [keys.schema_change(intent.collection_id)])

    def _append(self, channels: Sequence[Channel], intent: SchemaChangeIntent) -> None:
        for channel in channels:
            header = Header(
                channel.id,
                Kind.SCHEMA_CHANGE,
                schema_version=intent.version,
                intent=intent.collection_id,
            )
            self._broker.append(channel.log, encode(header))


def _grown(field: Field, key: str, size: int) -> int:
    """A larger `max_length` or `max_capacity`: rows that are there fit it. Raises InvalidParameter."""
    old: int = getattr(field, key)
    if not old:
        raise InvalidParameter(f"field {field.name!r} of type {field.type.name} has no {key}")
    if size < old:
        raise InvalidParameter(
            f"{key} of field {field.name!r} is {old} and can only grow; it cannot become {size}"
        )
    return size
