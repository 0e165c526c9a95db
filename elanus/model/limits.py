"""The limits of the protocol: one table with name, default, unit and the Milvus configuration key of each."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

UNLIMITED = -1


@dataclass(frozen=True)
class LimitFacts:
    """What a limit is called in Milvus' configuration ("" where it has no key there) and what it counts."""

    name: str
    default: int
    unit: str
    key: str


# Any: a dataclass field with a default is declared as the field's own type.
def _limit(default: int, unit: str, key: str = "") -> Any:
    return field(default=default, metadata={"unit": unit, "key": key})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what a client may ask for; -1 means none."""

    # schemas
    dimension: int = _limit(32768, "elements", "proxy.maxDimension")
    fields: int = _limit(64, "fields", "proxy.maxFieldNum")
    vector_fields: int = _limit(10, "fields", "proxy.maxVectorFieldNum")
    shards: int = _limit(16, "shards", "proxy.maxShardNum")
    partitions: int = _limit(1024, "partitions", "rootCoord.maxPartitionNum")
    partition_key_partitions: int = _limit(16, "partitions")
    databases: int = _limit(64, "databases", "rootCoord.maxDatabaseNum")
    collections: int = _limit(65536, "collections", "quotaAndLimits.limits.maxCollectionNum")
    collections_per_database: int = _limit(
        65536, "collections", "quotaAndLimits.limits.maxCollectionNumPerDB"
    )
    capacity: int = _limit(65536, "partitions x shards", "rootCoord.maxGeneralCapacity")
    name_length: int = _limit(255, "bytes", "proxy.maxNameLength")
    description_length: int = _limit(1024, "bytes", "proxy.maxCollectionDescriptionLength")
    varchar_length: int = _limit(65535, "bytes", "proxy.maxVarCharLength")
    array_capacity: int = _limit(4096, "elements", "proxy.maxArrayCapacity")
    json_length: int = _limit(65536, "bytes", "common.JSONMaxLength")
    user_name_length: int = _limit(32, "bytes", "proxy.maxUsernameLength")
    shortest_password: int = _limit(6, "bytes", "proxy.minPasswordLength")
    longest_password: int = _limit(72, "bytes", "proxy.maxPasswordLength")
    user_description_length: int = _limit(1024, "bytes", "proxy.maxUserDescriptionLength")
    role_description_length: int = _limit(1024, "bytes", "proxy.maxRoleDescriptionLength")
    users: int = _limit(100, "users", "proxy.maxUserNum")
    roles: int = _limit(10, "roles", "proxy.maxRoleNum")
    index_params_size: int = _limit(102400, "bytes", "proxy.maxIndexParamsSize")
    # requests
    top_k: int = _limit(16384, "rows", "quotaAndLimits.limits.topK")
    large_top_k: int = _limit(1_000_000, "rows", "quotaAndLimits.limits.largeTopK")
    queries: int = _limit(16384, "vectors", "quotaAndLimits.limits.nq")
    result_window: int = _limit(16384, "rows", "quotaAndLimits.limits.maxQueryResultWindow")
    large_result_window: int = _limit(1_000_000, "rows", "quotaAndLimits.limits.largeMaxQueryResultWindow")
    group_size: int = _limit(10, "rows", "quotaAndLimits.limits.maxGroupSize")
    result_entries: int = _limit(UNLIMITED, "hits", "proxy.maxResultEntries")
    output_size: int = _limit(104857600, "bytes", "quotaAndLimits.limits.maxOutputSize")
    insert_size: int = _limit(UNLIMITED, "bytes", "quotaAndLimits.limits.maxInsertSize")
    # the server
    concurrent_calls: int = _limit(1024, "calls", "proxy.maxTaskNum")
    receive_size: int = _limit(67108864, "bytes", "proxy.grpc.serverMaxRecvSize")
    send_size: int = _limit(268435456, "bytes", "proxy.grpc.serverMaxSendSize")

    @property
    def large(self) -> "Limits":
        """Those of a collection that says so (`query_mode`)."""
        return replace(self, top_k=self.large_top_k, result_window=self.large_result_window)


def table() -> list[LimitFacts]:
    """All limits, for configuration and documentation."""
    defaults = Limits()
    return [
        LimitFacts(f.name, getattr(defaults, f.name), f.metadata["unit"], f.metadata["key"])
        for f in fields(Limits)
    ]
