"""What a proxy does to collections that are there: names, properties, fields, truncation."""

from collections.abc import Mapping
from dataclasses import dataclass

from elanus.model.codes import Code
from elanus.model.errors import ElanusError, IndexNotFound, InvalidParameter
from elanus.model.nouns import Collection
from elanus.model.properties import (
    DYNAMIC_FIELD_ENABLED,
    KEY_ISOLATION,
    MAX_COLLECTIONS,
    Scope,
    boolean,
    check_change,
)
from elanus.model.schema import Field
from elanus.roles.index import IndexCoordinator
from elanus.roles.root import RootCoordinator
from elanus.storage.catalog import Catalog


@dataclass(frozen=True)
class Alterations:
    catalog: Catalog
    root: RootCoordinator
    index: IndexCoordinator

    # names

    def create_alias(self, database: str, collection: str, alias: str) -> None:
        self.root.create_alias(database, collection, alias)

    def alter_alias(self, database: str, collection: str, alias: str) -> None:
        self.root.alter_alias(database, collection, alias)

    def drop_alias(self, database: str, alias: str) -> None:
        self.root.drop_alias(database, alias)

    def aliased(self, database: str, alias: str) -> Collection:
        """The collection behind an alias. Raises an error with ALIAS_NOT_FOUND."""
        entry = self.catalog.name(self.catalog.database(database).id, alias)
        if entry is None or not entry.alias:
            raise ElanusError(f"alias not found[database={database}][alias={alias}]", Code.ALIAS_NOT_FOUND)
        return self.catalog.collection_named(database, alias)

    def aliases(self, database: str, collection: str) -> list[str]:
        """Of a collection, or of the whole database where none is named."""
        home = self.catalog.database(database)
        owner = self.catalog.collection_named(database, collection).id if collection else None
        names = (n for n in self.catalog.names(home.id) if n.alias)
        return sorted(n.name for n in names if owner is None or n.collection_id == owner)

    def rename_collection(self, database: str, name: str, new_database: str, new_name: str) -> None:
        self.root.rename_collection(database, name, new_database, new_name)

    # properties

    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> None:
        check_change(Scope.DATABASE, properties, delete_keys)
        home = self.catalog.database(name)
        most = properties.get(MAX_COLLECTIONS)
        count = sum(not n.alias for n in self.catalog.names(home.id))
        if most is not None and int(most) < count:
            raise InvalidParameter(
                f"{MAX_COLLECTIONS} is {most}, but database {home.name!r} has {count} collections already"
            )
        self.root.alter_database(name, properties, delete_keys)

    def alter_collection(
        self, database: str, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        found = self.catalog.collection_named(database, name)
        check_change(Scope.COLLECTION, properties, delete_keys, loaded=self._loaded(found))
        if DYNAMIC_FIELD_ENABLED in properties and len(properties) > 1:
            others = ", ".join(sorted(properties.keys() - {DYNAMIC_FIELD_ENABLED}))
            raise InvalidParameter(f"{DYNAMIC_FIELD_ENABLED} is altered alone; {others} came with it")
        check_isolation(found.schema.partition_key, properties)
        self.root.alter_collection(found.id, properties, delete_keys)

    def alter_field(
        self, database: str, collection: str, field: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        found = self.catalog.collection_named(database, collection)
        check_change(Scope.FIELD, properties, delete_keys, loaded=self._loaded(found))
        self.root.alter_field(found.id, found.schema.field(field).name, properties, delete_keys)

    def add_field(self, database: str, collection: str, field: Field) -> None:
        self.root.add_field(self.catalog.collection_named(database, collection).id, field)

    def alter_index(
        self, database: str, collection: str, name: str, properties: dict[str, str], delete_keys: list[str]
    ) -> None:
        found = self.catalog.collection_named(database, collection)
        check_change(Scope.INDEX, properties, delete_keys, loaded=self._loaded(found))
        for definition in self.catalog.indexes(found.id):
            if definition.name == name:
                self.index.alter_index(found.id, definition.id, properties, delete_keys)
                return
        raise IndexNotFound(f"index {name!r} does not exist on collection {collection!r}")

    # rows

    def truncate_collection(self, database: str, name: str) -> None:
        self.root.truncate_collection(self.catalog.collection_named(database, name).id)

    def _loaded(self, collection: Collection) -> bool:
        return self.catalog.load(collection.id) is not None


def check_isolation(key: Field | None, properties: Mapping[str, str]) -> None:
    """Raises InvalidParameter for key isolation without a partition key."""
    if key is None and boolean(properties.get(KEY_ISOLATION, "false")):
        raise InvalidParameter(
            f"{KEY_ISOLATION}=true needs a partition key; mark a field with is_partition_key"
        )
