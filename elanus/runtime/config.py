"""The configuration: every key with its type, default and meaning.

Keys are written as in Milvus' `milvus.yaml` where they mean the same (`proxy.maxFieldNum`); what Milvus has
no key for is below `elanus`. In Python the names are snake case: `config.proxy.max_field_num`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from elanus.model.limits import Limits as ProtocolLimits
from elanus.model.limits import table as limit_table
from elanus.runtime.config_own import Own
from elanus.runtime.config_section import Bytes, Count, Limit, MiB, Port, Seconds, Section, Share
from elanus.runtime.logs import Format, Level

# Defaults are declared where they are used; here they get their keys.
PROTOCOL = ProtocolLimits()


class ProxyGrpc(Section):
    server_max_recv_size: Bytes = Field(
        PROTOCOL.receive_size, description="Largest request the server takes, in bytes."
    )
    server_max_send_size: Bytes = Field(
        PROTOCOL.send_size, description="Largest answer the server sends, in bytes."
    )


class Proxy(Section):
    ip: str = Field("0.0.0.0", description="Address the server listens on.")
    port: Port = Field(19530, description="Port of the Milvus protocol; 0 takes a free one.")
    grpc: ProxyGrpc = ProxyGrpc()
    max_task_num: Count = Field(
        PROTOCOL.concurrent_calls, description="Calls that may wait in a queue before one is refused."
    )
    max_name_length: Count = Field(
        PROTOCOL.name_length, description="Longest name of a collection, field ..., in bytes."
    )
    max_collection_description_length: Count = Field(
        PROTOCOL.description_length, description="Longest description, in bytes."
    )
    max_field_num: Count = Field(PROTOCOL.fields, description="Most fields of a collection.")
    max_vector_field_num: Count = Field(
        PROTOCOL.vector_fields, description="Most vector fields of a collection."
    )
    max_shard_num: Count = Field(PROTOCOL.shards, description="Most shards of a collection.")
    max_dimension: Count = Field(
        PROTOCOL.dimension, description="Most dimensions of a vector; times 8 for binary ones."
    )
    max_var_char_length: Count = Field(
        PROTOCOL.varchar_length, description="Largest max_length of a VARCHAR field, in bytes."
    )
    max_array_capacity: Count = Field(
        PROTOCOL.array_capacity, description="Largest max_capacity of an ARRAY field."
    )
    max_index_params_size: Bytes = Field(
        PROTOCOL.index_params_size, description="All parameters of an index, in bytes."
    )
    max_username_length: Count = Field(PROTOCOL.user_name_length, description="Longest user name, in bytes.")
    min_password_length: Count = Field(PROTOCOL.shortest_password, description="Shortest password, in bytes.")
    max_password_length: Count = Field(PROTOCOL.longest_password, description="Longest password, in bytes.")
    max_user_description_length: Count = Field(
        PROTOCOL.user_description_length, description="Longest description of a user, in bytes."
    )
    max_role_description_length: Count = Field(
        PROTOCOL.role_description_length, description="Longest description of a role, in bytes."
    )
    max_result_entries: Limit = Field(
        PROTOCOL.result_entries,
        description="Most vectors x limit x group size of a search; -1: as many as the other limits allow.",
    )
    max_user_num: Count = Field(PROTOCOL.users, description="Most users.")
    max_role_num: Count = Field(PROTOCOL.roles, description="Most roles.")


class Security(Section):
    default_root_password: str = Field("Milvus", description="Password of `root` where the data is new.")


class Common(Section):
    graceful_time: Annotated[int, Field(ge=0)] = Field(
        0,
        description="How far a read with Bounded consistency may lie behind, in milliseconds. 0, not at all, "
        "costs next to nothing where all roles share a process.",
    )
    default_partition_name: str = Field("_default", description="Name of a new collection's partition.")
    json_max_length: Bytes = Field(
        PROTOCOL.json_length,
        alias="JSONMaxLength",
        description="Largest JSON value, and dynamic fields of a row, in bytes.",
    )
    security: Security = Security()


class RootCoord(Section):
    dml_channel_num: Count = Field(
        1, description="Number of logs. One fsync serves all channels of a log; fixed when the data is new."
    )
    max_partition_num: Count = Field(PROTOCOL.partitions, description="Most partitions of a collection.")
    max_database_num: Count = Field(PROTOCOL.databases, description="Most databases beside `default`.")
    max_general_capacity: Count = Field(
        PROTOCOL.capacity, description="Most partitions times shards, over all collections."
    )


class DataCoordSegment(Section):
    max_size: Count = Field(1024, description="Size a segment is made or compacted to, in MB.")
    small_proportion: Share = Field(
        0.5, description="A segment below this share of maxSize is small: it is merged with others."
    )


class MixCompaction(Section):
    trigger_interval: Seconds = Field(
        60, description="How often the segments are looked at for compaction, in seconds."
    )


class CompactionRatio(Section):
    threshold: Share = Field(
        0.2, description="A segment of whose rows this share is deleted or expired is compacted."
    )


class SingleCompaction(Section):
    ratio: CompactionRatio = CompactionRatio()


class Compaction(Section):
    enable_auto_compaction: bool = Field(True, description="Whether segments are compacted without a call.")
    mix: MixCompaction = MixCompaction()
    single: SingleCompaction = SingleCompaction()


class Garbage(Section):
    interval: Seconds = Field(600, description="Garbage is collected this often, in seconds.")
    drop_tolerance: Seconds = Field(
        1800, description="What nothing names any more is deleted after this time, in seconds."
    )


class DataCoord(Section):
    segment: DataCoordSegment = DataCoordSegment()
    compaction: Compaction = Compaction()
    gc: Garbage = Garbage()


class DataNodeSegment(Section):
    insert_buf_size: Bytes = Field(
        16 * MiB, description="A channel is flushed when its growing rows take this much memory, in bytes."
    )
    sync_period: Seconds = Field(
        600, description="A channel is flushed when its oldest growing row is this old, in seconds."
    )


class DataNode(Section):
    segment: DataNodeSegment = DataNodeSegment()


class IndexCoordSegment(Section):
    min_segment_num_rows_to_enable_index: Annotated[int, Field(ge=0)] = Field(
        1024, description="Segments with fewer rows are searched without an index and count as indexed."
    )


class IndexCoord(Section):
    segment: IndexCoordSegment = IndexCoordSegment()


class Limits(Section):
    max_collection_num: Count = Field(PROTOCOL.collections, description="Most collections.")
    max_collection_num_per_db: Count = Field(
        PROTOCOL.collections_per_database,
        alias="maxCollectionNumPerDB",
        description="Most collections of a database.",
    )
    max_insert_size: Limit = Field(
        PROTOCOL.insert_size, description="Largest insert, in bytes; -1: as much as gRPC takes."
    )
    max_output_size: Bytes = Field(
        PROTOCOL.output_size, description="Largest answer of a search or query, in bytes."
    )
    max_query_result_window: Count = Field(
        PROTOCOL.result_window, description="Largest offset + limit of a query."
    )
    large_max_query_result_window: Count = Field(
        PROTOCOL.large_result_window,
        description="The same of a collection with the property query_mode=large_topk.",
    )
    max_group_size: Count = Field(PROTOCOL.group_size, description="Largest group_size of a search.")
    nq: Count = Field(PROTOCOL.queries, description="Most vectors of one search.")
    top_k: Count = Field(PROTOCOL.top_k, description="Largest offset + limit of a search.")
    large_top_k: Count = Field(
        PROTOCOL.large_top_k,
        description="The same of a collection with the property query_mode=large_topk.",
    )


class QuotaAndLimits(Section):
    limits: Limits = Limits()


class LocalStorage(Section):
    path: Path = Field(Path("data"), description="The data directory. `--data` sets it.")


class Management(Section):
    ip: str = Field("0.0.0.0", description="Address of the management server.")
    port: Port = Field(9091, description="Port of /healthz and /metrics; 0 takes a free one.")
    threads: Count = Field(4, description="Management calls that are answered at a time.")
    queue: Annotated[int, Field(ge=0)] = Field(16, description="Further calls that wait; more are refused.")
    timeout_seconds: Seconds = Field(10, description="A silent management connection is closed after this.")


class Log(Section):
    level: Level = Field("info", description="Least level that is logged.")
    format: Format = Field("text", description="Lines for people (text) or programs (json).")


class Config(BaseSettings):
    """Everything that can be set. `Config()` is the defaults; `config_sources.load` reads all layers."""

    model_config = SettingsConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", validate_default=True
    )

    proxy: Proxy = Proxy()
    common: Common = Common()
    root_coord: RootCoord = RootCoord()
    data_coord: DataCoord = DataCoord()
    data_node: DataNode = DataNode()
    index_coord: IndexCoord = IndexCoord()
    quota_and_limits: QuotaAndLimits = QuotaAndLimits()
    local_storage: LocalStorage = LocalStorage()
    management: Management = Management()
    log: Log = Log()
    elanus: Own = Own()

    @property
    def protocol_limits(self) -> ProtocolLimits:
        """The limits in force, as the proxy asks for them."""
        values = self.model_dump(by_alias=True)
        return ProtocolLimits(
            **{limit.name: integer_at(values, limit.key) for limit in limit_table() if limit.key}
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """No layer is read unasked: a test's `Config()` does not depend on its environment."""
        return (init_settings,)


def integer_at(values: dict[str, Any], key: str) -> int:
    """The integer at the dotted `key` of nested `values`."""
    *sections, leaf = key.split(".")
    for section in sections:
        values = values[section]
    return int(values[leaf])
