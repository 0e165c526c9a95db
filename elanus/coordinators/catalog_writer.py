"""Changes of the catalogue: one transaction each, and back when every live proxy follows it (rule 13)."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from elanus.coordinators.term import Term
from elanus.model.errors import CollectionNotFound, NotReady
from elanus.model.nouns import Collection
from elanus.model.timestamps import from_ms
from elanus.roles.proxy import ProxyControl
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.meta import Absent, Compare


class CatalogWriter:
    """Shared by whatever makes DDL. `lock`: one DDL at a time."""

    def __init__(
        self,
        term: Term,
        catalog: Catalog,
        proxies: Callable[[], Sequence[ProxyControl]],
        confirm_seconds: float,
    ) -> None:
        self.catalog = catalog
        self.lock = threading.RLock()
        self._term = term
        self._proxies = proxies
        self._confirm_seconds = confirm_seconds

    def change(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
    ) -> None:
        """One change of the catalogue, and back when every live proxy follows it."""
        self.confirm(self.commit(compares, puts, deletes))

    def commit(
        self,
        compares: Sequence[Compare | Absent],
        puts: Mapping[str, bytes],
        deletes: Sequence[str] = (),
    ) -> int:
        """One transaction, which this process' catalogue shows on return; its revision.

        Raises NotReady where a compare failed.
        """
        revision = self._term.txn(compares, puts, deletes)
        if revision is None:
            raise NotReady("the catalogue changed under this call; ask again")
        if any(k.startswith(keys.CATALOG) for k in (*puts, *deletes)):
            self.catalog.wait(revision, self._confirm_seconds)
        return revision

    def confirm(self, revision: int | None = None) -> None:
        """Back when every live proxy follows the catalogue's `revision` (None: what it shows now) and has no
        older write under way. Raises DeadlineExceeded."""
        wanted = self.catalog.revision if revision is None else revision
        for proxy in self._proxies():
            proxy.confirm(wanted, self._confirm_seconds)

    def put_collection(self, collection: Collection, more: Mapping[str, bytes] | None = None) -> None:
        """The next version of a collection, and what has to be written with it."""
        self.change([], {keys.collection(collection.id): codec.encode(collection), **(more or {})})

    def collection(self, collection_id: int) -> Collection:
        """Raises CollectionNotFound, for one that is being dropped as well."""
        collection = self.catalog.collection(collection_id)
        if collection is None or collection.dropping:
            raise CollectionNotFound(f"collection {collection_id} does not exist")
        return collection


def now() -> int:
    """A timestamp of this moment."""
    return from_ms(int(time.time() * 1000))
