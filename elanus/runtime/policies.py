"""What each role is bound by, as the configuration says."""

import os
from pathlib import Path

from elanus.access.proxy import ProxyLimits
from elanus.access.reads import ReadLimits
from elanus.coordinators.compaction_policy import CompactionPolicy
from elanus.coordinators.data import DataLimits
from elanus.coordinators.garbage import GarbagePolicy
from elanus.coordinators.identity import IdentityLimits
from elanus.coordinators.index import IndexPolicy
from elanus.coordinators.query import ViewPolicy
from elanus.coordinators.root import RootLimits
from elanus.runtime.background import BackgroundLimits
from elanus.runtime.config import Config
from elanus.runtime.config_section import MiB
from elanus.workers.background import Settings
from elanus.workers.batching import BatchLimits
from elanus.workers.column_cache import ColumnLimits
from elanus.workers.data_node import SealPolicy
from elanus.workers.light_indexing import LightLimits
from elanus.workers.query_node import QueryLimits


def seal_policy(config: Config) -> SealPolicy:
    flush, segment = config.elanus.flush, config.data_node.segment
    return SealPolicy(
        segment_bytes=segment.insert_buf_size,
        buffer_bytes=flush.buffer_bytes,
        age_seconds=segment.sync_period,
        check_seconds=flush.check_seconds,
        retry_seconds=flush.retry_seconds,
        threads=flush.threads,
    )


def data_limits(config: Config) -> DataLimits:
    flush = config.elanus.flush
    return DataLimits(
        seal_seconds=flush.seal_seconds, trim_seconds=flush.trim_seconds, read_attempts=flush.read_attempts
    )


def index_policy(config: Config) -> IndexPolicy:
    build = config.elanus.build
    return IndexPolicy(
        min_rows=config.index_coord.segment.min_segment_num_rows_to_enable_index,
        builds=build.builds,
        attempts=build.attempts,
        retry_seconds=build.retry_seconds,
    )


def compaction_policy(config: Config) -> CompactionPolicy:
    own, coordinator = config.elanus.compaction, config.data_coord
    return CompactionPolicy(
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
    )


def garbage_policy(config: Config) -> GarbagePolicy:
    garbage = config.data_coord.gc
    return GarbagePolicy(
        interval_seconds=garbage.interval,
        grace_seconds=garbage.drop_tolerance,
        job_seconds=config.elanus.garbage.job_seconds,
    )


def view_policy(config: Config) -> ViewPolicy:
    serve = config.elanus.serve
    return ViewPolicy(
        grace_seconds=serve.view_grace_seconds,
        retry_seconds=serve.retry_seconds,
        refresh_offsets=serve.refresh_offsets,
        batch=serve.prepare_batch,
    )


def query_limits(config: Config) -> QueryLimits:
    serve = config.elanus.serve
    return QueryLimits(
        load_threads=serve.load_threads,
        plan_cache=serve.plan_cache,
        filter_bytes=serve.filter_bytes,
        delete_batch_keys=serve.delete_batch_keys,
        growing_block_rows=serve.growing_block_rows,
        growing_block_bytes=serve.growing_block_bytes,
        batches=BatchLimits(queries=serve.batch_queries, at_once=serve.batch_running),
        light=light_limits(config),
        wait_seconds=serve.wait_seconds,
    )


def light_limits(config: Config) -> LightLimits:
    own = config.elanus.light_index
    return LightLimits(
        enabled=own.enabled,
        block_bytes=own.block_bytes,
        queries=own.queries,
        recall=own.recall,
        memory_bytes=own.memory_bytes,
        threads=own.threads,
        waiting=own.waiting,
        nice=own.nice,
    )


def column_limits(config: Config) -> ColumnLimits:
    cache = config.elanus.cache
    return ColumnLimits(small_bytes=cache.small_bytes, memory_bytes=cache.memory_bytes)


def background_settings(config: Config, objects: Path, scratch: Path) -> Settings:
    own = config.elanus
    return Settings(
        objects=objects,
        scratch=scratch,
        build_threads=own.build.threads or os.cpu_count() or 1,
        batch_bytes=own.compaction.batch_bytes,
        idle_seconds=own.background.idle_seconds,
    )


def background_limits(config: Config) -> BackgroundLimits:
    background = config.elanus.background
    return BackgroundLimits(
        build_elements=background.build_elements,
        compaction_bytes=background.compaction_bytes,
        stop_seconds=background.stop_seconds,
    )


def root_limits(config: Config) -> RootLimits:
    limits = config.protocol_limits
    return RootLimits(
        max_databases=limits.databases,
        max_collections=limits.collections,
        max_database_collections=limits.collections_per_database,
        max_partitions=limits.partitions,
        max_capacity=limits.capacity,
    )


def identity_limits(config: Config) -> IdentityLimits:
    limits = config.protocol_limits
    return IdentityLimits(max_users=limits.users, max_roles=limits.roles)


def read_limits(config: Config) -> ReadLimits:
    serve = config.elanus.serve
    return ReadLimits(
        graceful_ms=config.common.graceful_time,
        view_seconds=serve.view_seconds,
        view_retry_seconds=serve.view_retry_seconds,
    )


def proxy_limits(config: Config) -> ProxyLimits:
    own = config.elanus
    return ProxyLimits(
        flush_seconds=own.flush.answer_seconds,
        index_seconds=own.build.answer_seconds,
        load_seconds=own.serve.answer_seconds,
    )
