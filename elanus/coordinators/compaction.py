"""The compaction part of the data coordinator: which segments are rewritten, and the edits that follow."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from collections.abc import Sequence as Several
from concurrent.futures import ThreadPoolExecutor

import msgspec

from elanus.coordinators.compaction_policy import CompactionPolicy, dead_rows, packed, small_runs
from elanus.coordinators.index import needs_index
from elanus.coordinators.jobs import begin_job, forget_jobs
from elanus.coordinators.term import Term
from elanus.model.errors import CollectionNotFound, ConflictError, ElanusError, NotReady
from elanus.model.nouns import Channel, Collection, Manifest, Segment
from elanus.model.timestamps import from_ms
from elanus.roles.data import CompactionNode, CompactionPlan, CompactionResult, CompactionTask
from elanus.storage import keys
from elanus.storage.catalog import Catalog
from elanus.storage.manifests import Manifests, edit_id, leave_passed_deletes, replace_inputs
from elanus.storage.meta import MetaStore
from elanus.storage.sequence import Sequence

log = logging.getLogger(__name__)

NAME = "compaction"
"""Of its jobs."""
_SPARE_OUTPUTS = 2
_FEWEST_UNINDEXED = 2
"""Segments without an index are merged already where they are so many: it costs less than a second index."""
_MS = 1000


class _Job(msgspec.Struct, kw_only=True):
    """A rewrite that is under way or waits for its turn."""

    collection_id: int
    channel: Channel
    inputs: tuple[Segment, ...]
    target_bytes: int
    least_dead: float
    plan: CompactionPlan


class LocalCompactionCoordinator:
    """`roles.CompactionCoordinator` in this process. No segment is in two jobs at a time."""

    def __init__(
        self,
        term: Term,
        *,
        meta: MetaStore,
        catalog: Catalog,
        manifests: Manifests,
        ids: Sequence,
        node: CompactionNode,
        policy: CompactionPolicy,
        index_min_rows: int,
    ) -> None:
        self._term = term
        self._meta = meta
        self._catalog = catalog
        self._manifests = manifests
        self._ids = ids
        self._node = node
        self._policy = policy
        self._index_min_rows = index_min_rows
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._asked: OrderedDict[int, list[CompactionPlan]] = OrderedDict()
        self._seen: dict[int, int] = {}
        """Channel -> the manifest version that nothing was to be done about."""
        self._again: dict[int, float] = {}
        """Channel -> when its rows' ages make it worth another look."""
        self._kept: dict[str, tuple[float, float]] = {}
        """Segment -> dead rows at most, when it was last found not worthwhile, and when to look again."""
        self._unmerged: set[str] = set()
        """Segments whose merge came to nothing: they get their indexes as they are."""
        self.on_end: Callable[[int], None] = lambda collection_id: None
        """Called after every rewrite, with the collection's id."""
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(policy.jobs, thread_name_prefix="compact")
        self._thread = threading.Thread(target=self._look_now_and_then, name="compaction", daemon=True)

    def start(self) -> None:
        forget_jobs(self._meta, self._term, NAME)
        if self._policy.automatic:
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # what proxies ask

    def compact(self, collection_id: int, target_bytes: int | None) -> int:
        collection = self._catalog.collection(collection_id)
        if collection is None or collection.dropping:
            raise CollectionNotFound(f"collection {collection_id} does not exist")
        compaction_id = self._ids.take()
        with self._lock:
            self._asked[compaction_id] = []
            while len(self._asked) > self._policy.remembered:
                self._asked.popitem(last=False)
        for channel in collection.channels:
            manifest = self._manifests.read(channel)
            free = self._free(manifest)
            size = target_bytes or self._policy.target_bytes
            for group in packed(free, size):
                self._ask(collection, channel, manifest, group, size, compaction_id)
        return compaction_id

    def _ask(
        self,
        collection: Collection,
        channel: Channel,
        manifest: Manifest,
        group: list[Segment],
        target_bytes: int,
        compaction_id: int,
    ) -> None:
        expired_below = self._expired_below(collection)
        if len(group) > 1 or dead_rows(group[0], manifest, expired_below):
            self._submit(collection, channel, group, target_bytes, 0.0, compaction_id)
            return
        # A segment that is alone and whole is what a rewrite would make of it.
        number = int(group[0].name)
        plan = CompactionPlan(
            id=self._ids.take(),
            compaction_id=compaction_id,
            collection_id=collection.id,
            channel_id=channel.id,
            sources=(number,),
            targets=(number,),
            done=True,
        )
        self._record(plan)

    def plans(self, compaction_id: int) -> list[CompactionPlan]:
        with self._lock:
            return list(self._asked.get(compaction_id, ()))

    def plans_of(self, collection_id: int) -> list[CompactionPlan]:
        with self._lock:
            return [p for plans in self._asked.values() for p in plans if p.collection_id == collection_id]

    # what the index coordinator asks

    def merge_unindexed(
        self, collection: Collection, channel: Channel, segments: Several[Segment]
    ) -> frozenset[str]:
        """Starts merges of segments that have no index yet: one index of them all costs less to build and to
        search. The names of those that are being rewritten, now or as of before."""
        names = frozenset(s.name for s in segments)
        if self._policy.automatic:
            with self._lock:
                taken = self._busy | self._unmerged
            policy = msgspec.structs.replace(self._policy, merge_segments=_FEWEST_UNINDEXED)
            for run in small_runs([s for s in segments if s.name not in taken], policy):
                self._submit(collection, channel, run, policy.target_bytes, 0.0)
        with self._lock:
            return names & self._busy

    # what is done unasked

    def _look_now_and_then(self) -> None:
        while not self._stop.wait(self._policy.check_seconds):
            try:
                self.look()
            except ElanusError as error:
                log.warning("segments are not looked at: %s", error)

    def look(self) -> None:
        """Starts every rewrite that is worth it now."""
        for collection in self._catalog.collections():
            if not collection.dropping and collection.compacts_itself:
                for channel in collection.channels:
                    self._look_at(collection, channel)

    def _look_at(self, collection: Collection, channel: Channel) -> None:
        version = self._manifests.pointer(channel).version
        due = self._again.get(channel.id, float("inf")) <= time.monotonic()
        if self._seen.get(channel.id) == version and not due:
            return
        manifest = self._manifests.read(channel)
        self._again.pop(channel.id, None)
        free = [s for s in self._free(manifest) if self._ready(collection.id, s)]
        started = False
        for run in small_runs(free, self._policy):
            started |= self._submit(collection, channel, run, self._policy.target_bytes, 0.0)
        expired_below = self._expired_below(collection)
        for segment in free:
            if self._worth_a_look(segment, manifest, expired_below):
                share = self._policy.dead_share
                started |= self._submit(collection, channel, [segment], self._policy.target_bytes, share)
        if expired_below or manifest.delete_files or any(s.deleted for s in free):
            self._again[channel.id] = time.monotonic() + self._policy.retention_seconds
        waiting = len(free) < len(manifest.segments)
        if not started and not waiting:
            self._seen[channel.id] = version

    def _free(self, manifest: Manifest) -> list[Segment]:
        """Segments in no job, and no outputs that wait for their index: those still need their inputs."""
        with self._lock:
            return [s for s in manifest.segments if not s.replaces and s.name not in self._busy]

    def _worth_a_look(self, segment: Segment, manifest: Manifest, expired_below: int) -> bool:
        dead = dead_rows(segment, manifest, expired_below)
        share = self._policy.dead_share * segment.rows
        if dead < share or segment.name in self._busy:
            return False
        seen, again = self._kept.get(segment.name, (0.0, 0.0))
        return dead - seen >= share or (bool(again) and again <= time.monotonic())

    def _expired_below(self, collection: Collection) -> int:
        """Rows below it have been invisible for longer than any read may last."""
        return collection.expired_below(int((time.time() - self._policy.retention_seconds) * _MS))

    def _ready(self, collection_id: int, segment: Segment) -> bool:
        """Whether it has every index that it needs."""
        definitions = self._catalog.indexes(collection_id)
        return not any(needs_index(d, segment, self._index_min_rows) for d in definitions)

    # jobs

    def _submit(
        self,
        collection: Collection,
        channel: Channel,
        inputs: list[Segment],
        target_bytes: int,
        least_dead: float,
        compaction_id: int = 0,
    ) -> bool:
        plan = CompactionPlan(
            id=self._ids.take(),
            compaction_id=compaction_id,
            collection_id=collection.id,
            channel_id=channel.id,
            sources=tuple(int(s.name) for s in inputs),
        )
        job = _Job(
            collection_id=collection.id,
            channel=channel,
            inputs=tuple(inputs),
            target_bytes=target_bytes,
            least_dead=least_dead,
            plan=plan,
        )
        names = {s.name for s in inputs}
        with self._lock:
            if self._stop.is_set() or names & self._busy:
                return False
            self._busy |= names
        self._record(plan)
        self._pool.submit(self._work, job)
        return True

    def _record(self, plan: CompactionPlan) -> None:
        with self._lock:
            plans = self._asked.get(plan.compaction_id)
            if plans is not None:
                plans[:] = [*(p for p in plans if p.id != plan.id), plan]

    def _work(self, job: _Job) -> None:
        failure = ""
        targets: tuple[int, ...] = ()
        try:
            for attempt in range(1, self._policy.attempts + 1):
                try:
                    targets = self._run(job)
                    failure = ""
                    return
                except (ConflictError, NotReady) as error:
                    log.info("compaction %d is not needed any more: %s", job.plan.id, error)
                    failure = error.message
                    return
                except Exception as error:  # a job must not take its thread along: the failure is shown
                    log.exception("compaction %d failed, attempt %d", job.plan.id, attempt)
                    failure = f"{type(error).__name__}: {error}"
                    if self._stop.wait(self._policy.retry_seconds):
                        return
        finally:
            names = {s.name for s in job.inputs}
            with self._lock:
                self._busy -= names
                self._unmerged = self._unmerged - names if targets else self._unmerged | names
            done = msgspec.structs.replace(job.plan, targets=targets, done=True, failure=failure)
            self._record(done)
            self.on_end(job.collection_id)

    def _run(self, job: _Job) -> tuple[int, ...]:
        """One attempt, under a job of its own. The ids of the segments that are there now."""
        collection = self._catalog.collection(job.collection_id)
        if collection is None or collection.dropping:
            raise ConflictError(f"collection {job.collection_id} was dropped")
        job_id = self._ids.take()
        key, revision = begin_job(self._term, NAME, job_id, job.collection_id)
        now_ms = int(time.time() * _MS)
        try:
            manifest = self._manifests.read(job.channel)
            inputs = _present(manifest, job.inputs)
            if any(s.schema_version > collection.schema.version for s in inputs):
                raise NotReady(f"collection {job.collection_id} has a newer schema; it is on its way")
            size = sum(s.bytes for s in inputs)
            count = size // job.target_bytes + _SPARE_OUTPUTS
            first = self._ids.take(count)
            task = CompactionTask(
                job_id=job_id,
                collection_id=job.collection_id,
                channel=job.channel,
                schema=collection.schema,
                inputs=inputs,
                delete_files=manifest.delete_files,
                range_deletes=manifest.range_deletes,
                applied_to=manifest.floor_ts,
                purge_to=min(from_ms(now_ms - int(self._policy.retention_seconds * _MS)), manifest.floor_ts),
                expired_below=self._expired_below(collection),
                target_bytes=job.target_bytes,
                names=tuple(range(first, first + count)),
                least_dead=job.least_dead,
            )
            result = self._node.compact(task)
            if not result.worthwhile:
                self._keep(job.inputs, manifest, result, task.expired_below)
                return tuple(int(s.name) for s in inputs)
            self._commit(task, revision, result)
            return tuple(int(s.name) for s in result.segments)
        finally:
            self._term.txn([], {}, [key])

    def _keep(
        self, inputs: tuple[Segment, ...], manifest: Manifest, result: CompactionResult, expired_below: int
    ) -> None:
        """Too few rows would go. Those that are deleted may in a while; else it takes more deletes."""
        later = result.deleted >= self._policy.dead_share
        again = time.monotonic() + self._policy.retention_seconds if later else 0.0
        for segment in inputs:
            self._kept[segment.name] = (dead_rows(segment, manifest, expired_below), again)

    def _commit(self, task: CompactionTask, revision: int, result: CompactionResult) -> None:
        names = {s.name for s in task.inputs}
        key = keys.job(task.job_id)

        def change(manifest: Manifest) -> Manifest:
            # As the manifest has them now: an index may have come meanwhile.
            inputs = _present(manifest, task.inputs)
            outputs = tuple(msgspec.structs.replace(s, replaces=inputs) for s in result.segments)
            purged_to = manifest.purged_to
            if not outputs:
                purged_to = max(purged_to, result.purged_to, *(s.purged_to for s in inputs))
            kept = tuple(s for s in manifest.segments if s.name not in names)
            changed = msgspec.structs.replace(manifest, segments=kept + outputs, purged_to=purged_to)
            changed = replace_inputs(changed, lambda s: self._ready(task.collection_id, s))
            return leave_passed_deletes(changed)

        self._manifests.edit(task.channel, edit_id(key, NAME), {key: revision}, change)
        for name in names:
            self._kept.pop(name, None)
        log.info(
            "channel %d: segments %s became %s, %d of %d rows are left",
            task.channel.id,
            sorted(names),
            [s.name for s in result.segments],
            sum(s.rows for s in result.segments),
            sum(s.rows for s in task.inputs),
        )


def _present(manifest: Manifest, inputs: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """Precondition of a compaction's edit: all inputs are there (rule 8)."""
    there = {s.name: s for s in manifest.segments if not s.replaces}
    missing = [s.name for s in inputs if s.name not in there]
    if missing:
        raise ConflictError(f"segments {', '.join(missing)} are not in the manifest any more")
    return tuple(there[s.name] for s in inputs)
