"""The mirror of the catalogue."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.model.errors import CollectionNotFound, CorruptError, DatabaseNotFound, DeadlineExceeded
from elanus.model.nouns import Collection, Database, Name
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from elanus.storage import codec, keys
from elanus.storage.catalog import Catalog
from elanus.storage.meta.sqlite import SqliteMetaStore

SCHEMA = Schema(fields=(Field(id=100, name="id", type=DataType.INT64, primary=True),))


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[SqliteMetaStore]:
    opened = SqliteMetaStore(tmp_path / "meta")
    opened.txn([], {keys.database(1): codec.encode(Database(id=1, name="default"))})
    yield opened
    opened.close()


@pytest.fixture
def catalog(meta: SqliteMetaStore) -> Iterator[Catalog]:
    opened = Catalog(meta)
    yield opened
    opened.close()


def collection(id: int, name: str, *, dropping: bool = False) -> Collection:
    return Collection(
        id=id, database_id=1, name=name, schema=SCHEMA, channels=(), partitions=(), dropping=dropping
    )


def put(meta: SqliteMetaStore, *found: Collection) -> int:
    puts = {keys.collection(c.id): codec.encode(c) for c in found}
    puts |= {keys.name(1, c.name): codec.encode(Name(name=c.name, collection_id=c.id)) for c in found}
    return meta.txn([], puts).revision


def test_who_writes_reads_what_it_wrote(meta: SqliteMetaStore, catalog: Catalog) -> None:
    put(meta, collection(2, "a"))
    assert catalog.collection_named("", "a") == collection(2, "a")
    put(meta, collection(2, "a", dropping=True))
    with pytest.raises(CollectionNotFound, match=r"\[database=default\]\[collection=a\]"):
        catalog.collection_named("", "a")
    meta.txn([], {}, [keys.collection(2), keys.name(1, "a")])
    assert catalog.collection(2) is None
    assert catalog.names(1) == []
    assert catalog.revision_of(keys.collection(2)) == 0


def test_a_mirror_that_is_opened_later_shows_the_same(meta: SqliteMetaStore, catalog: Catalog) -> None:
    put(meta, collection(2, "a"), collection(3, "b"))
    later = Catalog(meta)
    assert later.collections() == catalog.collections()
    assert later.revision_of(keys.collection(2)) == catalog.revision_of(keys.collection(2)) > 0
    later.close()


def test_an_alias_stands_for_its_collection(meta: SqliteMetaStore, catalog: Catalog) -> None:
    put(meta, collection(2, "a"))
    alias = Name(name="b", collection_id=2, alias=True)
    meta.txn([], {keys.name(1, "b"): codec.encode(alias)})
    assert catalog.collection_named("default", "b").name == "a"


def test_a_database_that_is_not_there_is_refused_with_those_that_are(catalog: Catalog) -> None:
    with pytest.raises(DatabaseNotFound, match=r"database not found\[database=x\]; there are: default"):
        catalog.database("x")


def test_a_noun_that_cannot_be_read_is_refused_by_its_key(meta: SqliteMetaStore, catalog: Catalog) -> None:
    meta.txn([], {keys.collection(5): b"{}"})
    with pytest.raises(CorruptError, match="catalog/collection/5"):
        catalog.collection(5)


def test_a_wait_ends_when_the_revision_is_there(meta: SqliteMetaStore, catalog: Catalog) -> None:
    revision = meta.range("")[1]
    done = threading.Event()

    def wait() -> None:
        catalog.wait(revision + 1, 20)
        done.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert not done.wait(0.02)
    assert catalog.collections() == [], "a waiter keeps nobody from reading"
    put(meta, collection(2, "a"))
    waiter.join(20)
    assert done.is_set()


def test_a_wait_for_what_does_not_come_says_how_far_it_is(meta: SqliteMetaStore, catalog: Catalog) -> None:
    revision = catalog.revision
    with pytest.raises(DeadlineExceeded, match=f"at revision {revision} and did not reach {revision + 9}"):
        catalog.wait(revision + 9, 0.01)


@settings(max_examples=25)
@given(changes=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["put", "drop", "read"])), max_size=20))
def test_the_mirror_shows_what_the_store_holds(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, str]]
) -> None:
    meta = SqliteMetaStore(tmp_path_factory.mktemp("meta") / "meta")
    catalog = Catalog(meta)
    for number, (id, what) in enumerate(changes):
        if what == "put":
            put(meta, collection(id, f"{number}"))
        elif what == "drop":
            meta.txn([], {}, [keys.collection(id)])
        else:
            catalog.collection(id)
        items, _ = meta.range(keys.COLLECTIONS)
        stored = [codec.decode(i.value, Collection, i.key) for i in items]
        assert sorted(catalog.collections(), key=lambda c: c.id) == stored
    catalog.close()
    meta.close()


def test_readers_never_see_a_transaction_in_halves_of_one_noun(
    meta: SqliteMetaStore, catalog: Catalog
) -> None:
    """Many threads read while one writes; each sees revisions go forward."""
    put(meta, collection(2, "0"))
    stop, problems = threading.Event(), []

    def read() -> None:
        last = 0
        while not stop.is_set():
            found = catalog.collection(2)
            if found is None or int(found.name) < last:
                problems.append(found)
            else:
                last = int(found.name)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for i in range(1, 60):
        meta.txn([], {keys.collection(2): codec.encode(collection(2, f"{i}"))})
    stop.set()
    for reader in readers:
        reader.join()
    assert problems == []
