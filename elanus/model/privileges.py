"""Privileges: one table of names, levels, objects, built-in groups and the calls each one allows."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from elanus.model.errors import InvalidParameter

ANY = "*"
"""Stands for every object, database or privilege."""
ALL = "All"
"""The privilege to do everything."""


class Level(StrEnum):
    """What a privilege is granted on; the privileges of a group are all of one level."""

    CLUSTER = "Cluster"
    DATABASE = "Database"
    COLLECTION = "Collection"


class ObjectType(StrEnum):
    """The kind of object a grant of the first protocol version names."""

    GLOBAL = "Global"
    COLLECTION = "Collection"
    USER = "User"


class Tier(IntEnum):
    """The smallest of a family's groups that has a privilege; the larger ones have it too."""

    READ = 0
    WRITE = 1
    ADMIN = 2
    NONE = 3


@dataclass(frozen=True)
class Privilege:
    name: str
    level: Level
    object: ObjectType
    tier: Tier
    """Among the groups of its level, such as CollectionReadOnly."""
    legacy: Tier
    """Among ReadOnly, ReadWrite and Admin."""
    calls: tuple[str, ...]


def _p(name: str, level: Level, object: ObjectType, tier: Tier, legacy: Tier, *calls: str) -> Privilege:
    return Privilege(name, level, object, tier, legacy, calls)


CLUSTER, DATABASE, COLLECTION_LEVEL = Level.CLUSTER, Level.DATABASE, Level.COLLECTION
GLOBAL, COLLECTION, USER = ObjectType.GLOBAL, ObjectType.COLLECTION, ObjectType.USER
READ, WRITE, ADMIN, NONE = Tier.READ, Tier.WRITE, Tier.ADMIN, Tier.NONE

TABLE = (
    _p(
        "CreateCollection",
        DATABASE,
        GLOBAL,
        ADMIN,
        ADMIN,
        "CreateCollection",
        "AlterCollection",
        "AlterCollectionField",
        "AddCollectionFunction",
        "AlterCollectionFunction",
        "DropCollectionFunction",
    ),
    _p("DropCollection", DATABASE, GLOBAL, ADMIN, ADMIN, "DropCollection", "TruncateCollection"),
    _p(
        "DescribeCollection",
        COLLECTION_LEVEL,
        GLOBAL,
        READ,
        READ,
        "DescribeCollection",
        "BatchDescribeCollection",
    ),
    _p("ShowCollections", DATABASE, GLOBAL, READ, READ),
    _p("Load", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "LoadCollection", "LoadPartitions", "Prewarm"),
    _p("Release", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "ReleaseCollection", "ReleasePartitions"),
    _p("Compaction", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "ManualCompaction"),
    _p("Insert", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "Insert", "BatchUpdateManifest"),
    _p("Delete", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "Delete"),
    _p(
        "GetStatistics",
        COLLECTION_LEVEL,
        COLLECTION,
        READ,
        READ,
        "GetCollectionStatistics",
        "GetPartitionStatistics",
    ),
    _p("CreateIndex", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "CreateIndex", "AlterIndex"),
    _p(
        "IndexDetail",
        COLLECTION_LEVEL,
        COLLECTION,
        READ,
        READ,
        "DescribeIndex",
        "GetIndexStatistics",
        "GetIndexState",
        "GetIndexBuildProgress",
    ),
    _p("DropIndex", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "DropIndex"),
    _p("Search", COLLECTION_LEVEL, COLLECTION, READ, READ, "Search", "HybridSearch"),
    _p("Flush", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "Flush"),
    _p("Query", COLLECTION_LEVEL, COLLECTION, READ, READ, "Query"),
    _p("LoadBalance", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "LoadBalance"),
    _p("Import", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "Import"),
    _p(
        "CreateOwnership",
        CLUSTER,
        GLOBAL,
        ADMIN,
        ADMIN,
        "CreateCredential",
        "CreateRole",
        "AlterRole",
        "CreateRowPolicy",
    ),
    _p("UpdateUser", CLUSTER, USER, ADMIN, ADMIN, "UpdateCredential", "AddUserTags", "DeleteUserTags"),
    _p("DropOwnership", CLUSTER, GLOBAL, ADMIN, ADMIN, "DeleteCredential", "DropRole", "DropRowPolicy"),
    _p(
        "SelectOwnership",
        CLUSTER,
        GLOBAL,
        READ,
        ADMIN,
        "ListCredUsers",
        "SelectRole",
        "SelectGrant",
        "ListRowPolicies",
    ),
    _p(
        "ManageOwnership",
        CLUSTER,
        GLOBAL,
        ADMIN,
        ADMIN,
        "OperateUserRole",
        "OperatePrivilege",
        "OperatePrivilegeV2",
    ),
    _p("SelectUser", CLUSTER, USER, READ, ADMIN, "SelectUser", "GetUserTags", "ListUsersWithTag"),
    _p("Upsert", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "Upsert"),
    _p("CreateResourceGroup", CLUSTER, GLOBAL, ADMIN, ADMIN, "CreateResourceGroup"),
    _p("DropResourceGroup", CLUSTER, GLOBAL, ADMIN, ADMIN, "DropResourceGroup"),
    _p("DescribeResourceGroup", CLUSTER, GLOBAL, READ, ADMIN, "DescribeResourceGroup"),
    _p("ListResourceGroups", CLUSTER, GLOBAL, READ, ADMIN, "ListResourceGroups"),
    _p("TransferNode", CLUSTER, GLOBAL, WRITE, ADMIN, "TransferNode"),
    _p("TransferReplica", CLUSTER, GLOBAL, WRITE, ADMIN, "TransferReplica"),
    _p("GetLoadingProgress", COLLECTION_LEVEL, COLLECTION, READ, READ),
    _p("GetLoadState", COLLECTION_LEVEL, COLLECTION, READ, READ, "GetLoadingProgress", "GetLoadState"),
    _p("RenameCollection", DATABASE, GLOBAL, ADMIN, ADMIN, "RenameCollection"),
    _p("CreateDatabase", CLUSTER, GLOBAL, ADMIN, ADMIN, "CreateDatabase"),
    _p("DropDatabase", CLUSTER, GLOBAL, ADMIN, ADMIN, "DropDatabase"),
    _p("ListDatabases", CLUSTER, GLOBAL, READ, READ),
    _p("FlushAll", CLUSTER, GLOBAL, WRITE, NONE, "FlushAll"),
    _p("CreatePartition", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "CreatePartition", "CreateNamespace"),
    _p("DropPartition", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "DropPartition", "DropNamespace"),
    _p(
        "ShowPartitions",
        COLLECTION_LEVEL,
        COLLECTION,
        READ,
        READ,
        "ShowPartitions",
        "DescribeNamespace",
        "ListNamespaces",
        "GetNamespaceStats",
    ),
    _p("HasPartition", COLLECTION_LEVEL, COLLECTION, READ, READ, "HasPartition", "HasNamespace"),
    _p("GetFlushState", COLLECTION_LEVEL, COLLECTION, READ, READ, "GetFlushState"),
    _p("CreateAlias", COLLECTION_LEVEL, GLOBAL, ADMIN, WRITE, "CreateAlias", "AlterAlias"),
    _p("DropAlias", COLLECTION_LEVEL, GLOBAL, ADMIN, WRITE, "DropAlias"),
    _p("DescribeAlias", COLLECTION_LEVEL, GLOBAL, READ, READ, "DescribeAlias"),
    _p("ListAliases", COLLECTION_LEVEL, GLOBAL, READ, READ, "ListAliases"),
    _p("UpdateResourceGroups", CLUSTER, GLOBAL, WRITE, ADMIN, "UpdateResourceGroups"),
    _p("AlterDatabase", DATABASE, GLOBAL, WRITE, ADMIN, "AlterDatabase"),
    _p("DescribeDatabase", DATABASE, GLOBAL, READ, READ, "DescribeDatabase"),
    _p("BackupRBAC", CLUSTER, GLOBAL, ADMIN, ADMIN, "BackupRBAC"),
    _p("RestoreRBAC", CLUSTER, GLOBAL, ADMIN, ADMIN, "RestoreRBAC"),
    _p("CreatePrivilegeGroup", CLUSTER, GLOBAL, ADMIN, NONE, "CreatePrivilegeGroup"),
    _p("DropPrivilegeGroup", CLUSTER, GLOBAL, ADMIN, NONE, "DropPrivilegeGroup"),
    _p("ListPrivilegeGroups", CLUSTER, GLOBAL, READ, NONE, "ListPrivilegeGroups"),
    _p("OperatePrivilegeGroup", CLUSTER, GLOBAL, ADMIN, NONE, "OperatePrivilegeGroup"),
    _p("GetImportProgress", COLLECTION_LEVEL, COLLECTION, READ, NONE),
    _p("ListImport", COLLECTION_LEVEL, COLLECTION, READ, NONE),
    _p(
        "AddCollectionField",
        COLLECTION_LEVEL,
        COLLECTION,
        WRITE,
        NONE,
        "AddCollectionField",
        "AddCollectionStructField",
    ),
    _p("AddFileResource", CLUSTER, GLOBAL, WRITE, NONE, "AddFileResource"),
    _p("RemoveFileResource", CLUSTER, GLOBAL, WRITE, NONE, "RemoveFileResource"),
    _p("ListFileResources", CLUSTER, GLOBAL, READ, NONE, "ListFileResources"),
    _p("UpdateReplicateConfiguration", CLUSTER, GLOBAL, ADMIN, ADMIN, "UpdateReplicateConfiguration"),
    _p("CreateSnapshot", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "CreateSnapshot"),
    _p("DropSnapshot", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "DropSnapshot"),
    _p("DescribeSnapshot", COLLECTION_LEVEL, COLLECTION, READ, READ, "DescribeSnapshot"),
    _p("ListSnapshots", COLLECTION_LEVEL, COLLECTION, READ, READ, "ListSnapshots"),
    _p(
        "RestoreSnapshot",
        COLLECTION_LEVEL,
        COLLECTION,
        ADMIN,
        ADMIN,
        "RestoreSnapshot",
        "ListRestoreSnapshotJobs",
    ),
    _p("AlterCollectionSchema", COLLECTION_LEVEL, COLLECTION, WRITE, NONE, "AlterCollectionSchema"),
    _p("GetReplicateConfiguration", CLUSTER, GLOBAL, READ, NONE, "GetReplicateConfiguration"),
    _p("RefreshExternalCollection", COLLECTION_LEVEL, COLLECTION, WRITE, WRITE, "RefreshExternalCollection"),
    _p("PinSnapshotData", CLUSTER, GLOBAL, WRITE, ADMIN, "PinSnapshotData"),
    _p("UnpinSnapshotData", CLUSTER, GLOBAL, WRITE, ADMIN, "UnpinSnapshotData"),
    _p("RestoreExternalSnapshot", CLUSTER, GLOBAL, ADMIN, ADMIN, "RestoreExternalSnapshot"),
    _p("ExportSnapshot", CLUSTER, GLOBAL, ADMIN, ADMIN, "ExportSnapshot", "GetExportSnapshotState"),
    _p("Expr", CLUSTER, GLOBAL, ADMIN, NONE),
)

PRIVILEGES = {p.name: p for p in TABLE}

_GROUP_TIERS = {"ReadOnly": READ, "ReadWrite": WRITE, "Admin": ADMIN}
LEVEL_GROUPS = {
    f"{level}{name}": frozenset(p.name for p in TABLE if p.level is level and p.tier <= tier)
    for level in Level
    for name, tier in _GROUP_TIERS.items()
}
"""ClusterReadOnly, DatabaseAdmin, CollectionReadWrite ... and their privileges."""
LEGACY_GROUPS = {
    name: frozenset(p.name for p in TABLE if p.legacy <= tier) for name, tier in _GROUP_TIERS.items()
}
BUILT_IN_GROUPS = LEVEL_GROUPS | LEGACY_GROUPS
_LEVEL_OF_GROUP = {f"{level}{name}": level for level in Level for name in _GROUP_TIERS}
_OBJECT_OF_LEGACY_GROUP = {"ReadOnly": COLLECTION, "ReadWrite": COLLECTION, "Admin": GLOBAL}


def object_type(name: str) -> ObjectType:
    """Raises InvalidParameter with the types there are."""
    try:
        return ObjectType(name)
    except ValueError:
        raise InvalidParameter(
            f"the object type is {name!r}; it must be one of {', '.join(ObjectType)}"
        ) from None


def object_of(name: str) -> ObjectType:
    """What a privilege, or a group of them, is granted on; groups that users make are granted globally."""
    known = PRIVILEGES.get(name)
    if known is not None:
        return known.object
    return _OBJECT_OF_LEGACY_GROUP.get(name, GLOBAL)


def level_of(name: str) -> Level | None:
    """The level of a privilege or of a built-in group; None where it has none."""
    known = PRIVILEGES.get(name)
    return known.level if known is not None else _LEVEL_OF_GROUP.get(name)


def check_on_object(name: str, kind: ObjectType, groups: frozenset[str]) -> None:
    """Whether a privilege or group can be granted on a kind of object. Raises InvalidParameter."""
    check_known(name, groups)
    if name in (ANY, ALL) or name in groups or name in LEVEL_GROUPS:
        return
    fits = object_of(name)
    if fits is not kind:
        raise InvalidParameter(f"the privilege {name!r} is granted on {fits}, not on {kind}")


def check_known(name: str, groups: frozenset[str]) -> None:
    """Raises InvalidParameter for what is neither a privilege nor a group; `groups`: those users made."""
    if name in (ANY, ALL) or name in PRIVILEGES or name in BUILT_IN_GROUPS or name in groups:
        return
    raise InvalidParameter(
        f"there is no privilege or privilege group {name!r}; privileges are called as in 'Search' or 'Insert'"
    )
