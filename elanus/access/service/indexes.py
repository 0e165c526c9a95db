"""Indexes: create, describe, drop, state, progress, statistics."""

from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.requests import IndexState
from elanus.access.translate.params import pairs, to_pairs
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.errors import IndexNotFound, InvalidParameter
from elanus.model.index_parameters import AUTOINDEX, HYBRID
from elanus.model.limits import Limits

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_IN_PROGRESS, _FINISHED, _FAILED = 2, 3, 4
"""`common.IndexState`."""


class Indexes:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        if request.index_name:
            check_name("index", request.index_name, self._limits)
        params = pairs(request.extra_params)
        size = sum(len(key.encode()) + len(value.encode()) for key, value in params.items())
        if size > self._limits.index_params_size:
            raise InvalidParameter(
                f"the index parameters have {size} bytes; "
                f"at most {self._limits.index_params_size} are allowed"
            )
        self._proxy.create_index(
            call.database, request.collection_name, request.field_name, request.index_name, params
        )
        return success()

    def describe(self, call: Call, request: Any) -> Any:
        found = self._find(call, request, request.field_name)
        return messages.DescribeIndexResponse(index_descriptions=[_description(i) for i in found])

    def statistics(self, call: Call, request: Any) -> Any:
        found = self._find(call, request)
        return messages.GetIndexStatisticsResponse(index_descriptions=[_description(i) for i in found])

    def alter(self, call: Call, request: Any) -> Any:
        self._proxy.alter_index(
            call.database,
            request.collection_name,
            request.index_name,
            pairs(request.extra_params),
            list(request.delete_keys),
        )
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        self._proxy.drop_index(call.database, request.collection_name, request.field_name, request.index_name)
        return success()

    def state(self, call: Call, request: Any) -> Any:
        found = self._find(call, request, request.field_name)
        failures = [i.failure for i in found if i.failure]
        return messages.GetIndexStateResponse(
            state=_FAILED if failures else min(_state(i) for i in found), fail_reason="; ".join(failures)
        )

    def progress(self, call: Call, request: Any) -> Any:
        found = self._find(call, request, request.field_name)
        return messages.GetIndexBuildProgressResponse(
            indexed_rows=sum(i.indexed_rows for i in found), total_rows=sum(i.total_rows for i in found)
        )

    def _find(self, call: Call, request: Any, field: str = "") -> list[IndexState]:
        """At least one index. Raises IndexNotFound."""
        found = self._proxy.indexes(call.database, request.collection_name, field, request.index_name)
        if not found:
            what = f"index {request.index_name!r}" if request.index_name else "an index"
            where = f"field {field!r} of collection" if field else "collection"
            raise IndexNotFound(f"{what} does not exist on {where} {request.collection_name!r}")
        return found


def _state(index: IndexState) -> int:
    if index.failure:
        return _FAILED
    return _IN_PROGRESS if index.pending_rows else _FINISHED


def _description(index: IndexState) -> Any:
    """The parameters as the client sent them; type and metric always, as some clients send none."""
    definition = index.definition
    # Which type a segment got is no client's business.
    params = {"index_type": AUTOINDEX if definition.type == HYBRID else definition.type}
    if definition.metric is not None:
        params["metric_type"] = str(definition.metric)
    params |= {key: value for key, value in definition.requested.items() if value != ""}
    return messages.IndexDescription(
        index_name=definition.name,
        indexID=definition.id,
        params=to_pairs(params),
        field_name=index.field_name,
        indexed_rows=index.indexed_rows,
        total_rows=index.total_rows,
        pending_index_rows=index.pending_rows,
        state=_state(index),
        index_state_fail_reason=index.failure,
    )
