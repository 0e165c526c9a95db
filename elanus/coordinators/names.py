"""Names of a database: collections and their aliases share one name space."""

import msgspec

from elanus.coordinators.catalog_writer import CatalogWriter
from elanus.model.codes import Code
from elanus.model.errors import CollectionNotFound, ElanusError, InvalidParameter
from elanus.model.nouns import Collection, Database, Name
from elanus.model.properties import MAX_COLLECTIONS
from elanus.storage import codec, keys
from elanus.storage.meta import Absent


class Names:
    """Aliases and renaming."""

    def __init__(self, writer: CatalogWriter) -> None:
        self._writer = writer
        self._catalog = writer.catalog

    def create_alias(self, database: str, collection: str, alias: str) -> None:
        with self._writer.lock:
            home = self._catalog.database(database)
            target = self.owned(home, collection)
            taken = self._catalog.name(home.id, alias)
            if taken is not None and not taken.alias:
                raise ElanusError(
                    f"{alias!r} is the name of a collection of database {home.name!r}; choose another alias",
                    Code.ALIAS_COLLECTION_NAME_CONFLICT,
                )
            if taken is not None and taken.collection_id != target.id:
                other = self._catalog.collection(taken.collection_id)
                raise ElanusError(
                    f"{alias!r} is an alias of collection {other.name if other else taken.collection_id!r} "
                    "already; alter it to move it",
                    Code.ALIAS_ALREADY_EXIST,
                )
            if taken is None:
                self._put(home, alias, target, [Absent(keys.name(home.id, alias))])

    def alter_alias(self, database: str, collection: str, alias: str) -> None:
        with self._writer.lock:
            home = self._catalog.database(database)
            target = self.owned(home, collection)
            self._alias(home, alias)
            self._put(home, alias, target, [])

    def drop_alias(self, database: str, alias: str) -> None:
        """Nothing where there is no such alias, as in Milvus."""
        with self._writer.lock:
            home = self._catalog.database(database)
            if self._catalog.name(home.id, alias) is None:
                return
            self._alias(home, alias)
            self._writer.change([], {}, [keys.name(home.id, alias)])

    def rename_collection(self, database: str, name: str, new_database: str, new_name: str) -> Collection:
        with self._writer.lock:
            home = self._catalog.database(database)
            target = self._catalog.database(new_database)
            collection = self.owned(home, name)
            if (home.id, name) == (target.id, new_name):
                raise InvalidParameter(f"the new name {new_name!r} is the collection's name already")
            taken = self._catalog.name(target.id, new_name)
            if taken is not None:
                what = "an alias" if taken.alias else "a collection"
                raise InvalidParameter(
                    f"{new_name!r} is the name of {what} of database {target.name!r} already; choose another"
                )
            if home.id != target.id:
                self._check_move(home, target, collection)
            renamed = msgspec.structs.replace(collection, name=new_name, database_id=target.id)
            entry = Name(name=new_name, collection_id=collection.id)
            self._writer.change(
                [Absent(keys.name(target.id, new_name))],
                {
                    keys.collection(collection.id): codec.encode(renamed),
                    keys.name(target.id, new_name): codec.encode(entry),
                },
                [keys.name(home.id, name)],
            )
            return renamed

    def owned(self, home: Database, name: str) -> Collection:
        """The collection of exactly this name. Raises CollectionNotFound, InvalidParameter for an alias."""
        entry = self._catalog.name(home.id, name)
        if entry is None:
            raise CollectionNotFound(f"can't find collection[database={home.name}][collection={name}]")
        if entry.alias:
            raise InvalidParameter(f"{name!r} is an alias; use the collection's own name")
        return self._writer.collection(entry.collection_id)

    def aliases(self, collection: Collection) -> list[str]:
        names = self._catalog.names(collection.database_id)
        return [n.name for n in names if n.alias and n.collection_id == collection.id]

    def check_room(self, home: Database, most: int) -> None:
        """Raises an error with COLLECTION_NUM_LIMIT_EXCEEDED where the database is full."""
        count = sum(not n.alias for n in self._catalog.names(home.id))
        if count >= most:
            raise ElanusError(
                f"database {home.name!r} has {count} collections, its limit is {most}",
                Code.COLLECTION_NUM_LIMIT_EXCEEDED,
            )

    def _check_move(self, home: Database, target: Database, collection: Collection) -> None:
        aliases = self.aliases(collection)
        if aliases:
            raise InvalidParameter(
                f"collection {collection.name!r} has the aliases {', '.join(aliases)} in database "
                f"{home.name!r}; drop them before you move it to {target.name!r}"
            )
        most = most_collections(target)
        if most is not None:
            self.check_room(target, most)

    def _alias(self, home: Database, alias: str) -> Name:
        entry = self._catalog.name(home.id, alias)
        if entry is None:
            raise ElanusError(
                f"alias not found[database={home.name}][alias={alias}]; create it first", Code.ALIAS_NOT_FOUND
            )
        if not entry.alias:
            raise ElanusError(
                f"{alias!r} is the name of a collection, not an alias", Code.ALIAS_COLLECTION_NAME_CONFLICT
            )
        return entry

    def _put(self, home: Database, alias: str, target: Collection, compares: list[Absent]) -> None:
        entry = Name(name=alias, collection_id=target.id, alias=True)
        self._writer.change(compares, {keys.name(home.id, alias): codec.encode(entry)})


def most_collections(database: Database) -> int | None:
    """What the database's own property says; None: it has none."""
    text = database.properties.get(MAX_COLLECTIONS)
    return None if text is None else int(text)
