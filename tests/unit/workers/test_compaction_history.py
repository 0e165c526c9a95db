"""After any sequence of writes, seals, compactions and index gates the same rows are seen at every time."""

import tempfile
from pathlib import Path

import msgspec
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from elanus.engine.deletes import Deletes, read_delete_file, write_delete_file
from elanus.engine.sealed import SealedSegment
from elanus.engine.search import query
from elanus.engine.segment_file import write_segment
from elanus.model.columns import ALL_PARTITIONS
from elanus.model.nouns import Channel, DeleteFile, Manifest, RangeDelete, Segment
from elanus.roles.data import CompactionTask
from elanus.storage.manifests import leave_passed_deletes, replace_inputs, served_segments
from elanus.storage.objects.local import LocalObjectStore
from elanus.workers.compactor import CompactionLimits, LocalCompactionNode
from tests.unit.engine.samples import Reference, batch_of, key_array, schema_of, table_of

KEYS = st.integers(0, 20)
PARTITIONS = st.integers(1, 3)
SCOPES = st.one_of(st.just(ALL_PARTITIONS), PARTITIONS)
SEEDS = st.integers(0, 2**32 - 1)
SHARE = st.floats(0, 1)
CHANNEL = Channel(id=1, log="log", start_offset=0, start_ts=0)


class Compactions(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        directory = Path(self.folder.name)
        self.schema = schema_of()
        self.objects = LocalObjectStore(directory / "objects")
        self.scratch = directory / "scratch"
        self.scratch.mkdir()
        self.node = LocalCompactionNode(
            objects=self.objects, scratch=self.scratch, limits=CompactionLimits(batch_bytes=64)
        )
        self.manifest = Manifest(channel_id=1, version=0, floor_offset=0, floor_ts=0)
        self.reference = Reference()
        self.sealed_rows = 0
        self.deletes: list[Deletes] = []
        self.ranges: list[RangeDelete] = []
        self.ts = 1
        self.numbers = 0
        self.expired_below = 0

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    @rule(keys=st.lists(KEYS, min_size=1, max_size=12, unique=True), seed=SEEDS, upsert=st.booleans())
    def append(self, keys: list[int], seed: int, upsert: bool) -> None:
        self.ts += 1
        if upsert:
            self.hide(keys, ALL_PARTITIONS, 0)
        random = np.random.default_rng(seed)
        partitions = random.integers(1, 4, len(keys)).tolist()
        self.reference.append(keys, partitions, self.ts, random.random((len(keys), 4)).astype(np.float32))

    @rule(keys=st.lists(KEYS, min_size=1, max_size=8), partition=SCOPES, share=SHARE)
    def delete(self, keys: list[int], partition: int, share: float) -> None:
        self.ts += 1
        self.hide(keys, partition, int(share * (self.ts - 1)) if share < 0.5 else 0)

    def hide(self, keys: list[int], partition: int, as_of: int) -> None:
        self.deletes.append(Deletes.from_record(key_array(self.schema, keys), partition, self.ts, as_of))
        self.reference.deletes.append((frozenset(keys), partition, self.ts, as_of or self.ts - 1))

    @rule(partition=SCOPES, share=SHARE)
    def delete_range(self, partition: int, share: float) -> None:
        self.ts += 1
        hidden = RangeDelete(partition_id=partition, ts=self.ts, as_of=int(share * (self.ts - 1)))
        self.ranges.append(hidden)
        self.reference.deletes.append((None, partition, hidden.ts, hidden.as_of))

    @rule()
    def flush(self) -> None:
        """Everything since the last floor becomes a segment and a delete file."""
        reference, name = self.reference, f"{self.number()}"
        rows = range(self.sealed_rows, len(reference.keys))
        segments: tuple[Segment, ...] = ()
        if rows:
            batch = batch_of(
                self.schema,
                [reference.keys[r] for r in rows],
                [reference.partitions[r] for r in rows],
                np.array([reference.vectors[r] for r in rows]),
            )
            segments = (self.written(name, table_of(batch, [reference.ts[r] for r in rows])),)
        files: tuple[DeleteFile, ...] = ()
        if self.deletes:
            table = Deletes.concat(self.deletes)
            local = self.scratch / name
            write_delete_file(table.table, local)
            self.objects.put(f"deletes/{name}", local)
            files = (
                DeleteFile(
                    name=name,
                    path=f"deletes/{name}",
                    rows=len(table),
                    min_ts=table.min_ts,
                    max_ts=table.max_ts,
                ),
            )
        manifest = self.manifest
        self.manifest = leave_passed_deletes(
            msgspec.structs.replace(
                manifest,
                floor_ts=self.ts,
                segments=manifest.segments + segments,
                delete_files=manifest.delete_files + files,
                range_deletes=manifest.range_deletes + tuple(self.ranges),
            )
        )
        self.sealed_rows = len(reference.keys)
        self.deletes, self.ranges = [], []

    def written(self, name: str, table: object) -> Segment:
        directory = self.scratch / f"flush-{name}"
        directory.mkdir()
        summary = write_segment(table, self.schema, directory)
        for file in summary.files:
            self.objects.put(f"segments/{name}/{file}", directory / file)
        return Segment(
            name=name,
            prefix=f"segments/{name}",
            rows=summary.rows,
            bytes=summary.bytes,
            min_ts=summary.min_ts,
            max_ts=summary.max_ts,
            partitions=summary.partitions,
            schema_version=1,
        )

    @precondition(lambda self: any(not s.replaces for s in self.manifest.segments))
    @rule(seed=SEEDS, retention=SHARE, expiry=SHARE, parts=st.integers(1, 3), waits=st.booleans())
    def compact_some(self, seed: int, retention: float, expiry: float, parts: int, waits: bool) -> None:
        free = sum(not s.replaces for s in self.manifest.segments)
        chosen = np.random.default_rng(seed).integers(1, free + 1)
        self.compact(seed, int(chosen), retention, expiry, parts, waits)

    @precondition(lambda self: any(not s.replaces for s in self.manifest.segments))
    @rule(seed=SEEDS, retention=SHARE, keys=st.lists(KEYS, min_size=1, max_size=8), waits=st.booleans())
    def compact_all_and_delete(self, seed: int, retention: float, keys: list[int], waits: bool) -> None:
        """What is deleted next is in no segment's column."""
        self.flush()
        self.compact(seed, len(self.manifest.segments), retention, 0.0, 1, waits)
        self.delete(keys, ALL_PARTITIONS, 1.0)
        self.flush()

    def compact(
        self, seed: int, count: int, retention: float, expiry: float, parts: int, waits: bool
    ) -> None:
        manifest = self.manifest
        free = [s for s in manifest.segments if not s.replaces]
        random = np.random.default_rng(seed)
        chosen = random.permutation(len(free))[:count]
        inputs = tuple(free[i] for i in chosen)
        if expiry > 0.8:
            self.expired_below = max(self.expired_below, int(retention * self.ts / 2))
        number = self.number()
        result = self.node.compact(
            CompactionTask(
                job_id=number,
                collection_id=1,
                channel=CHANNEL,
                schema=self.schema,
                inputs=inputs,
                delete_files=manifest.delete_files,
                range_deletes=manifest.range_deletes,
                applied_to=manifest.floor_ts,
                purge_to=min(int(retention * self.ts), manifest.floor_ts),
                expired_below=self.expired_below,
                target_bytes=max(1, sum(s.bytes for s in inputs) // parts),
                names=tuple(self.number() for _ in range(4)),
            )
        )
        names = {s.name for s in inputs}
        purged_to = manifest.purged_to
        if not result.segments:
            purged_to = max(purged_to, result.purged_to, *(s.purged_to for s in inputs))
        changed = msgspec.structs.replace(
            manifest,
            segments=(
                *(s for s in manifest.segments if s.name not in names),
                *(msgspec.structs.replace(s, replaces=inputs) for s in result.segments),
            ),
            purged_to=purged_to,
        )
        self.manifest = leave_passed_deletes(replace_inputs(changed, lambda _: not waits))

    @rule(seed=SEEDS)
    def index(self, seed: int) -> None:
        """Some outputs get their indexes."""
        ready = {s.name for s in self.manifest.segments if (int(s.name) ^ seed) % 2}
        self.manifest = replace_inputs(self.manifest, lambda s: s.name in ready)

    @invariant()
    def nothing_needed_has_left(self) -> None:
        if hasattr(self, "manifest"):
            self.compare(self.manifest.floor_ts)

    @rule(share=SHARE)
    def read_earlier(self, share: float) -> None:
        self.compare(int(share * self.manifest.floor_ts))

    def compare(self, at_ts: int) -> None:
        served = served_segments(self.manifest)
        if at_ts < max([self.manifest.purged_to, *(s.purged_to for s in served)]):
            return
        readers = []
        for meta in served:
            segment = SealedSegment.open(
                meta, self.schema, Path(self.folder.name, "objects", meta.prefix).joinpath
            )
            for file in self.manifest.delete_files:
                if file.max_ts > meta.min_ts:
                    segment.apply(read_delete_file(Path(self.folder.name, "objects", file.path)))
            for hidden in self.manifest.range_deletes:
                segment.apply_range(hidden)
            readers.append(segment.reader(at_ts, None, self.expired_below))
        found = query(readers)
        rows = [
            r
            for r in self.reference.visible(at_ts, None)
            if self.expired_below <= self.reference.ts[r] <= self.manifest.floor_ts
        ]
        assert list(zip(found.keys.to_pylist(), found.ts.tolist(), strict=True)) == self.reference.query(rows)
        assert sum(self.count(r) for r in readers) == len(rows)

    def count(self, reader: object) -> int:
        from elanus.engine.search import count

        return count([reader])  # type: ignore[list-item]


TestCompactions = Compactions.TestCase
TestCompactions.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
