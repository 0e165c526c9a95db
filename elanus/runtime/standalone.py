"""All roles in one process on embedded storage: what Lite opens and `elanus serve` serves."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import grpc

from elanus import __version__
from elanus.access.gate import WriteGate
from elanus.access.proxy import Proxy, ProxyLimits
from elanus.access.reads import Reader, ReadLimits
from elanus.access.service import handlers
from elanus.access.service.dispatch import Observe
from elanus.access.service.executors import Executors
from elanus.access.snapshots import Snapshots
from elanus.access.writes import WriteLimits, Writer
from elanus.coordinators.catalog_writer import CatalogWriter
from elanus.coordinators.compaction import LocalCompactionCoordinator
from elanus.coordinators.compaction_policy import CompactionPolicy
from elanus.coordinators.data import DataLimits, LocalDataCoordinator
from elanus.coordinators.garbage import GarbageCollector, GarbagePolicy
from elanus.coordinators.identity import IdentityLimits, LocalIdentityCoordinator
from elanus.coordinators.index import IndexPolicy, LocalIndexCoordinator
from elanus.coordinators.query import LocalQueryCoordinator, ViewPolicy
from elanus.coordinators.root import LocalRootCoordinator, RootLimits
from elanus.coordinators.term import Term
from elanus.model.timestamps import Position, from_ms
from elanus.runtime.background import BackgroundLimits, BackgroundNode
from elanus.runtime.config import Config
from elanus.runtime.config_section import MiB
from elanus.runtime.hardware import hardware
from elanus.runtime.signals import EndSignals
from elanus.storage.catalog import Catalog
from elanus.storage.directory import DataDirectory
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.manifests import Manifests
from elanus.storage.meta.sqlite import SqliteMetaStore
from elanus.storage.objects.cache import FileCache
from elanus.storage.objects.local import LocalObjectStore
from elanus.storage.sequence import Sequence
from elanus.workers.background import Settings
from elanus.workers.batching import BatchLimits
from elanus.workers.column_cache import ColumnCache, ColumnLimits
from elanus.workers.compactor import CompactionLimits, LocalCompactionNode
from elanus.workers.data_node import LocalDataNode, SealPolicy
from elanus.workers.index_node import IndexLimits, LocalIndexNode
from elanus.workers.query_node import LocalQueryNode, QueryLimits
from elanus.workers.tail import Tails

log = logging.getLogger(__name__)

NODE_ID = 1
"""Of every role here: there is one of each."""
_THREADS_BESIDE_SEARCHES = 1
"""Of a small index that is built in the server; only the background process gives way to searches."""
SCRATCH = "scratch"
CACHE = "cache"
EXIT_SECONDS = 1.0
"""What the operating system gets of the grace time, to end the process."""


class Instance:
    """An open data directory with all roles running. Close it with `stop`."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._closing = ExitStack()
        self._stopped = False

    @classmethod
    def open(cls, directory: Path, **settings: bool | int | float | str) -> "Instance":
        """`settings`: configuration keys with `__` for the dots, as in `elanus__log__fileBytes=1 << 20`.

        Raises DirectoryInUseError, NewerFormatError, CorruptError, InvalidParameter.
        """
        from elanus.runtime.config_sources import Flag, load

        flags = [Flag("path", "localStorage.path", directory)]
        flags += [Flag(name, name.replace("__", "."), value) for name, value in settings.items()]
        instance = cls(load(flags=flags).config)
        instance.start()
        return instance

    def start(self) -> None:
        with ExitStack() as opened:
            self._closing = opened
            self._start(opened)
            self._closing = opened.pop_all()

    def stop(self) -> None:
        """Ends what runs and closes the directory. Nothing acknowledged is lost: it is in the log."""
        if not self._stopped:
            self._stopped = True
            self._closing.close()

    @property
    def handlers(self) -> Mapping[str, grpc.RpcMethodHandler]:
        """For a caller that brings its own threads."""
        return handlers(self.proxy, self.config.protocol_limits)

    def serving_handlers(self, executors: Executors, observe: Observe) -> Mapping[str, grpc.RpcMethodHandler]:
        """For a server: each call runs on the executor of its lane."""
        return handlers(self.proxy, self.config.protocol_limits, executors=executors, observe=observe)

    def _start(self, opened: ExitStack) -> None:
        own = self.config.elanus
        directory = DataDirectory.open(self.config.local_storage.path)
        opened.callback(directory.close)
        self.meta = SqliteMetaStore(directory.meta, own.meta.limits)
        opened.callback(self.meta.close)
        self.broker = LocalLogBroker(directory.logs, own.log.limits)
        opened.callback(self.broker.close)
        for number in range(self.config.root_coord.dml_channel_num):
            self.broker.create(f"dml_{number}")
        self._object_directory = directory.objects
        self.objects = LocalObjectStore(directory.objects)
        opened.callback(self.objects.close)
        self.catalog = Catalog(self.meta)
        opened.callback(self.catalog.close)
        self.manifests = Manifests(self.meta, self.objects, attempts=own.meta.edit_attempts)
        self.tails = Tails(
            self.broker, batch=own.log.poll_records, catch_up_timeout_seconds=own.log.catch_up_seconds
        )
        self._start_roles(opened, _empty(directory.path / SCRATCH))

    def _start_roles(self, opened: ExitStack, scratch: Path) -> None:
        stop = threading.Event()
        self._data_node = self._make_data_node(scratch)
        self._background = self._make_background(scratch)
        self.query_node = LocalQueryNode(
            NODE_ID,
            objects=self.objects,
            catalog=self.catalog,
            tails=self.tails,
            columns=self._make_columns(scratch.parent / CACHE),
            limits=self._query_limits,
        )
        opened.callback(self.query_node.stop)
        data_term = self._term("datacoord", stop, opened)
        data = self._make_data(data_term)
        data.check_logs()
        data.start()
        for tail in self.tails:
            tail.start(self._tail_start(tail.name))
        opened.callback(self.tails.stop)
        self._data_node.start()
        opened.callback(self._data_node.stop)
        data.start_trimming()
        opened.callback(data.stop)
        self.compaction = self._make_compaction(data_term)
        index = self._make_index(self._term("indexcoord", stop, opened))
        self.compaction.on_end = index.look
        self.compaction.start()
        opened.callback(self.compaction.stop)
        index.start()
        opened.callback(index.stop)
        # Ended first: those who wait for its answers end with it.
        opened.callback(self._background.stop)
        self.garbage = self._make_garbage(data_term)
        self.garbage.start()
        opened.callback(self.garbage.stop)
        query = self._make_query(self._term("querycoord", stop, opened))
        query.start()
        opened.callback(query.stop)
        writer = self._make_catalog_writer(self._term("rootcoord", stop, opened))
        root = self._make_root(writer, data, index, query)
        root.start()
        identity = self._make_identity(writer)
        identity.start()
        self.proxy = self._make_proxy(root, data, index, query, identity)

    def _tail_start(self, name: str) -> Position:
        """The lowest start of the log's channels; where it has none, its mark."""
        starts = list(self._data_node.starts(name))
        return min(starts) if starts else self.manifests.mark(name)

    def _term(self, role: str, stop: threading.Event, opened: ExitStack) -> Term:
        term = Term.begin(
            self.meta, role, NODE_ID, ttl_seconds=self.config.elanus.meta.lease_seconds, stop=stop
        )
        opened.callback(term.end)
        return term

    @cached_property
    def _ids(self) -> Sequence:
        own = self.config.elanus.meta
        return Sequence(self.meta, "id", step=own.id_step, attempts=own.sequence_attempts)

    @cached_property
    def _row_ids(self) -> Sequence:
        """They start at the time, as in Milvus: rows of a restored backup keep out of a new range's way."""
        own = self.config.elanus.meta
        first = from_ms(int(time.time() * 1000))
        return Sequence(self.meta, "row", step=own.row_id_step, first=first, attempts=own.sequence_attempts)

    @property
    def _query_limits(self) -> QueryLimits:
        serve = self.config.elanus.serve
        return QueryLimits(
            load_threads=serve.load_threads,
            plan_cache=serve.plan_cache,
            filter_bytes=serve.filter_bytes,
            delete_batch_keys=serve.delete_batch_keys,
            batches=BatchLimits(queries=serve.batch_queries, at_once=serve.batch_running),
            wait_seconds=serve.wait_seconds,
        )

    def _make_data_node(self, scratch: Path) -> LocalDataNode:
        flush, segment = self.config.elanus.flush, self.config.data_node.segment
        return LocalDataNode(
            NODE_ID,
            meta=self.meta,
            objects=self.objects,
            catalog=self.catalog,
            manifests=self.manifests,
            tails=self.tails,
            segment_ids=self._ids,
            scratch=scratch,
            policy=SealPolicy(
                segment_bytes=segment.insert_buf_size,
                buffer_bytes=flush.buffer_bytes,
                age_seconds=segment.sync_period,
                check_seconds=flush.check_seconds,
                retry_seconds=flush.retry_seconds,
                threads=flush.threads,
            ),
        )

    def _make_data(self, term: Term) -> LocalDataCoordinator:
        flush = self.config.elanus.flush
        return LocalDataCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            broker=self.broker,
            manifests=self.manifests,
            node_id=NODE_ID,
            node=self._data_node,
            limits=DataLimits(
                seal_seconds=flush.seal_seconds,
                trim_seconds=flush.trim_seconds,
                read_attempts=flush.read_attempts,
            ),
        )

    def _make_index(self, term: Term) -> LocalIndexCoordinator:
        build = self.config.elanus.build
        return LocalIndexCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            manifests=self.manifests,
            ids=self._ids,
            node=self._background,
            policy=IndexPolicy(
                min_rows=self.config.index_coord.segment.min_segment_num_rows_to_enable_index,
                builds=build.builds,
                attempts=build.attempts,
                retry_seconds=build.retry_seconds,
            ),
            merge=self.compaction.merge_unindexed,
        )

    def _make_columns(self, directory: Path) -> ColumnCache:
        cache = self.config.elanus.cache
        limits = ColumnLimits(small_bytes=cache.small_bytes, memory_bytes=cache.memory_bytes)
        return ColumnCache(FileCache(directory, cache.bytes), limits)

    def _make_background(self, scratch: Path) -> BackgroundNode:
        own = self.config.elanus
        return BackgroundNode(
            indexes=LocalIndexNode(
                objects=self.objects, scratch=scratch, limits=IndexLimits(threads=_THREADS_BESIDE_SEARCHES)
            ),
            compactions=LocalCompactionNode(
                objects=self.objects,
                scratch=scratch,
                limits=CompactionLimits(batch_bytes=own.compaction.batch_bytes),
            ),
            settings=Settings(
                objects=self._object_directory,
                scratch=scratch,
                build_threads=own.build.threads or os.cpu_count() or 1,
                batch_bytes=own.compaction.batch_bytes,
                idle_seconds=own.background.idle_seconds,
            ),
            limits=BackgroundLimits(
                build_elements=own.background.build_elements,
                compaction_bytes=own.background.compaction_bytes,
                stop_seconds=own.background.stop_seconds,
            ),
        )

    def _make_compaction(self, term: Term) -> LocalCompactionCoordinator:
        own, coordinator = self.config.elanus.compaction, self.config.data_coord
        return LocalCompactionCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            manifests=self.manifests,
            ids=self._ids,
            node=self._background,
            policy=CompactionPolicy(
                automatic=coordinator.compaction.enable_auto_compaction,
                target_bytes=coordinator.segment.max_size * MiB,
                small_share=coordinator.segment.small_proportion,
                merge_segments=own.merge_segments,
                growth=own.growth,
                dead_share=coordinator.compaction.single.ratio.threshold,
                retention_seconds=own.retention_seconds,
                check_seconds=coordinator.compaction.mix.trigger_interval,
                jobs=own.jobs,
                attempts=own.attempts,
                retry_seconds=own.retry_seconds,
                remembered=own.remembered,
            ),
            index_min_rows=self.config.index_coord.segment.min_segment_num_rows_to_enable_index,
        )

    def _make_garbage(self, term: Term) -> GarbageCollector:
        garbage = self.config.data_coord.gc
        return GarbageCollector(
            term,
            meta=self.meta,
            objects=self.objects,
            policy=GarbagePolicy(
                interval_seconds=garbage.interval,
                grace_seconds=garbage.drop_tolerance,
                job_seconds=self.config.elanus.garbage.job_seconds,
            ),
        )

    def _make_query(self, term: Term) -> LocalQueryCoordinator:
        serve = self.config.elanus.serve
        return LocalQueryCoordinator(
            term,
            meta=self.meta,
            objects=self.objects,
            catalog=self.catalog,
            manifests=self.manifests,
            nodes={NODE_ID: self.query_node},
            policy=ViewPolicy(
                grace_seconds=serve.view_grace_seconds,
                retry_seconds=serve.retry_seconds,
                refresh_offsets=serve.refresh_offsets,
                batch=serve.prepare_batch,
            ),
        )

    def _make_catalog_writer(self, term: Term) -> CatalogWriter:
        return CatalogWriter(
            term,
            self.catalog,
            lambda: [self.proxy] if "proxy" in vars(self) else [],
            self.config.elanus.catalogue.confirm_seconds,
        )

    def _make_identity(self, writer: CatalogWriter) -> LocalIdentityCoordinator:
        limits = self.config.protocol_limits
        return LocalIdentityCoordinator(
            writer,
            self.config.common.security.default_root_password,
            IdentityLimits(max_users=limits.users, max_roles=limits.roles),
        )

    def _make_root(
        self,
        writer: CatalogWriter,
        data: LocalDataCoordinator,
        index: LocalIndexCoordinator,
        query: LocalQueryCoordinator,
    ) -> LocalRootCoordinator:
        limits = self.config.protocol_limits
        return LocalRootCoordinator(
            writer,
            meta=self.meta,
            broker=self.broker,
            ids=self._ids,
            data=data,
            index=index,
            query=query,
            limits=RootLimits(
                max_databases=limits.databases,
                max_collections=limits.collections,
                max_database_collections=limits.collections_per_database,
                max_partitions=limits.partitions,
            ),
        )

    def _make_proxy(
        self,
        root: LocalRootCoordinator,
        data: LocalDataCoordinator,
        index: LocalIndexCoordinator,
        query: LocalQueryCoordinator,
        identity: LocalIdentityCoordinator,
    ) -> Proxy:
        own = self.config.elanus
        gate = WriteGate()
        reader = Reader(
            snapshots=Snapshots(self.catalog, own.serve.snapshots),
            broker=self.broker,
            nodes={NODE_ID: self.query_node},
            limits=ReadLimits(
                graceful_ms=self.config.common.graceful_time,
                view_seconds=own.serve.view_seconds,
                view_retry_seconds=own.serve.view_retry_seconds,
            ),
        )
        writer = Writer(
            catalog=self.catalog,
            broker=self.broker,
            row_ids=self._row_ids,
            gate=gate,
            reader=reader,
            limits=WriteLimits(record_bytes=own.log.max_record_bytes),
        )
        return Proxy(
            catalog=self.catalog,
            root=root,
            data=data,
            index=index,
            query=query,
            identity=identity,
            compaction=self.compaction,
            reader=reader,
            writer=writer,
            gate=gate,
            health=self.unhealthy,
            hardware=lambda: hardware(self.config.local_storage.path),
            limits=ProxyLimits(
                flush_seconds=own.flush.answer_seconds,
                index_seconds=own.build.answer_seconds,
                load_seconds=own.serve.answer_seconds,
            ),
        )

    def unhealthy(self) -> list[str]:
        """Why the instance does not work; [] when it does."""
        if self._stopped:
            return ["the server is stopping"]
        return [f"log {t.name} is not followed: {t.failure}" for t in self.tails if t.failure is not None]


def _empty(path: Path) -> Path:
    """The folder for files that are being made; what a crash left in it goes."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def serve(config: Config) -> None:
    """Serves in the foreground until SIGTERM or Ctrl-C."""
    from elanus.access.health import health_handlers
    from elanus.access.server import GrpcServer
    from elanus.runtime.management import ComponentHealth, ManagementServer, State
    from elanus.runtime.metrics import Metrics

    started = time.monotonic()
    end = EndSignals()
    grace = config.elanus.shutdown.grace_seconds
    with ExitStack() as opened:
        instance = Instance(config)
        instance.start()
        opened.callback(instance.stop)
        metrics = Metrics(NODE_ID)
        threads = config.elanus.executors
        executors = Executors(control=threads.control, read=threads.read, write=threads.write)
        opened.callback(executors.close, wait=False)
        server = GrpcServer(
            {
                **instance.serving_handlers(executors, metrics.observe),
                **health_handlers(instance.unhealthy, executors),
            },
            executors,
            host=config.proxy.ip,
            port=config.proxy.port,
            limits=config.protocol_limits,
        )
        server.start()
        opened.callback(server.stop, grace / 2)

        def health() -> list[ComponentHealth]:
            reasons = instance.unhealthy()
            state = State.ABNORMAL if reasons else State.HEALTHY
            return [ComponentHealth("standalone", state, "; ".join(reasons))]

        management = ManagementServer(
            config.management.ip,
            config.management.port,
            health,
            metrics.registry,
            threads=config.management.threads,
            queue=config.management.queue,
            timeout_seconds=config.management.timeout_seconds,
        )
        management.start()
        opened.callback(management.stop)
        log.info(
            "elanus %s serves %s on %s:%d, management on port %d, after %.2f s",
            __version__,
            config.local_storage.path,
            config.proxy.ip,
            server.port,
            management.port,
            time.monotonic() - started,
        )
        came = end.wait()
        log.info("%s: stopping, calls in flight have %.1f s", came.name, grace / 2)
        _end_within(grace - EXIT_SECONDS)


def _end_within(seconds: float) -> None:
    """A kernel that runs on (an index build) does not hold up the end: it starts again with the server, and
    what was acknowledged is in the log."""
    timer = threading.Timer(max(0.0, seconds), os._exit, (0,))
    timer.daemon = True
    timer.start()
