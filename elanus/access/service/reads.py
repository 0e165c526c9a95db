"""Reads: search, query."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from elanus.access.calls import Call
from elanus.access.requests import Query, Read, Search
from elanus.access.translate import params
from elanus.access.translate.placeholders import queries
from elanus.access.translate.results import keys, query_results, search_results
from elanus.access.validation import check_output, check_query, check_search
from elanus.model.errors import InvalidParameter, MissingParameter, Unimplemented
from elanus.model.limits import Limits
from elanus.model.types import DataType

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_QUERY_NOT_BUILT = frozenset(
    {"order_by_fields", "group_by_fields", "group_by_field", "query_iter_last_element_offset"}
)


class Reads:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._proxy = proxy
        self._limits = limits
        self._large = limits.large
        self._least = min(limits.top_k, limits.result_window)

    def search(self, call: Call, request: Any) -> Any:
        _refuse_search(request)
        query_type, vectors, keys = _queries(request)
        asked = _asked(tuple([(pair.key, pair.value) for pair in request.search_params]))
        search = Search(
            database=call.database,
            collection=request.collection_name,
            partitions=tuple(request.partition_names),
            expression=request.dsl,
            templates=params.templates(request.expr_template_values),
            output_fields=tuple(request.output_fields),
            consistency_level=params.consistency(request),
            guarantee_ts=request.guarantee_timestamp,
            iterator=asked.iterator,
            at_ts=params.session(request, asked.iterator),
            ignore_growing=asked.ignore_growing,
            queries=vectors,
            ids=keys,
            query_type=query_type,
            field=asked.field,
            limit=asked.limit,
            offset=asked.offset,
            metric=asked.metric,
            params=asked.index,
            round_decimal=asked.round_decimal,
            group=asked.group,
            page=asked.page,
        )
        check_search(search, self._limits_of(search, search.limit + search.offset))
        result = self._proxy.search(search)
        call.check()
        check_output(result.rows.columns.nbytes, self._limits)
        return search_results(result, result.rows.schema, request.collection_name, search.page)

    def query(self, call: Call, request: Any) -> Any:
        _refuse_namespace(request)
        given = params.pairs(request.query_params)
        params.refuse_not_built(given, _QUERY_NOT_BUILT)
        iterator = params.flag(given, "iterator")
        query = Query(
            database=call.database,
            collection=request.collection_name,
            partitions=tuple(request.partition_names),
            expression=request.expr,
            templates=params.templates(request.expr_template_values),
            output_fields=tuple(request.output_fields),
            consistency_level=params.consistency(request),
            guarantee_ts=request.guarantee_timestamp,
            iterator=iterator,
            at_ts=params.session(request, iterator),
            ignore_growing=params.flag(given, "ignore_growing"),
            limit=params.integer(given, "limit", 0) if "limit" in given else None,
            offset=params.integer(given, "offset", 0),
        )
        check_query(query, self._limits_of(query, (query.limit or 0) + query.offset))
        result = self._proxy.query(query)
        call.check()
        check_output(result.rows.columns.nbytes, self._limits)
        return query_results(result, result.rows.schema, request.collection_name)

    def _limits_of(self, read: Read, window: int) -> Limits:
        """The usual ones, but for a collection that may answer more."""
        if window > self._least and self._proxy.collection(read.database, read.collection).large_top_k:
            return self._large
        return self._limits


def _queries(request: Any) -> tuple[DataType, npt.NDArray[Any], pa.Array | None]:
    """The type of the query vectors and the vectors, or the primary keys of the rows that hold them."""
    if request.HasField("ids"):
        found = keys(request.ids)
        if not len(found):
            raise InvalidParameter("ids is empty; give at least one primary key")
        return DataType.FLOAT_VECTOR, np.empty((0, 0), np.float32), found
    if not request.placeholder_group:
        raise MissingParameter("the search has no query vectors (placeholder_group); give at least one")
    query_type, vectors = queries(request.placeholder_group)
    if request.nq not in (0, len(vectors)):
        raise InvalidParameter(f"nq is {request.nq}, but {len(vectors)} query vectors came with the search")
    return query_type, vectors, None


_SEARCH_NOT_BUILT = {
    "sub_reqs": "a search with sub-requests",
    "function_score": "a function score (reranker)",
    "highlighter": "a highlighter",
    "search_aggregation": "a search aggregation",
    "function_chains": "a function chain",
}
_LISTS_NOT_BUILT = ("sub_reqs", "function_chains")
_MESSAGES_NOT_BUILT = tuple(name for name in _SEARCH_NOT_BUILT if name not in _LISTS_NOT_BUILT)

PARAMETERS_KEPT = 1024
"""Sets of search parameters that are remembered: the same ones come again and again."""


@lru_cache(PARAMETERS_KEPT)
def _asked(pairs: tuple[tuple[str, str], ...]) -> params.SearchParams:
    return params.search_params(params.once(pairs))


def _refuse_search(request: Any) -> None:
    _refuse_namespace(request)
    for name in _MESSAGES_NOT_BUILT:
        if request.HasField(name):
            raise Unimplemented(f"{_SEARCH_NOT_BUILT[name]} is not implemented")
    for name in _LISTS_NOT_BUILT:
        if len(getattr(request, name)):
            raise Unimplemented(f"{_SEARCH_NOT_BUILT[name]} is not implemented")


def _refuse_namespace(request: Any) -> None:
    if request.namespace:
        raise Unimplemented(f"namespaces are not implemented; the request names {request.namespace!r}")
