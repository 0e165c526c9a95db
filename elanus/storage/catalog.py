"""A process's mirror of `catalog/`: databases, collections, indexes, loads, views, users and roles.

One watch feeds it. Reading drains what the watch already holds, so a reader in the process that wrote
always sees its own writes where the store delivers synchronously; elsewhere `wait` closes the gap.
"""

import threading
import time
from collections.abc import Iterator
from typing import TypeVar

from elanus.model.errors import CollectionNotFound, DatabaseNotFound, DeadlineExceeded
from elanus.model.nouns import (
    Collection,
    Database,
    IndexDefinition,
    LoadIntent,
    Name,
    Noun,
    PrivilegeGroup,
    Role,
    User,
    ViewPointer,
)
from elanus.model.schema import Schema
from elanus.storage import codec, keys
from elanus.storage.meta import Event, MetaStore

DEFAULT_DATABASE = "default"

N = TypeVar("N", bound=Noun)

_SLICE_SECONDS = 0.005
"""How long a waiter may keep readers from draining."""


class Catalog:
    """Safe to call from many threads. Nouns are immutable: what was read never changes under its reader."""

    def __init__(self, meta: MetaStore) -> None:
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        items, self._revision = meta.range(keys.CATALOG)
        self._raw: dict[str, tuple[bytes, int]] = {i.key: (i.value, i.revision) for i in items}
        self._decoded: dict[str, Noun] = {}
        self._children: dict[str, dict[str, None]] = {}
        for key in self._raw:
            self._link(key)
        self._watch = meta.watch(keys.CATALOG, self._revision + 1)

    def close(self) -> None:
        self._watch.close()

    @property
    def revision(self) -> int:
        self._drain(0)
        return self._revision

    def wait(self, revision: int, timeout_seconds: float) -> None:
        """Returns once every change up to `revision` is mirrored. Raises DeadlineExceeded."""
        deadline = time.monotonic() + timeout_seconds
        self._drain(0)
        while self._revision < revision:
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the catalogue is at revision {self._revision} and did not reach {revision} "
                    f"in {timeout_seconds} s"
                )
            self._drain(min(left, _SLICE_SECONDS))

    def databases(self) -> list[Database]:
        return list(self._all(keys.DATABASES, Database))

    def database(self, name: str) -> Database:
        """Raises DatabaseNotFound with the names there are."""
        wanted = name or DEFAULT_DATABASE
        there = self.databases()
        for database in there:
            if database.name == wanted:
                return database
        names = ", ".join(sorted(d.name for d in there))
        raise DatabaseNotFound(f"database not found[database={wanted}]; there are: {names}")

    def name(self, database_id: int, name: str) -> Name | None:
        return self._get(keys.name(database_id, name), Name)

    def names(self, database_id: int) -> list[Name]:
        return list(self._all(f"{keys.NAMES}{database_id}/", Name))

    def collection(self, collection_id: int) -> Collection | None:
        return self._get(keys.collection(collection_id), Collection)

    def schema(self, collection_id: int, version: int, timeout_seconds: float) -> Schema | None:
        """A collection's schema at `version` or later, once this mirror has it; None where it is gone.

        Raises DeadlineExceeded.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            found = self.collection(collection_id)
            if found is None or found.schema.version >= version:
                return None if found is None else found.schema
            left = deadline - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(
                    f"the catalogue has version {found.schema.version} of the schema of collection "
                    f"{found.name!r} and did not reach {version} in {timeout_seconds} s"
                )
            self._drain(min(left, _SLICE_SECONDS))

    def collection_named(self, database: str, name: str) -> Collection:
        """The collection that `name`, or an alias `name`, stands for. Raises CollectionNotFound."""
        found = self.name(self.database(database).id, name)
        collection = self.collection(found.collection_id) if found else None
        if collection is None or collection.dropping:
            raise CollectionNotFound(
                f"can't find collection[database={database or DEFAULT_DATABASE}][collection={name}]"
            )
        return collection

    def collections(self) -> list[Collection]:
        return list(self._all(keys.COLLECTIONS, Collection))

    def indexes(self, collection_id: int) -> list[IndexDefinition]:
        return list(self._all(f"{keys.INDEXES}{collection_id}/", IndexDefinition))

    def load(self, collection_id: int) -> LoadIntent | None:
        return self._get(keys.load(collection_id), LoadIntent)

    def loads(self) -> list[LoadIntent]:
        return list(self._all(keys.LOADS, LoadIntent))

    def views(self, collection_id: int) -> list[ViewPointer]:
        return list(self._all(f"{keys.VIEWS}{collection_id}/", ViewPointer))

    def users(self) -> list[User]:
        return sorted(self._all(keys.USERS, User), key=lambda u: u.name)

    def user(self, name: str) -> User | None:
        return self._get(keys.user(name), User)

    def roles(self) -> list[Role]:
        return sorted(self._all(keys.ROLES, Role), key=lambda r: r.name)

    def role(self, name: str) -> Role | None:
        return self._get(keys.role(name), Role)

    def privilege_groups(self) -> list[PrivilegeGroup]:
        return sorted(self._all(keys.PRIVILEGE_GROUPS, PrivilegeGroup), key=lambda g: g.name)

    def privilege_group(self, name: str) -> PrivilegeGroup | None:
        return self._get(keys.privilege_group(name), PrivilegeGroup)

    def revision_of(self, key: str) -> int:
        """When `key` was last written; 0 if it does not exist."""
        self._drain(0)
        found = self._raw.get(key)
        return found[1] if found else 0

    def _get(self, key: str, kind: type[N]) -> N | None:
        self._drain(0)
        return self._decode(key, kind)

    def _all(self, prefix: str, kind: type[N]) -> Iterator[N]:
        self._drain(0)
        with self._lock:
            found = list(self._children.get(prefix, ()))
        for key in found:
            noun = self._decode(key, kind)
            if noun is not None:
                yield noun

    def _decode(self, key: str, kind: type[N]) -> N | None:
        noun = self._decoded.get(key)
        if noun is None:
            with self._lock:
                raw = self._raw.get(key)
                if raw is None:
                    return None
                noun = codec.decode(raw[0], kind, key)
                self._decoded[key] = noun
        assert isinstance(noun, kind)
        return noun

    def _drain(self, timeout_seconds: float) -> None:
        with self._draining:
            events = self._watch.poll(timeout_seconds)
            if not events:
                return
            with self._lock:
                for event in events:
                    self._apply(event)

    def _apply(self, event: Event) -> None:
        self._decoded.pop(event.key, None)
        if event.value is None:
            self._raw.pop(event.key, None)
            self._children.get(_parent(event.key), {}).pop(event.key, None)
        else:
            self._raw[event.key] = (event.value, event.revision)
            self._link(event.key)
        self._revision = max(self._revision, event.revision)

    def _link(self, key: str) -> None:
        self._children.setdefault(_parent(key), {})[key] = None


def _parent(key: str) -> str:
    return key[: key.rindex("/") + 1]
