"""Collections: create, drop, has, describe, show, statistics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.requests import CreateCollection
from elanus.access.translate.params import pairs, to_pairs
from elanus.access.translate.schemas import from_schema, parse, to_schema
from elanus.access.translate.statuses import success
from elanus.access.validation import check_collection
from elanus.model.errors import CollectionNotFound, CollectionNotLoaded, InvalidParameter
from elanus.model.limits import Limits
from elanus.model.nouns import Channel, Collection, LoadState
from elanus.model.timestamps import to_ms
from elanus.model.types import ConsistencyLevel

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

IN_MEMORY = 1
"""`ShowType.InMemory`: the loaded ones only."""
COMPLETE = 100


class Collections:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        message = parse(request.schema)
        asked = CreateCollection(
            database=call.database,
            name=request.collection_name or message.name,
            schema=to_schema(message),
            shards=request.shards_num or 1,
            consistency_level=_level(request.consistency_level),
            properties=pairs(request.properties) | pairs(message.properties),
            partitions=request.num_partitions,
        )
        check_collection(asked, self._limits)
        self._proxy.create_collection(asked)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        self._proxy.drop_collection(call.database, request.collection_name)
        return success()

    def has(self, call: Call, request: Any) -> Any:
        try:
            self._proxy.collection(call.database, request.collection_name)
        except CollectionNotFound:
            return messages.BoolResponse(value=False)
        return messages.BoolResponse(value=True)

    def describe(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        return messages.DescribeCollectionResponse(
            schema=from_schema(found.schema, found.name, call.database),
            collectionID=found.id,
            virtual_channel_names=[_virtual(c, found) for c in found.channels],
            physical_channel_names=[_physical(c) for c in found.channels],
            created_timestamp=found.created_ts,
            created_utc_timestamp=to_ms(found.created_ts),
            update_timestamp=found.created_ts,
            shards_num=len(found.channels),
            aliases=self._proxy.aliases_of(found),
            consistency_level=int(found.consistency_level),
            collection_name=found.name,
            properties=to_pairs(found.properties),
            db_name=call.database,
            num_partitions=len(found.partitions),
            db_id=found.database_id,
        )

    def show(self, call: Call, request: Any) -> Any:
        names = frozenset(request.collection_names)
        found = [c for c in self._proxy.collections(call.database) if not names or c.name in names]
        missing = names - {c.name for c in found}
        if missing:
            raise CollectionNotFound(f"collection {min(missing)!r} does not exist in {call.database!r}")
        answer = messages.ShowCollectionsResponse()
        if request.type == IN_MEMORY:
            found = self._add_loaded(answer, call.database, found, strict=bool(names))
        answer.collection_names.extend(c.name for c in found)
        answer.collection_ids.extend(c.id for c in found)
        answer.created_timestamps.extend(c.created_ts for c in found)
        answer.created_utc_timestamps.extend(to_ms(c.created_ts) for c in found)
        answer.shards_num.extend(len(c.channels) for c in found)
        return answer

    def _add_loaded(
        self, answer: Any, database: str, collections: Iterable[Collection], *, strict: bool
    ) -> list[Collection]:
        """The loaded ones; `strict`: one that was asked for by name and is not loaded is an error."""
        loaded = []
        for collection in collections:
            progress = self._proxy.load_progress(database, collection.name, [])
            if progress.state in (LoadState.LOADING, LoadState.LOADED):
                loaded.append(collection)
                answer.inMemory_percentages.append(progress.percent)
                answer.query_service_available.append(progress.percent >= COMPLETE)
            elif strict:
                raise CollectionNotLoaded(f"collection {collection.name!r} is not loaded; load it first")
        return loaded

    def statistics(self, call: Call, request: Any) -> Any:
        rows = self._proxy.row_count(call.database, request.collection_name)
        return messages.GetCollectionStatisticsResponse(stats=to_pairs({"row_count": str(rows)}))


def _level(number: int) -> ConsistencyLevel:
    try:
        return ConsistencyLevel(number)
    except ValueError:
        raise InvalidParameter(f"consistency_level is {number}; it must be in [0, 4]") from None


def _physical(channel: Channel) -> str:
    return f"elanus-{channel.log}"


def _virtual(channel: Channel, collection: Collection) -> str:
    """Clients take the collection's id out of names of this shape."""
    return f"{_physical(channel)}_{collection.id}v{collection.channels.index(channel)}"
