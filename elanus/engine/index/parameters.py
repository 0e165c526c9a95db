"""Index and search parameters: names, ranges and defaults, declared once."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from elanus.model.errors import InvalidParameter
from elanus.model.schema import Field
from elanus.model.types import DataType, Metric

_INT32_MAX = 2**31 - 1
SMALLEST_DEFAULT_EF = 16
RANGE_SEARCH_EF = 512
"""`ef` of a range search that gives none: a range may hold many rows."""
RADIUS, RANGE_FILTER = "radius", "range_filter"


class IntParameter(NamedTuple):
    """An integer from `low` to `high`; `default` None: derived from the request."""

    name: str
    low: int
    high: int
    default: int | None


class Family(NamedTuple):
    """What an index type accepts."""

    build: tuple[IntParameter, ...]
    search: tuple[IntParameter, ...]
    field_types: frozenset[DataType]
    metrics: frozenset[Metric]


_FLOAT_VECTORS = frozenset({DataType.FLOAT_VECTOR})
_FLOAT_METRICS = frozenset({Metric.L2, Metric.IP, Metric.COSINE})

FAMILIES = {
    "FLAT": Family((), (), _FLOAT_VECTORS, _FLOAT_METRICS),
    "IVF_FLAT": Family(
        (IntParameter("nlist", 1, 65_536, 128),),
        (IntParameter("nprobe", 1, 65_536, 8),),
        _FLOAT_VECTORS,
        _FLOAT_METRICS,
    ),
    "HNSW": Family(
        (IntParameter("M", 2, 2048, 30), IntParameter("efConstruction", 1, _INT32_MAX, 360)),
        (IntParameter("ef", 1, _INT32_MAX, None),),
        _FLOAT_VECTORS,
        _FLOAT_METRICS,
    ),
}
AUTOINDEX = "AUTOINDEX"
AUTOINDEX_TYPE = "HNSW"
AUTOINDEX_BUILD: dict[str, int] = {"M": 18, "efConstruction": 240}


def resolve(type: str) -> str:
    """The type that is built for the name a client gave. Raises InvalidParameter."""
    if type == AUTOINDEX:
        return AUTOINDEX_TYPE
    if type not in FAMILIES:
        known = ", ".join([*FAMILIES, AUTOINDEX])
        raise InvalidParameter(f"index type {type!r} is not known; there are {known}")
    return type


def check_build(type: str, metric: Metric, params: Mapping[str, Any], field: Field) -> dict[str, Any]:
    """Typed build parameters with defaults; parameters the type has no use for are left out.

    Raises InvalidParameter with what would be right.
    """
    family = FAMILIES[resolve(type)]
    if field.type not in family.field_types:
        allowed = ", ".join(sorted(t.name for t in family.field_types))
        raise InvalidParameter(
            f"index type {type} cannot be built on field {field.name!r} of type {field.type.name}; "
            f"it takes {allowed}"
        )
    if metric not in family.metrics:
        allowed = ", ".join(sorted(family.metrics))
        raise InvalidParameter(
            f"metric type {metric} is not supported by index type {type}; it takes {allowed}"
        )
    if type == AUTOINDEX:
        params = {**AUTOINDEX_BUILD, **params}
    return {p.name: _integer(p, params[p.name]) if p.name in params else p.default for p in family.build}


def check_search(
    type: str, params: Mapping[str, Any], k: int, metric: Metric | None = None
) -> dict[str, Any]:
    """Typed search parameters with defaults, `radius` and `range_filter` (floats) where they are given.

    With a `metric`, checks that the range is not empty: range_filter < radius for L2, the other way round for
    IP and COSINE. Parameters of other index types are left out. Raises InvalidParameter.
    """
    name = resolve(type)
    checked: dict[str, Any] = {
        p.name: _integer(p, params[p.name]) if params.get(p.name) is not None else p.default
        for p in FAMILIES[name].search
    }
    checked.update({n: _number(n, params[n]) for n in (RADIUS, RANGE_FILTER) if params.get(n) is not None})
    _check_range(checked, metric)
    if name == "HNSW":
        smallest = RANGE_SEARCH_EF if RADIUS in checked else max(k, SMALLEST_DEFAULT_EF)
        # A beam narrower than k cannot answer k rows.
        checked["ef"] = max(checked["ef"] or smallest, k)
    return checked


def _check_range(checked: Mapping[str, Any], metric: Metric | None) -> None:
    if RANGE_FILTER not in checked:
        return
    if RADIUS not in checked:
        raise InvalidParameter(f"{RANGE_FILTER} is given without {RADIUS}; give both or only {RADIUS}")
    radius, inner = checked[RADIUS], checked[RANGE_FILTER]
    if metric is None:
        return
    if metric.larger_is_nearer and inner <= radius:
        raise InvalidParameter(
            f"{RANGE_FILTER} ({inner:g}) must be greater than {RADIUS} ({radius:g}) for metric {metric}"
        )
    if not metric.larger_is_nearer and inner >= radius:
        raise InvalidParameter(
            f"{RANGE_FILTER} ({inner:g}) must be less than {RADIUS} ({radius:g}) for metric {metric}"
        )


def _integer(parameter: IntParameter, value: Any) -> int:
    """`value` is the client's: a number or its text."""
    try:
        number = None if isinstance(value, bool) else int(value)
        if isinstance(value, float) and number != value:
            number = None
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise InvalidParameter(f"{parameter.name} is {value!r}; it must be an integer")
    if not parameter.low <= number <= parameter.high:
        raise InvalidParameter(
            f"{parameter.name} is {number}; it must be in [{parameter.low}, {parameter.high}]"
        )
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise InvalidParameter(f"{name} is {value!r}; it must be a number")
    return number
