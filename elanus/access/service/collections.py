"""Collections: create, drop, has, describe, show, statistics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.requests import CreateCollection
from elanus.access.translate.params import pairs, to_pairs
from elanus.access.translate.schemas import from_schema, parse, parse_field, to_field, to_schema
from elanus.access.translate.statuses import status_of, success
from elanus.access.validation import check_added, check_collection, check_description, check_name, check_sizes
from elanus.model.errors import CollectionNotFound, CollectionNotLoaded, InvalidParameter
from elanus.model.limits import Limits
from elanus.model.nouns import Channel, Collection, LoadState
from elanus.model.properties import DESCRIPTION
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
        _refuse_other_name(request.collection_name, message.name)
        schema = to_schema(message)
        keyed = schema.partition_key is not None
        asked = CreateCollection(
            database=call.database,
            name=request.collection_name or message.name,
            schema=schema,
            shards=request.shards_num or 1,
            consistency_level=_level(request.consistency_level),
            properties=pairs(request.properties) | pairs(message.properties),
            partitions=request.num_partitions or (self._limits.partition_key_partitions if keyed else 0),
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

    def rename(self, call: Call, request: Any) -> Any:
        check_name("collection", request.newName, self._limits)
        self._proxy.rename_collection(
            call.database, request.oldName, request.newDBName or call.database, request.newName
        )
        return success()

    def alter(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        properties = pairs(request.properties)
        check_description(properties.get(DESCRIPTION, ""), self._limits)
        self._proxy.alter_collection(call.database, found.name, properties, list(request.delete_keys))
        return success()

    def alter_field(self, call: Call, request: Any) -> Any:
        properties = pairs(request.properties)
        check_sizes(properties, self._limits)
        self._proxy.alter_field(
            call.database, request.collection_name, request.field_name, properties, list(request.delete_keys)
        )
        return success()

    def add_field(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        field = to_field(parse_field(request.schema))
        check_added(field, found.schema, self._limits)
        self._proxy.add_field(call.database, found.name, field)
        return success()

    def truncate(self, call: Call, request: Any) -> Any:
        self._proxy.truncate_collection(call.database, request.collection_name)
        return messages.TruncateCollectionResponse(status=success())

    def describe(self, call: Call, request: Any) -> Any:
        found = self._proxy.collection(call.database, request.collection_name, request.collectionID)
        return self._description(call, found)

    def describe_batch(self, call: Call, request: Any) -> Any:
        """One description a name, or an id, in their order; of one that is missing, its error."""
        wanted = [(name, 0) for name in request.collection_name] or [("", id) for id in request.collectionID]
        answer = messages.BatchDescribeCollectionResponse()
        for name, id in wanted:
            try:
                answer.responses.append(
                    self._description(call, self._proxy.collection(call.database, name, id))
                )
            except CollectionNotFound as error:
                answer.responses.append(messages.DescribeCollectionResponse(status=status_of(error)))
        return answer

    def _description(self, call: Call, found: Collection) -> Any:
        updated = found.updated_ts or found.created_ts
        return messages.DescribeCollectionResponse(
            schema=from_schema(found.schema, found.name, call.database),
            collectionID=found.id,
            virtual_channel_names=[virtual_name(c, found) for c in found.channels],
            physical_channel_names=[physical_name(c) for c in found.channels],
            created_timestamp=found.created_ts,
            created_utc_timestamp=to_ms(found.created_ts),
            update_timestamp=updated,
            update_timestamp_str=str(updated),
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
        names = list(request.collection_names)
        if names:
            found = [self._proxy.collection(call.database, name) for name in names]
        else:
            found = self._proxy.collections(call.database)
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


def _refuse_other_name(name: str, in_schema: str) -> None:
    """Clients send the name twice; which of two to take is not for us to guess."""
    if name and in_schema and name != in_schema:
        raise InvalidParameter(
            f"the collection is called {name!r} in the request and {in_schema!r} in the schema; "
            "give the same name, or only one"
        )


def physical_name(channel: Channel) -> str:
    return f"elanus-{channel.log}"


def virtual_name(channel: Channel, collection: Collection) -> str:
    """Clients take the collection's id out of names of this shape."""
    return f"{physical_name(channel)}_{collection.id}v{collection.channels.index(channel)}"
