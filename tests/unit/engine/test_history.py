"""Random histories of appends, deletes, seals and compactions against a reference, read at random times."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from elanus.engine.deletes import Deletes
from elanus.engine.growing import GrowingSegment
from elanus.engine.reader import Reader
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import count, fetch, query, search
from elanus.engine.segment_file import read_segment
from elanus.model.columns import ALL_PARTITIONS, DELETE_TS
from elanus.model.nouns import RangeDelete
from elanus.model.types import DataType, Metric
from tests.unit.engine.samples import (
    KEY,
    NAME,
    VECTOR,
    Reference,
    batch_of,
    key_array,
    schema_of,
    seal,
    table_of,
)

KEYS = st.integers(0, 30)
PARTITIONS = st.integers(1, 3)
SCOPES = st.one_of(st.just(ALL_PARTITIONS), PARTITIONS)
SEEDS = st.integers(0, 2**32 - 1)
STEPS = st.integers(1, 3)
SHARE = st.floats(0, 1)
CHOICES = st.one_of(st.none(), st.frozensets(PARTITIONS, min_size=1))


class History(RuleBasedStateMachine):
    @initialize(key_type=st.sampled_from([DataType.INT64, DataType.VARCHAR]), block_rows=st.integers(1, 60))
    def start(self, key_type: DataType, block_rows: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.schema = schema_of(key_type)
        self.growing = GrowingSegment(self.schema, block_rows=block_rows)
        self.sealed: list[SealedSegment] = []
        self.files = 0
        self.floor = 0
        self.ts = 1
        self.reference = Reference()
        self.applied: list[Deletes] = []
        self.ranges: list[RangeDelete] = []
        self.held: list[tuple[list[Reader], list[tuple[object, int]]]] = []

    def teardown(self) -> None:
        for readers, expected in getattr(self, "held", []):
            assert self.queried(readers) == expected
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(keys=st.lists(KEYS, min_size=1, max_size=20), seed=SEEDS, step=STEPS, upsert=st.booleans())
    def append(self, keys: list[int], seed: int, step: int, upsert: bool) -> None:
        self.ts += step
        if upsert:
            keys = list(dict.fromkeys(keys))
            self.delete_keys(keys, ALL_PARTITIONS, 0)
        random = np.random.default_rng(seed)
        partitions = random.integers(1, 4, len(keys)).tolist()
        vectors = random.integers(-2, 3, (len(keys), 4)).astype(np.float32)
        self.growing.append(batch_of(self.schema, keys, partitions, vectors), self.ts)
        self.reference.append(keys, partitions, self.ts, vectors)

    @rule(keys=st.lists(KEYS, min_size=1, max_size=10), partition=SCOPES, step=STEPS, share=SHARE)
    def delete(self, keys: list[int], partition: int, step: int, share: float) -> None:
        self.ts += step
        as_of = int(share * (self.ts - 1)) if share < 0.5 else 0
        self.delete_keys(keys, partition, as_of)

    def delete_keys(self, keys: list[int], partition: int, as_of: int) -> None:
        deletes = Deletes.from_record(key_array(self.schema, keys), partition, self.ts, as_of)
        self.reference.deletes.append((frozenset(keys), partition, self.ts, as_of or self.ts - 1))
        self.applied.append(deletes)
        for segment in self.segments():
            segment.apply(deletes)

    @rule(partition=SCOPES, step=STEPS, share=SHARE)
    def delete_range(self, partition: int, step: int, share: float) -> None:
        self.ts += step
        delete = RangeDelete(partition_id=partition, ts=self.ts, as_of=int(share * (self.ts - 1)))
        self.reference.deletes.append((None, partition, delete.ts, delete.as_of))
        self.ranges.append(delete)
        for segment in self.segments():
            segment.apply_range(delete)

    @rule(share=SHARE, seed=SEEDS)
    def seal(self, share: float, seed: int) -> None:
        floor = self.floor + int(share * (self.ts - self.floor))
        reference = self.reference
        rows = [r for r, ts in enumerate(reference.ts) if self.floor < ts <= floor]
        if rows:
            batch = batch_of(
                self.schema,
                [reference.keys[r] for r in rows],
                [reference.partitions[r] for r in rows],
                np.array([reference.vectors[r] for r in rows]),
            )
            segment = self.write(table_of(batch, [reference.ts[r] for r in rows]))
            order = np.random.default_rng(seed).permutation(len(self.applied))
            if len(order):
                half = len(order) // 2
                segment.apply(Deletes.concat([self.applied[i] for i in order[half:]]))
                segment.apply(Deletes.concat([self.applied[i] for i in order]))
            for delete in self.ranges:
                segment.apply_range(delete)
            self.sealed.append(segment)
        self.growing.release_up_to(floor)
        self.floor = floor

    @precondition(lambda self: self.sealed)
    @rule()
    def compact(self) -> None:
        """All sealed segments become one, with the deletes so far in its column."""
        tables = []
        for segment in self.sealed:
            table = read_segment(Path(self.folder.name, segment.meta.name).joinpath, self.schema)
            if DELETE_TS in table.column_names:
                table = table.drop_columns([DELETE_TS])
            times = segment.delete_times().tolist()
            batch = table.combine_chunks().to_batches()[0]
            tables.append(table_of(batch.drop_columns(["ts"]), table.column("ts").to_pylist(), times))
        merged = tables[0] if len(tables) == 1 else _concatenated(tables)
        self.sealed = [self.write(merged)]

    def write(self, table: pa.Table) -> SealedSegment:
        self.files += 1
        return seal(table, self.schema, Path(self.folder.name, f"s{self.files}"))

    def segments(self) -> list[GrowingSegment | SealedSegment]:
        return [self.growing, *self.sealed]

    def readers(self, at_ts: int, partitions: frozenset[int] | None) -> list[Reader]:
        readers = [s.reader(at_ts, partitions) for s in self.sealed]
        return [*readers, self.growing.reader(at_ts, self.floor, partitions)]

    def queried(self, readers: list[Reader]) -> list[tuple[object, int]]:
        found = query(readers)
        return list(zip(found.keys.to_pylist(), found.ts.tolist(), strict=True))

    def named(self, keys: list[int]) -> list[object]:
        return list(key_array(self.schema, keys).to_pylist())

    @rule(share=SHARE, partitions=CHOICES, limit=st.integers(1, 40))
    def read(self, share: float, partitions: frozenset[int] | None, limit: int) -> None:
        at_ts = self.ts if share > 0.7 else int(share * self.ts)
        readers = self.readers(at_ts, partitions)
        rows = self.reference.visible(at_ts, partitions)
        expected = sorted((self.named([key])[0], ts) for key, ts in self.reference.query(rows))
        assert self.queried(readers) == expected
        assert count(readers) == len(rows)
        first = query(readers, None, limit)
        assert first.keys.to_pylist() == [key for key, _ in expected[:limit]]
        assert first.ts.tolist() == [ts for _, ts in expected[:limit]]
        fetched = fetch(readers, first.ordinals, first.rows, [NAME, KEY])
        assert fetched.column(1).to_pylist() == first.keys.to_pylist()
        names = dict(zip(self.named(self.reference.keys), self.reference.keys, strict=True))
        assert fetched.column(0).to_pylist() == [f"name {names[k]}" for k in first.keys.to_pylist()]
        self.held = [*self.held[-2:], (readers, expected)]

    @rule(
        share=SHARE,
        partitions=CHOICES,
        metric=st.sampled_from([Metric.L2, Metric.IP, Metric.COSINE]),
        seed=SEEDS,
        k=st.integers(1, 40),
    )
    def find(
        self, share: float, partitions: frozenset[int] | None, metric: Metric, seed: int, k: int
    ) -> None:
        at_ts = self.ts if share > 0.7 else int(share * self.ts)
        queries = np.random.default_rng(seed).integers(-2, 3, (3, 4)).astype(np.float32)
        readers = self.readers(at_ts, partitions)
        hits = search(readers, self.schema.by_id[VECTOR], queries, k, metric, {}, None)
        rows = self.reference.visible(at_ts, partitions)
        start = 0
        for which, found in enumerate(hits.counts):
            best = self.reference.search(rows, queries[which], metric)
            sign = -1 if metric.larger_is_nearer else 1
            named = [(sign * score, self.named([key])[0], score) for key, score in best.items()]
            expected = sorted(named)[:k]
            stop = start + int(found)
            assert hits.keys[start:stop].to_pylist() == [key for _, key, _ in expected]
            assert hits.scores[start:stop].tolist() == [score for _, _, score in expected]
            start = stop


def _concatenated(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).combine_chunks()


TestHistory = History.TestCase
TestHistory.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
