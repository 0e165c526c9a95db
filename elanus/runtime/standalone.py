"""All roles in one process on embedded storage: what Lite opens and `elanus serve` serves."""

import logging
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

import grpc

from elanus.access.gate import WriteGate
from elanus.access.proxy import Proxy
from elanus.access.reads import Reader
from elanus.access.service import handlers
from elanus.access.service.dispatch import Observe
from elanus.access.service.executors import Executors
from elanus.access.snapshots import Snapshots
from elanus.access.writes import WriteLimits, Writer
from elanus.coordinators.catalog_writer import CatalogWriter
from elanus.coordinators.compaction import LocalCompactionCoordinator
from elanus.coordinators.data import LocalDataCoordinator
from elanus.coordinators.garbage import GarbageCollector
from elanus.coordinators.identity import LocalIdentityCoordinator
from elanus.coordinators.index import LocalIndexCoordinator
from elanus.coordinators.query import LocalQueryCoordinator
from elanus.coordinators.root import LocalRootCoordinator
from elanus.coordinators.term import Term
from elanus.model.timestamps import Position, from_ms
from elanus.runtime import policies
from elanus.runtime.background import BackgroundNode
from elanus.runtime.config import Config
from elanus.runtime.hardware import hardware
from elanus.storage.catalog import Catalog
from elanus.storage.directory import DataDirectory
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.manifests import Manifests
from elanus.storage.meta.sqlite import SqliteMetaStore
from elanus.storage.objects.cache import FileCache
from elanus.storage.objects.local import LocalObjectStore
from elanus.storage.sequence import Sequence
from elanus.workers.column_cache import ColumnCache
from elanus.workers.compactor import CompactionLimits, LocalCompactionNode
from elanus.workers.data_node import LocalDataNode
from elanus.workers.index_node import IndexLimits, LocalIndexNode
from elanus.workers.query_node import LocalQueryNode
from elanus.workers.tail import Tails

log = logging.getLogger(__name__)

NODE_ID = 1
"""Of every role here: there is one of each."""
_THREADS_BESIDE_SEARCHES = 1
"""Of a small index that is built in the server; only the background process gives way to searches."""
SCRATCH = "scratch"
CACHE = "cache"


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
            limits=policies.query_limits(self.config),
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

    def _make_data_node(self, scratch: Path) -> LocalDataNode:
        return LocalDataNode(
            NODE_ID,
            meta=self.meta,
            objects=self.objects,
            catalog=self.catalog,
            manifests=self.manifests,
            tails=self.tails,
            segment_ids=self._ids,
            scratch=scratch,
            policy=policies.seal_policy(self.config),
        )

    def _make_data(self, term: Term) -> LocalDataCoordinator:
        return LocalDataCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            broker=self.broker,
            manifests=self.manifests,
            node_id=NODE_ID,
            node=self._data_node,
            limits=policies.data_limits(self.config),
        )

    def _make_index(self, term: Term) -> LocalIndexCoordinator:
        return LocalIndexCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            manifests=self.manifests,
            ids=self._ids,
            node=self._background,
            policy=policies.index_policy(self.config),
            merge=self.compaction.merge_unindexed,
        )

    def _make_columns(self, directory: Path) -> ColumnCache:
        files = FileCache(directory, self.config.elanus.cache.bytes)
        return ColumnCache(files, policies.column_limits(self.config))

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
            settings=policies.background_settings(self.config, self._object_directory, scratch),
            limits=policies.background_limits(self.config),
        )

    def _make_compaction(self, term: Term) -> LocalCompactionCoordinator:
        return LocalCompactionCoordinator(
            term,
            meta=self.meta,
            catalog=self.catalog,
            manifests=self.manifests,
            ids=self._ids,
            node=self._background,
            policy=policies.compaction_policy(self.config),
            index_min_rows=self.config.index_coord.segment.min_segment_num_rows_to_enable_index,
        )

    def _make_garbage(self, term: Term) -> GarbageCollector:
        return GarbageCollector(
            term,
            meta=self.meta,
            objects=self.objects,
            policy=policies.garbage_policy(self.config),
        )

    def _make_query(self, term: Term) -> LocalQueryCoordinator:
        return LocalQueryCoordinator(
            term,
            meta=self.meta,
            objects=self.objects,
            catalog=self.catalog,
            manifests=self.manifests,
            nodes={NODE_ID: self.query_node},
            policy=policies.view_policy(self.config),
        )

    def _make_catalog_writer(self, term: Term) -> CatalogWriter:
        return CatalogWriter(
            term,
            self.catalog,
            lambda: [self.proxy] if "proxy" in vars(self) else [],
            self.config.elanus.catalogue.confirm_seconds,
        )

    def _make_identity(self, writer: CatalogWriter) -> LocalIdentityCoordinator:
        return LocalIdentityCoordinator(
            writer,
            self.config.common.security.default_root_password,
            policies.identity_limits(self.config),
        )

    def _make_root(
        self,
        writer: CatalogWriter,
        data: LocalDataCoordinator,
        index: LocalIndexCoordinator,
        query: LocalQueryCoordinator,
    ) -> LocalRootCoordinator:
        return LocalRootCoordinator(
            writer,
            meta=self.meta,
            broker=self.broker,
            ids=self._ids,
            data=data,
            index=index,
            query=query,
            limits=policies.root_limits(self.config),
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
            limits=policies.read_limits(self.config),
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
            default_partition=self.config.common.default_partition_name,
            limits=policies.proxy_limits(self.config),
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
