"""Loading: load, release, progress, state."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.translate.statuses import success
from elanus.model.errors import CollectionNotFound, CollectionNotLoaded, InvalidParameter, PartitionNotLoaded
from elanus.model.nouns import LoadState

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_STATES = {
    LoadState.NOT_EXIST: 0,
    LoadState.NOT_LOADED: 1,
    LoadState.LOADING: 2,
    LoadState.LOADED: 3,
}
"""`common.LoadState`."""


class Loading:
    def __init__(self, proxy: "Proxy") -> None:
        self._proxy = proxy

    def load_collection(self, call: Call, request: Any) -> Any:
        self._load(call, request, [])
        return success()

    def load_partitions(self, call: Call, request: Any) -> Any:
        self._load(call, request, _partitions(request))
        return success()

    def _load(self, call: Call, request: Any, partitions: list[str]) -> None:
        self._proxy.load(
            call.database,
            request.collection_name,
            partitions,
            request.replica_number or 1,
            list(request.load_fields),
            request.refresh,
        )

    def release_collection(self, call: Call, request: Any) -> Any:
        self._proxy.release(call.database, request.collection_name, [])
        return success()

    def release_partitions(self, call: Call, request: Any) -> Any:
        self._proxy.release(call.database, request.collection_name, _partitions(request))
        return success()

    def progress(self, call: Call, request: Any) -> Any:
        """Clients poll this after a load; of what nobody loaded there is no progress."""
        names = list(request.partition_names)
        found = self._proxy.load_progress(call.database, request.collection_name, names)
        if found.state is LoadState.NOT_EXIST:
            raise CollectionNotFound(f"collection {request.collection_name!r} does not exist")
        if found.state is LoadState.NOT_LOADED:
            if names:
                raise PartitionNotLoaded(
                    f"partitions {', '.join(names)} of collection {request.collection_name!r} are not loaded"
                )
            raise CollectionNotLoaded(f"collection {request.collection_name!r} is not loaded; load it first")
        return messages.GetLoadingProgressResponse(progress=found.percent, refresh_progress=found.percent)

    def state(self, call: Call, request: Any) -> Any:
        try:
            found = self._proxy.load_progress(
                call.database, request.collection_name, list(request.partition_names)
            ).state
        except CollectionNotFound:
            found = LoadState.NOT_EXIST
        return messages.GetLoadStateResponse(state=_STATES[found])


def _partitions(request: Any) -> list[str]:
    names = list(request.partition_names)
    if not names:
        raise InvalidParameter("partition_names is empty; name at least one partition")
    return names
