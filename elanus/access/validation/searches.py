"""Searches and queries: how many vectors, of which type and dimension, how many rows back."""

import math

import numpy as np
import numpy.typing as npt

from elanus.access.requests import Query, Search
from elanus.model.columns import STORED
from elanus.model.errors import InvalidParameter, TooLarge, Unimplemented
from elanus.model.limits import UNLIMITED, Limits
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

_MAX_DECIMALS = 6


def check_search(search: Search, limits: Limits) -> None:
    """What can be judged without the collection. Raises InvalidParameter."""
    nq = search.nq
    if not 1 <= nq <= limits.queries:
        raise InvalidParameter(
            f"nq (the number of search vectors) is {nq}; it must be in [1, {limits.queries}]"
        )
    if not 1 <= search.limit <= limits.top_k:
        raise InvalidParameter(f"limit (topk) is {search.limit}; it must be in [1, {limits.top_k}]")
    _check_window(search.limit, search.offset, limits.top_k)
    entries = nq * search.limit * (search.group.size if search.group else 1)
    if limits.result_entries != UNLIMITED and entries > limits.result_entries:
        raise InvalidParameter(
            f"the search asks for {entries} hits (nq x limit x group_size); at most "
            f"{limits.result_entries} are allowed"
        )
    if search.group is not None and not 1 <= search.group.size <= limits.group_size:
        raise InvalidParameter(f"group_size is {search.group.size}; it must be in [1, {limits.group_size}]")
    if search.iterator and (nq != 1 or search.offset):
        raise InvalidParameter(
            f"a page of a search iterator takes 1 query vector and no offset; nq is {nq}, "
            f"offset {search.offset}"
        )
    if search.round_decimal != -1 and not 0 <= search.round_decimal <= _MAX_DECIMALS:
        raise InvalidParameter(
            f"round_decimal is {search.round_decimal}; it must be -1 or in [0, {_MAX_DECIMALS}]"
        )


def check_query(query: Query, limits: Limits) -> None:
    """Raises InvalidParameter."""
    if query.limit is None:
        if query.offset:
            raise InvalidParameter(f"offset is {query.offset} without a limit; give both")
        return
    if query.limit < 1:
        raise InvalidParameter(f"limit is {query.limit}; it must be at least 1")
    _check_window(query.limit, query.offset, limits.result_window)


def check_output(size: int, limits: Limits) -> None:
    """`size`: bytes of the output fields found. Raises TooLarge."""
    if size > limits.output_size:
        raise TooLarge(
            f"the rows found have {size} bytes; at most {limits.output_size} are answered at once: "
            "ask for fewer rows or fields, or use an iterator"
        )


def _check_window(limit: int, offset: int, most: int) -> None:
    if offset < 0:
        raise InvalidParameter(f"offset is {offset}; it must be at least 0")
    if limit + offset > most:
        raise InvalidParameter(
            f"offset + limit is {offset} + {limit} = {offset + limit}; it must be at most {most}"
        )


def vector_field(schema: Schema, name: str) -> Field:
    """The field to search. Raises InvalidParameter where the name is missing or is not a vector's."""
    if not name:
        vectors = list(schema.vectors)
        if len(vectors) == 1:
            return vectors[0]
        names = ", ".join(f.name for f in vectors)
        raise InvalidParameter(f"anns_field is missing; the collection has the vector fields {names}")
    field = schema.field(name)
    if not field.type.is_vector:
        raise InvalidParameter(f"anns_field {name!r} is {field.type.name}; it must be a vector field")
    return field


def check_vectors(search: Search, field: Field, metric: Metric | None) -> None:
    """The query vectors against the field they search, and the metric against its index (None: no index).

    Raises InvalidParameter, Unimplemented.
    """
    if search.query_type is not field.type:
        raise InvalidParameter(
            f"the query vectors are {search.query_type.name}; field {field.name!r} is {field.type.name}"
        )
    if field.type not in STORED:
        raise Unimplemented(f"a search in field {field.name!r} of type {field.type.name} is not implemented")
    binary = field.type is DataType.BINARY_VECTOR
    dim = search.queries.shape[1] * (8 if binary else 1)
    if dim != field.dim:
        raise InvalidParameter(
            f"the query vectors have dimension {dim}; field {field.name!r} has dimension {field.dim}"
        )
    if not binary:
        _check_finite(search.queries)
    asked = search.metric.upper()
    if asked and asked not in Metric.__members__:
        raise InvalidParameter(f"metric_type is {search.metric!r}; it must be one of {', '.join(Metric)}")
    if asked and metric is not None and asked != metric:
        raise InvalidParameter(
            f"metric_type is {search.metric}; the index of field {field.name!r} was built with {metric}"
        )


def _check_finite(queries: npt.NDArray[np.float32]) -> None:
    if math.isfinite(float(queries.sum(dtype=np.float64))):
        return
    finite = np.isfinite(queries)
    if not finite.all():
        row, element = (int(i) for i in np.argwhere(~finite)[0])
        raise InvalidParameter(
            f"query vector {row}: element {element} is {queries[row, element]}; it must be a finite number"
        )
