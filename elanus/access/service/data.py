"""Writes: insert, upsert, delete, flush."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import DEFAULT_DATABASE, Call
from elanus.access.protocol import messages
from elanus.access.requests import Delete, Write, Written
from elanus.access.translate.params import templates
from elanus.access.translate.results import ids
from elanus.access.translate.rows import to_batch
from elanus.access.validation import check_rows
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter, MissingParameter, Unimplemented
from elanus.model.limits import Limits
from elanus.model.nouns import Collection

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_MS = 1000


class Data:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def insert(self, call: Call, request: Any) -> Any:
        written = self._proxy.insert(self._write(call, request, upsert=False))
        return _mutation(written, insert_cnt=written.count)

    def upsert(self, call: Call, request: Any) -> Any:
        if request.partial_update or request.field_ops:
            raise Unimplemented("a partial update is not implemented; send every field of the rows")
        written = self._proxy.upsert(self._write(call, request, upsert=True))
        return _mutation(written, upsert_cnt=written.count)

    def delete(self, call: Call, request: Any) -> Any:
        _refuse_namespace(request)
        written = self._proxy.delete(
            Delete(
                database=call.database,
                collection=request.collection_name,
                partition=request.partition_name,
                expression=request.expr,
                templates=templates(request.expr_template_values),
            )
        )
        return _mutation(written, delete_cnt=written.count)

    def flush(self, call: Call, request: Any) -> Any:
        names = list(request.collection_names)
        if not names:
            raise InvalidParameter("collection_names is empty; name at least one collection")
        answer = messages.FlushResponse(db_name=call.database)
        for name, flushed in self._proxy.flush(call.database, names).items():
            answer.coll_segIDs[name].data.extend(flushed.segments)
            answer.flush_coll_segIDs[name].data.extend(flushed.flushed_segments)
            answer.coll_seal_times[name] = flushed.seal_ms // _MS
            answer.coll_flush_ts[name] = flushed.ts
        return answer

    def flush_all(self, call: Call, request: Any) -> Any:
        latest = 0
        for database, names in self._targets(request).items():
            for flushed in self._proxy.flush(database, names).values():
                latest = max(latest, flushed.ts)
        return messages.FlushAllResponse(flush_all_ts=latest or self._proxy.allocate_timestamp())

    def flush_all_state(self, call: Call, request: Any) -> Any:
        done = all(
            self._proxy.flush_state(database, name, request.flush_all_ts)
            for database, names in self._targets(request).items()
            for name in names
        )
        return messages.GetFlushAllStateResponse(flushed=done)

    def _targets(self, request: Any) -> dict[str, list[str]]:
        """Database names and their collections: those asked for, else everything there is."""
        named = {t.db_name or DEFAULT_DATABASE: list(t.collection_names) for t in request.flush_targets}
        if not named:
            databases = [request.db_name] if request.db_name else [d.name for d in self._proxy.databases()]
            named = {name: [] for name in databases}
        return {
            database: names or [c.name for c in self._proxy.collections(database)]
            for database, names in named.items()
        }

    def flush_state(self, call: Call, request: Any) -> Any:
        """Old clients name segments only, which a Flush here lists when they are sealed."""
        if request.collection_name:
            done = self._proxy.flush_state(call.database, request.collection_name, request.flush_ts)
            return messages.GetFlushStateResponse(flushed=done)
        if not request.segmentIDs:
            raise MissingParameter("collection_name and segmentIDs are both missing; give the collection")
        return messages.GetFlushStateResponse(flushed=True)

    def _write(self, call: Call, request: Any, *, upsert: bool) -> Write:
        _refuse_namespace(request)
        collection = self._proxy.collection(call.database, request.collection_name)
        _check_schema_ts(collection, request.schema_timestamp)
        schema = collection.schema
        rows = to_batch(request.fields_data, request.num_rows, schema)
        check_rows(schema, rows, self._limits, upsert=upsert, takes_keys=collection.takes_keys)
        return Write(
            database=call.database,
            collection=request.collection_name,
            partition=request.partition_name,
            rows=rows,
        )


def _check_schema_ts(collection: Collection, ts: int) -> None:
    """Clients that keep schemas send the time of theirs, and read it again when it is too old."""
    latest = collection.updated_ts or collection.created_ts
    if 0 < ts < latest:
        raise ElanusError(
            f"the schema of collection {collection.name!r} changed at {latest}, the rows were made for that "
            f"of {ts}; describe the collection again",
            Code.COLLECTION_SCHEMA_MISMATCH,
        )


def _refuse_namespace(request: Any) -> None:
    if request.namespace:
        raise Unimplemented(f"namespaces are not implemented; the request names {request.namespace!r}")


def _mutation(written: Written, **counts: int) -> Any:
    return messages.MutationResult(
        IDs=ids(written.keys), succ_index=range(len(written.keys)), timestamp=written.ts, **counts
    )
