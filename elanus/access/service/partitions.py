"""Partitions: create, drop, has, show, statistics."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.service.collections import IN_MEMORY
from elanus.access.translate.params import to_pairs
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.errors import PartitionNotFound
from elanus.model.limits import Limits
from elanus.model.nouns import Collection, Partition
from elanus.model.timestamps import to_ms

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.


class Partitions:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        check_name("partition", request.partition_name, self._limits)
        self._proxy.create_partition(call.database, request.collection_name, request.partition_name)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        check_name("partition", request.partition_name, self._limits)
        self._proxy.drop_partition(call.database, request.collection_name, request.partition_name)
        return success()

    def has(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name)
        return messages.BoolResponse(value=found.partition(request.partition_name) is not None)

    def show(self, call: Call, request: Any) -> Any:
        collection = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        found = _named(collection, request.partition_names)
        answer = messages.ShowPartitionsResponse()
        if request.type == IN_MEMORY:
            loaded = self._proxy.loaded_partitions(call.database, collection.name)
            found = [p for p in found if p.name in loaded]
            answer.inMemory_percentages.extend(loaded[p.name] for p in found)
        answer.partition_names.extend(p.name for p in found)
        answer.partitionIDs.extend(p.id for p in found)
        answer.created_timestamps.extend(p.created_ts for p in found)
        answer.created_utc_timestamps.extend(to_ms(p.created_ts) for p in found)
        return answer

    def statistics(self, call: Call, request: Any) -> Any:
        check_name("partition", request.partition_name, self._limits)
        rows = self._proxy.row_count(call.database, request.collection_name, request.partition_name)
        return messages.GetPartitionStatisticsResponse(stats=to_pairs({"row_count": str(rows)}))


def _named(collection: Collection, names: Any) -> list[Partition]:
    """The partitions called so, all of them where no name is given. Raises PartitionNotFound."""
    if not names:
        return list(collection.partitions)
    found = []
    for name in names:
        partition = collection.partition(name)
        if partition is None:
            raise PartitionNotFound(f"partition {name!r} does not exist in collection {collection.name!r}")
        found.append(partition)
    return found
