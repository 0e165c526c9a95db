"""Manifests where there is none yet, and where what is there does not fit. Edits: tests/rules."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from elanus.model.errors import ConflictError, CorruptError, NotFoundError, RetriableStorageError
from elanus.model.nouns import Channel, Manifest, Mark
from elanus.model.timestamps import Position
from elanus.storage import codec, keys
from elanus.storage.manifests import Manifests, edit_id
from elanus.storage.meta.sqlite import SqliteMetaStore
from elanus.storage.objects.local import LocalObjectStore

CHANNEL = Channel(id=7, log="log", start_offset=10, start_ts=100)
JOB = "job/1"


@pytest.fixture
def meta(tmp_path: Path) -> Iterator[SqliteMetaStore]:
    opened = SqliteMetaStore(tmp_path / "meta")
    yield opened
    opened.close()


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


@pytest.fixture
def manifests(meta: SqliteMetaStore, objects: LocalObjectStore) -> Manifests:
    return Manifests(meta, objects)


def hold(meta: SqliteMetaStore) -> dict[str, int]:
    return {JOB: meta.txn([], {JOB: b""}).revision}


def move(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(
        manifest, floor_offset=manifest.floor_offset + 5, floor_ts=manifest.floor_ts + 50
    )


def test_a_channel_without_a_manifest_starts_where_it_was_made(manifests: Manifests) -> None:
    assert manifests.read(CHANNEL) == Manifest(channel_id=7, version=0, floor_offset=10, floor_ts=100)
    assert manifests.start(CHANNEL)[1] == CHANNEL.start
    assert manifests.mark("log") == Position(0, 0)


def test_a_consumer_starts_at_the_higher_of_floor_and_mark(
    meta: SqliteMetaStore, manifests: Manifests
) -> None:
    meta.txn([], {keys.mark("log"): codec.encode(Mark(offset=12, ts=130))})
    assert manifests.start(CHANNEL)[1] == Position(12, 130)
    manifests.edit(CHANNEL, edit_id(JOB, 1), hold(meta), move)
    assert manifests.start(CHANNEL)[1] == Position(15, 150)


def test_an_edit_makes_the_next_version_and_keeps_the_bodies_before(
    meta: SqliteMetaStore, manifests: Manifests
) -> None:
    guards = hold(meta)
    first = manifests.edit(CHANNEL, edit_id(JOB, 1), guards, move)
    before = manifests.pointer(CHANNEL)
    second = manifests.edit(CHANNEL, edit_id(JOB, 2), guards, move)
    assert (first.version, second.version, second.floor_offset) == (1, 2, 20)
    assert manifests.read(CHANNEL) == second
    assert manifests.body(CHANNEL, before) == first
    pointer = manifests.pointer(CHANNEL)
    assert (pointer.version, pointer.floor_offset, pointer.floor_ts) == (2, 20, 200)


def test_an_edit_whose_precondition_does_not_hold_changes_nothing(
    meta: SqliteMetaStore, manifests: Manifests
) -> None:
    def refuse(manifest: Manifest) -> Manifest:
        raise ConflictError("not so")

    with pytest.raises(ConflictError, match="not so"):
        manifests.edit(CHANNEL, edit_id(JOB, 1), hold(meta), refuse)
    assert meta.get(keys.manifest(7)) is None


def test_an_edit_that_loses_every_race_says_so(meta: SqliteMetaStore, objects: LocalObjectStore) -> None:
    guards, others = hold(meta), Manifests(meta, objects)

    def overtaken(manifest: Manifest) -> Manifest:
        others.edit(CHANNEL, edit_id(f"job/other-{manifest.version}", 0), {}, move)
        return move(manifest)

    with pytest.raises(RetriableStorageError, match="job/1#1 of channel 7 lost 3 races"):
        Manifests(meta, objects, attempts=3).edit(CHANNEL, edit_id(JOB, 1), guards, overtaken)
    assert others.read(CHANNEL).version == 3


def test_a_body_of_another_channel_or_version_is_refused_by_its_path(
    meta: SqliteMetaStore, objects: LocalObjectStore, manifests: Manifests
) -> None:
    manifests.edit(CHANNEL, edit_id(JOB, 1), hold(meta), move)
    pointer = manifests.pointer(CHANNEL)
    path = keys.manifest_path(7, pointer.name)
    objects.put(path, codec.encode(msgspec.structs.replace(manifests.read(CHANNEL), channel_id=8)))
    with pytest.raises(
        CorruptError, match=f"{path} is version 1 of channel 8, expected version 1 of channel 7"
    ):
        manifests.read(CHANNEL)
    objects.delete(path)
    with pytest.raises(NotFoundError):
        manifests.read(CHANNEL)
