"""Rows that come, change and go."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition
from pymilvus import MilvusException

from tests.machine.filters import Filter, filters
from tests.machine.history import ALIAS, ALWAYS, History, numbers, picks, recent, seeds, some, step
from tests.machine.samples import Shape, entity, row, shapes
from tests.reference import Key

batches = st.lists(st.tuples(numbers, seeds), min_size=1, max_size=12)
TTLS = (500, 1500)
LEAP = 1000
"""Seconds that pass at once: far more than a history takes, so no row is nearly expired."""


class Writes(History):
    @step(batch=batches, pick=picks)
    def insert(self, batch: list[tuple[int, int]], pick: int) -> None:
        self.write_rows(batch, self.pick(pick))

    @step(first=seeds, count=st.integers(24, 120), pick=picks)
    def insert_many(self, first: int, count: int, pick: int) -> None:
        """Enough for an index, or for a flush by size."""
        self.write_rows([(100 + first + i, first + i) for i in range(count)], self.pick(pick))

    def fill(self, seed: int) -> None:
        """Most histories would otherwise be of empty collections."""
        self.write_rows([(100 + seed + i, seed + i) for i in range(30 + seed % 50)], self.pick(seed))

    def write_rows(self, batch: Iterable[tuple[int, int]], partition: str) -> None:
        label = self.labels[partition]
        rows = [row(self.shape, self.shape.key(n), seed, label, self.added) for n, seed in batch]
        answer = self.client.insert(
            self.name,
            [entity(self.shape, r, not self.shape.auto_id) for r in rows],
            **self.partition(partition),
        )
        assert answer["insert_count"] == len(rows)
        if self.shape.auto_id:
            rows = [replace(r, key=k) for k, r in zip(answer["ids"], rows, strict=True)]
        assert list(answer["ids"]) == [r.key for r in rows]
        self.reference.insert(rows, self.clock.time())

    @step(batch=batches, existing=recent, pick=picks)
    def upsert(self, batch: list[tuple[int, int]], existing: list[int], pick: int) -> None:
        """Keys that are there, keys that are not, keys twice in a batch."""
        there = self.reference.rows
        keys = [(self.shape.key(n), seed) for n, seed in batch]
        keys += [(there[-1 - n].key, n) for n in existing if n < len(there)]
        self.upsert_rows(keys, self.pick(pick))

    def upsert_rows(self, keys: Iterable[tuple[Key, int]], partition: str) -> None:
        """Keys, each with the seed of its row."""
        label = self.labels[partition]
        rows = [row(self.shape, key, seed, label, self.added) for key, seed in keys]
        if not rows:
            return
        answer = self.client.upsert(
            self.name, [entity(self.shape, r, True) for r in rows], **self.partition(partition)
        )
        assert answer["upsert_count"] == len(rows)
        self.reference.upsert(rows, self.clock.time())

    @step(chosen=some, existing=recent, pick=picks)
    def delete_keys(self, chosen: list[int], existing: list[int], pick: int) -> None:
        keys = self.some_keys(chosen, existing)
        if not keys:
            return
        partition = self.scope(pick)
        if self.shape.auto_id and self.shape.text_keys:
            keys = [str(k) for k in keys]
        self.client.delete(self.name, ids=keys, **(self.partition(partition) if partition else {}))
        self.reference.delete_keys(keys, partition and self.labels[partition])

    @step(chosen=filters, pick=picks)
    def delete_where(self, chosen: Filter, pick: int) -> None:
        partition = self.scope(pick)
        # A filter on keys alone would be a delete by keys, which needs nothing loaded.
        text = f"({chosen.text}) and {ALWAYS}"
        named = self.partition(partition) if partition else {}
        if self.loaded is None or (partition is not None and partition not in self.loaded):
            with pytest.raises(MilvusException, match="not loaded"):
                self.client.delete(self.name, filter=text, filter_params=chosen.values, **named)
            return
        answer = self.client.delete(self.name, filter=text, filter_params=chosen.values, **named)
        count = self.reference.delete_where(
            chosen.truth, self.readable(), partition and self.labels[partition]
        )
        assert answer["delete_count"] == count

    def scope(self, pick: int) -> str | None:
        """A partition that a delete keeps to; None: everywhere."""
        return self.pick(pick) if pick % 3 == 0 and not self.shape.tenants else None

    @precondition(lambda self: self.reference.rows)
    @step(seed=seeds)
    def truncate(self, seed: int) -> None:
        self.client.truncate_collection(self.name)
        self.reference.truncate()
        self.check_everything()
        self.fill(seed)

    @step(seed=seeds, shape=shapes())
    def drop_and_create_again(self, shape: Shape, seed: int) -> None:
        if self.alias:
            with pytest.raises(MilvusException, match="drop"):
                self.client.drop_collection(self.own_name)
            self.client.drop_alias(ALIAS)
        self.client.drop_collection(self.own_name)
        assert not self.client.has_collection(self.own_name)
        self.create(shape)
        self.fill(seed)

    # time to live

    @step(seconds=st.sampled_from(TTLS))
    def set_ttl(self, seconds: int) -> None:
        # What has outlived a shorter time may be gone for good, so a longer one would bring back some rows.
        if self.ttl is not None and seconds > self.ttl and self.reference.alive_since > 0:
            return
        self.client.alter_collection_properties(self.name, {"collection.ttl.seconds": str(seconds)})
        self.ttl = seconds
        self.expire()

    @precondition(lambda self: self.ttl is not None and self.reference.alive_since <= 0)
    @step()
    def drop_ttl(self) -> None:
        self.client.drop_collection_properties(self.name, ["collection.ttl.seconds"])
        self.ttl = None
        self.check_everything()

    @step(seed=seeds)
    def pass_time(self, seed: int) -> None:
        self.clock.ahead += LEAP
        self.expire()
        self.fill(seed)

    def expire(self) -> None:
        if self.ttl is not None:
            alive_since = self.clock.time() - self.ttl
            if any(r.born < alive_since for rows in self.reference.history for r in rows):
                self.reference.expire(alive_since)
        self.check_everything()
