"""The keys below `elanus`: bounds for which Milvus has no key, or another meaning."""

from typing import Annotated

from pydantic import Field

from elanus.runtime.config_section import Bytes, Count, MiB, Seconds, Section, Share
from elanus.storage.log.limits import LogLimits
from elanus.storage.meta.sqlite import SqliteLimits

# Defaults are declared where they are used; here they get their keys.
LOG = LogLimits()
META = SqliteLimits()


class LogFiles(Section):
    file_bytes: Bytes = Field(
        LOG.file, description="A log goes on in a new file beyond this size; trimming works in whole files."
    )
    group_bytes: Bytes = Field(LOG.group, description="Records that share one write and one fsync, in bytes.")
    batch_bytes: Bytes = Field(LOG.batch, description="Largest atomic batch of records, in bytes.")
    tail_bytes: Bytes = Field(
        LOG.tail, description="Newest records of a log that are kept in memory for its readers, in bytes."
    )
    read_bytes: Bytes = Field(LOG.read, description="One read from a log file, in bytes.")
    poll_bytes: Bytes = Field(LOG.poll, description="Records that a reader gets at a time, in bytes.")
    index_bytes: Bytes = Field(
        LOG.index, description="Distance of the remembered positions of a log file, in bytes."
    )
    max_record_bytes: Bytes = Field(
        900 * 1024, description="A write is cut into records of at most about this size, in bytes."
    )
    poll_records: Count = Field(256, description="Records that a reader gets at a time.")
    catch_up_seconds: Seconds = Field(
        600, description="A consumer that lies behind the tail reads up to it within this time, in seconds."
    )

    @property
    def limits(self) -> LogLimits:
        return LogLimits(
            file=self.file_bytes,
            group=self.group_bytes,
            batch=self.batch_bytes,
            tail=self.tail_bytes,
            read=self.read_bytes,
            poll=self.poll_bytes,
            index=self.index_bytes,
        )


class Meta(Section):
    history_events: Count = Field(META.history_events, description="Latest changes a watch may start from.")
    watch_events: Count = Field(
        META.watch_events, description="Changes that wait for a watch's reader; beyond it the watch is lost."
    )
    group_transactions: Count = Field(
        META.group_transactions, description="Waiting transactions that share one fsync."
    )
    edit_attempts: Count = Field(20, description="Races for a manifest that an edit may lose.")
    id_step: Count = Field(1000, description="Ids of collections, segments ... that are leased at a time.")
    row_id_step: Count = Field(100_000, description="Automatic primary keys that a proxy leases at a time.")
    lease_seconds: Seconds = Field(10, description="A coordinator that is silent this long loses its role.")
    sequence_attempts: Count = Field(100, description="Races for a range of ids that may be lost.")

    @property
    def limits(self) -> SqliteLimits:
        return SqliteLimits(
            history_events=self.history_events,
            watch_events=self.watch_events,
            group_transactions=self.group_transactions,
        )


class Executors(Section):
    control: Count = Field(8, description="Threads of calls on collections, indexes and loading.")
    read: Count = Field(16, description="Threads of searches and queries.")
    write: Count = Field(16, description="Threads of inserts, upserts and deletes.")


class Catalogue(Section):
    confirm_seconds: Seconds = Field(
        10, description="A change of the schema waits this long for a proxy to follow it, in seconds."
    )


class Flushing(Section):
    seal_seconds: Seconds = Field(30, description="A flush waits this long for the data node, in seconds.")
    answer_seconds: Seconds = Field(
        10, description="A flush call stays this long; then the client asks for its state, in seconds."
    )
    buffer_bytes: Bytes = Field(
        1024 * MiB, description="Rows not flushed yet, over all channels; beyond it the largest is flushed."
    )
    threads: Count = Field(1, description="Channels that are flushed at a time.")
    check_seconds: Seconds = Field(0.5, description="How often sizes and ages are looked at, in seconds.")
    retry_seconds: Seconds = Field(2, description="Wait after a flush that failed, in seconds.")
    trim_seconds: Seconds = Field(10, description="Logs are trimmed this often, in seconds.")
    read_attempts: Count = Field(
        10, description="Statistics are read again this often when a flush came in between."
    )


class Building(Section):
    threads: Annotated[int, Field(ge=0)] = Field(
        0, description="Threads of an index build in the background process; 0: as many as there are cores."
    )
    builds: Count = Field(1, description="Indexes that are built at a time.")
    attempts: Count = Field(3, description="A build that fails is tried this often.")
    retry_seconds: Seconds = Field(2, description="Wait after a build that failed, in seconds.")
    answer_seconds: Seconds = Field(
        1, description="A CreateIndex call stays this long; then the client asks for its state, in seconds."
    )


class Compacting(Section):
    retention_seconds: Seconds = Field(
        3600, description="Deleted rows are kept this long for reads that go back in time, in seconds."
    )
    merge_segments: Annotated[int, Field(ge=2)] = Field(
        4, description="So many small segments of a shard are merged without a call."
    )
    growth: Annotated[float, Field(ge=1)] = Field(
        2, description="A segment is merged with smaller ones if together they have 1/growth of its size."
    )
    jobs: Count = Field(1, description="Compactions at a time.")
    attempts: Count = Field(3, description="A compaction that fails is tried this often.")
    retry_seconds: Seconds = Field(2, description="Wait after a compaction that failed, in seconds.")
    remembered: Count = Field(1024, description="Compactions whose plans can be asked for.")
    batch_bytes: Bytes = Field(
        32 * MiB, description="Memory of one batch of one field in a compaction, in bytes."
    )


class Garbage(Section):
    job_seconds: Seconds = Field(
        86_400, description="An index build or compaction that takes longer is presumed dead, in seconds."
    )


class Background(Section):
    """One process beside the server, at low priority, for index builds and compactions."""

    build_elements: Count = Field(
        1 << 20,
        description="Indexes of at most so many numbers (rows x dimensions) are built in the server.",
    )
    compaction_bytes: Bytes = Field(
        16 * MiB, description="Segments of at most so many bytes are compacted in the server."
    )
    idle_seconds: Seconds = Field(
        30, description="The background process ends after this time without work, in seconds."
    )
    stop_seconds: Seconds = Field(1, description="How long its end is waited for, in seconds.")


class Serving(Section):
    load_threads: Count = Field(4, description="Segments that a query node loads at a time.")
    answer_seconds: Seconds = Field(
        2, description="A load call stays this long; then the client asks for its progress, in seconds."
    )
    view_seconds: Seconds = Field(
        30, description="A read waits this long for a view that is being prepared, in seconds."
    )
    view_retry_seconds: Seconds = Field(0.005, description="How often it looks whether it is there.")
    view_grace_seconds: Seconds = Field(5, description="Nodes keep a replaced view this long, in seconds.")
    retry_seconds: Seconds = Field(2, description="Wait after a view that could not be prepared, in seconds.")
    refresh_offsets: Count = Field(
        100_000, description="A view that would hold up the trimming of so many records is made anew."
    )
    prepare_batch: Count = Field(256, description="Collections whose views are prepared together.")
    snapshots: Count = Field(
        1024, description="Collections whose catalogue entries are kept gathered for reads."
    )
    plan_cache: Count = Field(1024, description="Parsed filter expressions that are kept.")
    filter_bytes: Bytes = Field(
        64 * MiB, description="Rows that filters matched in flushed segments are kept, in bytes."
    )
    batch_queries: Count = Field(
        32, description="Concurrent searches of the same kind that share one call; 1: none do."
    )
    batch_running: Count = Field(
        1, description="Searches of the same kind that run side by side before others wait for them."
    )
    growing_block_rows: Count = Field(
        65_536, description="Rows not flushed yet are kept in blocks of at most so many."
    )
    growing_block_bytes: Bytes = Field(32 * MiB, description="Size of such a block at most, in bytes.")
    delete_batch_keys: Count = Field(4096, description="Deletes that are applied to a segment at a time.")
    wait_seconds: Seconds = Field(
        30, description="A read without a deadline waits this long for the log, in seconds."
    )


class LightIndexes(Section):
    """Of rows that have no index yet, growing or flushed, while they are searched.

    Of 500,000 vectors of 128 dimensions, a search takes 32 ms of one core without, 6 ms with them. One of
    34,000 takes 0.36 s of one core to make, and 1.4 MB.
    """

    enabled: bool = Field(True, description="Whether searches may use them.")
    block_bytes: Bytes = Field(
        8 * MiB,
        description="Blocks of growing rows and segments with fewer bytes of vectors get none: they are as "
        "quickly searched without.",
    )
    queries: Count = Field(
        200,
        description="Searched for so many vectors, they get one: by then that took as long as to make it.",
    )
    recall: Share = Field(0.97, description="Share of the true neighbours that it is made to find.")
    memory_bytes: Bytes = Field(256 * MiB, description="All of them together take no more, in bytes.")
    threads: Count = Field(1, description="Light indexes that are made at a time, by one thread each.")
    waiting: Count = Field(1024, description="Light indexes that wait for their turn; more are not begun.")
    nice: Annotated[int, Field(ge=0, le=19)] = Field(
        10, description="How much lower the priority of these threads is, on Linux."
    )


class ColumnCaching(Section):
    bytes: Bytes = Field(
        8192 * MiB, description="Fields of flushed rows in a form that can be mapped, on disk, in bytes."
    )
    memory_bytes: Bytes = Field(
        256 * MiB, description="Small fields of flushed rows that are kept in memory, in bytes."
    )
    small_bytes: Bytes = Field(
        65_536, description="A field of a segment of fewer bytes is kept in memory, not on disk."
    )


class Shutdown(Section):
    grace_seconds: Seconds = Field(
        3, description="After SIGTERM the server ends within this time, calls in flight included."
    )


class Own(Section):
    """What Milvus has no key for."""

    log: LogFiles = LogFiles()
    meta: Meta = Meta()
    executors: Executors = Executors()
    catalogue: Catalogue = Catalogue()
    flush: Flushing = Flushing()
    build: Building = Building()
    compaction: Compacting = Compacting()
    garbage: Garbage = Garbage()
    background: Background = Background()
    cache: ColumnCaching = ColumnCaching()
    serve: Serving = Serving()
    light_index: LightIndexes = LightIndexes()
    shutdown: Shutdown = Shutdown()
