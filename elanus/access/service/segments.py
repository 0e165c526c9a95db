"""Segments: those that are stored, those that are served, and their compaction."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.service.collections import virtual_name
from elanus.model.columns import ALL_PARTITIONS
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.roles.data import CompactionPlan

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_MIB = 1 << 20
_EXECUTING, _COMPLETED = 1, 2
"""`common.CompactionState`."""
_TASK_EXECUTING, _TASK_COMPLETED, _TASK_FAILED = 1, 3, 4
"""`common.CompactionTaskState`."""
_MIX = 3
"""`common.CompactionType`: what merges segments and applies deletes."""
_GROWING, _SEALED, _FLUSHED = 2, 3, 4
"""`common.SegmentState`."""
_LEVEL_1 = 2
"""`common.SegmentLevel`: rows, as opposed to deletes, and not clustered."""
_STORAGE_VERSION = 1


class Segments:
    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy

    def compact(self, call: Call, request: Any) -> Any:
        if request.majorCompaction:
            raise Unimplemented("clustering compaction is not implemented; compact without it")
        if request.target_size < 0:
            raise InvalidParameter(f"target_size is {request.target_size} MB; it must be positive")
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        target = min(request.target_size * _MIB, 1 << 62) or None
        compaction_id = self._proxy.compact(found, target)
        plans = self._proxy.compaction_plans(compaction_id)
        return messages.ManualCompactionResponse(compactionID=compaction_id, compactionPlanCount=len(plans))

    def compaction_state(self, call: Call, request: Any) -> Any:
        plans = self._proxy.compaction_plans(request.compactionID)
        return messages.GetCompactionStateResponse(
            state=_state(plans),
            executingPlanNo=sum(not p.done for p in plans),
            completedPlanNo=sum(p.done and not p.failure for p in plans),
            failedPlanNo=sum(bool(p.failure) for p in plans),
        )

    def compaction_plans(self, call: Call, request: Any) -> Any:
        """Of one compaction, or of all that are remembered of a collection."""
        if request.compactionID:
            plans = self._proxy.compaction_plans(request.compactionID)
        else:
            found = self._proxy.collection(call.database, request.collection_name, request.collection_id)
            plans = self._proxy.compactions_of(found)
        return messages.GetCompactionPlansResponse(state=_state(plans), mergeInfos=[_plan(p) for p in plans])

    def stored(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(request.dbName or call.database, request.collectionName)
        wanted = set(request.states) or {_FLUSHED}
        channels = {c.id: c for c in found.channels}
        return messages.GetPersistentSegmentInfoResponse(
            infos=[
                messages.PersistentSegmentInfo(
                    segmentID=s.id,
                    collectionID=found.id,
                    partitionID=_partition(s.partitions),
                    num_rows=s.rows,
                    state=_FLUSHED,
                    level=_LEVEL_1,
                    is_sorted=True,
                    storage_version=_STORAGE_VERSION,
                    insert_channel=virtual_name(channels[s.channel_id], found),
                    compaction_from=s.replaces,
                )
                for s in self._proxy.topology.sealed(found)
                if _FLUSHED in wanted
            ]
        )

    def served(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(request.dbName or call.database, request.collectionName)
        return messages.GetQuerySegmentInfoResponse(
            infos=[
                messages.QuerySegmentInfo(
                    segmentID=s.segment.id,
                    collectionID=found.id,
                    partitionID=_partition(s.segment.partitions),
                    mem_size=s.segment.bytes,
                    num_rows=s.segment.rows,
                    index_name=s.index.name if s.index else "",
                    indexID=s.index.id if s.index else 0,
                    state=_GROWING if s.segment.growing else _SEALED,
                    nodeID=s.segment.nodes[0],
                    nodeIds=s.segment.nodes,
                    level=_LEVEL_1,
                    is_sorted=not s.segment.growing,
                    storage_version=_STORAGE_VERSION,
                )
                for s in self._proxy.topology.served(found)
            ]
        )


def _partition(partitions: tuple[int, ...]) -> int:
    """A segment here may hold rows of several partitions."""
    return partitions[0] if len(partitions) == 1 else ALL_PARTITIONS


def _state(plans: list[CompactionPlan]) -> int:
    """Completed where nothing is under way, also of a compaction that nobody remembers."""
    return _COMPLETED if all(p.done for p in plans) else _EXECUTING


def _plan(plan: CompactionPlan) -> Any:
    state = _TASK_EXECUTING if not plan.done else _TASK_FAILED if plan.failure else _TASK_COMPLETED
    return messages.CompactionMergeInfo(
        sources=plan.sources,
        target=plan.targets[0] if plan.targets else 0,
        targets=plan.targets,
        plan_id=plan.id,
        trigger_id=plan.compaction_id,
        collection_id=plan.collection_id,
        channel=str(plan.channel_id),
        type=_MIX,
        state=state,
        failure_reason=plan.failure,
    )
