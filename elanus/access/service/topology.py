"""What is where: replicas, and the machine under it all."""

import json
from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.requests import Hardware
from elanus.access.service.collections import virtual_name
from elanus.access.service.system import Identity
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types; answers to GetMetrics are JSON.

_SYSTEM_INFO = "system_info"
_ROLES = ("proxy", "rootcoord", "datacoord", "querycoord", "datanode", "querynode")
_RESOURCE_GROUP = "__default_resource_group"


class Topology:
    def __init__(self, proxy: "Proxy", identity: Identity) -> None:
        self._proxy = proxy
        self._identity = identity

    def replicas(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        answer = messages.GetReplicasResponse()
        for replica in self._proxy.topology.replicas(found):
            channels = {c.id: c for c in found.channels}
            answer.replicas.add(
                # Numbers of replicas count per collection here; clients take them for ids.
                replicaID=found.id + replica.number,
                collectionID=found.id,
                partition_ids=replica.partitions,
                node_ids=sorted({n for v in replica.views for n in v.nodes}),
                resource_group_name=_RESOURCE_GROUP,
                shard_replicas=[
                    messages.ShardReplica(
                        leaderID=v.growing_node,
                        dm_channel_name=virtual_name(channels[v.channel_id], found),
                        node_ids=v.nodes if request.with_shard_nodes else (),
                    )
                    for v in replica.views
                ],
            )
        return answer

    def metrics(self, call: Call, request: Any) -> Any:
        try:
            asked = json.loads(request.request)
        except (ValueError, RecursionError):
            raise InvalidParameter(f"the request is {request.request!r}, which is not JSON") from None
        kind = asked.get("metric_type") if isinstance(asked, dict) else None
        if kind != _SYSTEM_INFO:
            raise ElanusError(
                f"metric_type is {kind!r}; this server knows {_SYSTEM_INFO!r}", Code.METRIC_NOT_FOUND
            )
        return messages.GetMetricsResponse(
            response=json.dumps(self._system_info()), component_name=f"proxy{self._identity.node_id}"
        )

    def _system_info(self) -> dict[str, Any]:
        """One process plays all roles: each is listed, all on the same machine."""
        machine = self._proxy.hardware()
        number = self._identity.node_id
        return {
            "nodes_info": [
                {"identifier": number, "connected": [], "infos": self._role(role, machine)} for role in _ROLES
            ]
        }

    def _role(self, role: str, machine: Hardware) -> dict[str, Any]:
        return {
            "has_error": False,
            "error_reason": "",
            "name": f"{role}{self._identity.node_id}",
            "type": role,
            "id": self._identity.node_id,
            "created_time": machine.started,
            "updated_time": machine.started,
            "hardware_infos": {
                "ip": machine.ip,
                "cpu_core_count": machine.cores,
                "cpu_core_usage": machine.cpu_percent,
                "memory": machine.memory,
                "memory_usage": machine.memory_used,
                "disk": machine.disk,
                "disk_usage": machine.disk_used,
            },
            "system_info": {
                "system_version": "",
                "deploy_mode": self._identity.deploy_mode,
                "build_version": self._identity.version,
                "build_time": "",
                "used_go_version": "",
            },
            "quota_metrics": None,
            "collection_metrics": None,
        }
