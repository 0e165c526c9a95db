"""Which RPC is served by what, and on which threads."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from elanus import __version__
from elanus.access.protocol import messages
from elanus.access.service.aliases import Aliases
from elanus.access.service.collections import Collections
from elanus.access.service.data import Data
from elanus.access.service.databases import Databases
from elanus.access.service.dispatch import Method, Observe, built, not_built, rpc_handler, unobserved
from elanus.access.service.executors import Executors, Lane
from elanus.access.service.indexes import Indexes
from elanus.access.service.loading import Loading
from elanus.access.service.partitions import Partitions
from elanus.access.service.reads import Reads
from elanus.access.service.roles import Roles
from elanus.access.service.segments import Segments
from elanus.access.service.system import Identity, System
from elanus.access.service.topology import Topology
from elanus.access.service.users import Users
from elanus.model.limits import Limits

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy


@dataclass(frozen=True)
class Route:
    method: Method
    lane: Lane = Lane.CONTROL


def handlers(
    proxy: "Proxy",
    limits: Limits | None = None,
    identity: Identity | None = None,
    executors: Executors | None = None,
    observe: Observe = unobserved,
) -> dict[str, grpc.RpcMethodHandler]:
    """A handler for every RPC by its full name, as in "/milvus.proto.milvus.MilvusService/Search".

    The handlers take and give serialised messages. Without `executors` they run on whichever thread calls.
    """
    routes = _routes(proxy, limits or Limits(), identity or Identity())
    table = {}
    for name, descriptor in messages.methods().items():
        route = routes.get(descriptor.name)
        if route is None:
            table[name] = rpc_handler(descriptor, not_built(descriptor, __version__), Lane.CONTROL, executors)
        else:
            handle = built(descriptor, route.method, observe)
            table[name] = rpc_handler(descriptor, handle, route.lane, executors)
    return table


def _routes(proxy: "Proxy", limits: Limits, identity: Identity) -> dict[str, Route]:
    system = System(proxy, identity)
    databases = Databases(proxy, limits)
    collections = Collections(proxy, limits)
    partitions = Partitions(proxy, limits)
    indexes = Indexes(proxy, limits)
    loading = Loading(proxy)
    data = Data(proxy, limits)
    aliases = Aliases(proxy, limits)
    users = Users(proxy, limits)
    roles = Roles(proxy, limits)
    topology = Topology(proxy, identity)
    reads = Reads(proxy, limits)
    segments = Segments(proxy)
    return {
        "Connect": Route(system.connect),
        "GetVersion": Route(system.version),
        "CheckHealth": Route(system.health),
        "GetComponentStates": Route(system.component_states),
        "AllocTimestamp": Route(system.allocate_timestamp),
        "CreateDatabase": Route(databases.create),
        "DropDatabase": Route(databases.drop),
        "ListDatabases": Route(databases.list),
        "DescribeDatabase": Route(databases.describe),
        "AlterDatabase": Route(databases.alter),
        "CreateAlias": Route(aliases.create),
        "AlterAlias": Route(aliases.alter),
        "DropAlias": Route(aliases.drop),
        "DescribeAlias": Route(aliases.describe),
        "ListAliases": Route(aliases.list),
        "CreateCollection": Route(collections.create),
        "DropCollection": Route(collections.drop),
        "HasCollection": Route(collections.has),
        "DescribeCollection": Route(collections.describe),
        "ShowCollections": Route(collections.show),
        "BatchDescribeCollection": Route(collections.describe_batch),
        "RenameCollection": Route(collections.rename),
        "AlterCollection": Route(collections.alter),
        "AlterCollectionField": Route(collections.alter_field),
        "AddCollectionField": Route(collections.add_field),
        "TruncateCollection": Route(collections.truncate),
        "GetCollectionStatistics": Route(collections.statistics),
        "CreatePartition": Route(partitions.create),
        "DropPartition": Route(partitions.drop),
        "HasPartition": Route(partitions.has),
        "ShowPartitions": Route(partitions.show),
        "GetPartitionStatistics": Route(partitions.statistics),
        "CreateIndex": Route(indexes.create),
        "DescribeIndex": Route(indexes.describe),
        "AlterIndex": Route(indexes.alter),
        "DropIndex": Route(indexes.drop),
        "GetIndexState": Route(indexes.state),
        "GetIndexBuildProgress": Route(indexes.progress),
        "GetIndexStatistics": Route(indexes.statistics),
        "LoadCollection": Route(loading.load_collection),
        "LoadPartitions": Route(loading.load_partitions),
        "ReleaseCollection": Route(loading.release_collection),
        "ReleasePartitions": Route(loading.release_partitions),
        "GetLoadingProgress": Route(loading.progress),
        "GetLoadState": Route(loading.state),
        "Insert": Route(data.insert, Lane.WRITE),
        "Upsert": Route(data.upsert, Lane.WRITE),
        "Delete": Route(data.delete, Lane.WRITE),
        # A flush waits for segments to be written: writers would wait behind it.
        "Flush": Route(data.flush),
        "GetFlushState": Route(data.flush_state),
        "FlushAll": Route(data.flush_all),
        "GetFlushAllState": Route(data.flush_all_state),
        "CreateCredential": Route(users.create),
        "UpdateCredential": Route(users.update),
        "DeleteCredential": Route(users.drop),
        "ListCredUsers": Route(users.list),
        "SelectUser": Route(users.select),
        "CreateRole": Route(roles.create),
        "DropRole": Route(roles.drop),
        "OperateUserRole": Route(roles.operate_user),
        "SelectRole": Route(roles.select),
        "OperatePrivilege": Route(roles.operate_privilege),
        "OperatePrivilegeV2": Route(roles.operate_privilege_v2),
        "SelectGrant": Route(roles.select_grant),
        "CreatePrivilegeGroup": Route(roles.create_group),
        "DropPrivilegeGroup": Route(roles.drop_group),
        "OperatePrivilegeGroup": Route(roles.operate_group),
        "ListPrivilegeGroups": Route(roles.list_groups),
        "BackupRBAC": Route(roles.backup),
        "RestoreRBAC": Route(roles.restore),
        "GetReplicas": Route(topology.replicas),
        "GetMetrics": Route(topology.metrics),
        "ManualCompaction": Route(segments.compact),
        "GetCompactionState": Route(segments.compaction_state),
        "GetCompactionStateWithPlans": Route(segments.compaction_plans),
        "GetPersistentSegmentInfo": Route(segments.stored),
        "GetQuerySegmentInfo": Route(segments.served),
        "Search": Route(reads.search, Lane.READ),
        "Query": Route(reads.query, Lane.READ),
    }
