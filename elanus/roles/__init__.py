"""The typed interfaces of all roles and their messages. No behaviour.

A caller holds an object with one of these interfaces and does not know whether it is the role itself (same
process) or a client of it. Small things travel as `msgspec` structs, bulk data beside them as Arrow or NumPy.
"""

from elanus.roles.data import ChannelState, DataCoordinator, DataNode, FlushTicket, SegmentState
from elanus.roles.identity import IdentityBackup, IdentityCoordinator
from elanus.roles.index import IndexCoordinator, IndexNode, IndexProgress, IndexTask
from elanus.roles.proxy import ProxyControl
from elanus.roles.query import (
    Count,
    CountCall,
    QueryCall,
    QueryCoordinator,
    QueryHits,
    QueryNode,
    SearchCall,
    SearchHits,
    ServedSegment,
    Target,
)
from elanus.roles.root import RootCoordinator

__all__ = [
    "ChannelState",
    "Count",
    "CountCall",
    "DataCoordinator",
    "DataNode",
    "FlushTicket",
    "IdentityBackup",
    "IdentityCoordinator",
    "IndexCoordinator",
    "IndexNode",
    "IndexProgress",
    "IndexTask",
    "ProxyControl",
    "QueryCall",
    "QueryCoordinator",
    "QueryHits",
    "QueryNode",
    "RootCoordinator",
    "SearchCall",
    "SearchHits",
    "SegmentState",
    "ServedSegment",
    "Target",
]
