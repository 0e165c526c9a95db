"""Index and search parameters: names, ranges and defaults, declared once."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from elanus.model.errors import InvalidParameter, MissingParameter, Unimplemented
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
    """What a vector index type accepts. `file`: it is built and stored; else it is the vectors themselves."""

    build: tuple[IntParameter, ...]
    search: tuple[IntParameter, ...]
    field_types: frozenset[DataType]
    metrics: frozenset[Metric]
    file: bool = True


class ScalarFamily(NamedTuple):
    """What a scalar index type accepts: fields, elements of arrays, casts of JSON values."""

    field_types: frozenset[DataType]
    casts: frozenset[str] = frozenset()
    primary: bool = True


_BINARY_VECTORS = frozenset({DataType.BINARY_VECTOR})
_FLOAT_VECTORS = frozenset({DataType.FLOAT_VECTOR, DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR})
_DENSE_VECTORS = _FLOAT_VECTORS | {DataType.INT8_VECTOR}
FLOAT_METRICS = frozenset({Metric.L2, Metric.IP, Metric.COSINE})
BINARY_METRICS = frozenset({Metric.HAMMING, Metric.JACCARD})
_NLIST = IntParameter("nlist", 1, 65_536, 128)
_NPROBE = IntParameter("nprobe", 1, 65_536, 8)

FAMILIES = {
    "FLAT": Family((), (), _FLOAT_VECTORS, FLOAT_METRICS, file=False),
    "IVF_FLAT": Family((_NLIST,), (_NPROBE,), _FLOAT_VECTORS, FLOAT_METRICS),
    "IVF_SQ8": Family((_NLIST,), (_NPROBE,), _FLOAT_VECTORS, FLOAT_METRICS),
    "IVF_PQ": Family(
        (_NLIST, IntParameter("m", 1, 65_536, None), IntParameter("nbits", 1, 24, 8)),
        (_NPROBE,),
        _FLOAT_VECTORS,
        FLOAT_METRICS,
    ),
    "HNSW": Family(
        (IntParameter("M", 2, 2048, 30), IntParameter("efConstruction", 1, _INT32_MAX, 360)),
        (IntParameter("ef", 1, _INT32_MAX, None),),
        _DENSE_VECTORS,
        FLOAT_METRICS,
    ),
    "BIN_FLAT": Family((), (), _BINARY_VECTORS, BINARY_METRICS, file=False),
    "BIN_IVF_FLAT": Family((_NLIST,), (_NPROBE,), _BINARY_VECTORS, BINARY_METRICS),
}
_SEARCHED_WITH = frozenset(p.name for family in FAMILIES.values() for p in family.search)
AUTOINDEX = "AUTOINDEX"
_AUTOINDEX: dict[bool, tuple[str, dict[str, int]]] = {
    False: ("HNSW", {"M": 18, "efConstruction": 240}),
    True: ("BIN_IVF_FLAT", {"nlist": 1024}),
}
"""What AUTOINDEX builds, for binary vectors (True) and for the others."""

_TEXT = frozenset({DataType.VARCHAR})
_WHOLE = frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64})
_NUMBERS = _WHOLE | {DataType.FLOAT, DataType.DOUBLE}
_NESTED = frozenset({DataType.ARRAY, DataType.JSON})
_SCALAR_CASTS = frozenset({"BOOL", "DOUBLE", "VARCHAR"})
_ARRAY_CASTS = frozenset({"ARRAY_BOOL", "ARRAY_DOUBLE", "ARRAY_VARCHAR"})

SCALAR_FAMILIES = {
    "INVERTED": ScalarFamily(_NUMBERS | _TEXT | _NESTED | {DataType.BOOL}, _SCALAR_CASTS | _ARRAY_CASTS),
    "STL_SORT": ScalarFamily(_NUMBERS | _TEXT | {DataType.JSON}, frozenset({"DOUBLE", "VARCHAR"})),
    "Trie": ScalarFamily(_TEXT),
    "BITMAP": ScalarFamily(
        _WHOLE | _TEXT | _NESTED | {DataType.BOOL}, frozenset({"BOOL", "VARCHAR"}), primary=False
    ),
    "HYBRID": ScalarFamily(_NUMBERS | _TEXT | _NESTED | {DataType.BOOL}, _SCALAR_CASTS),
}
HYBRID = "HYBRID"
"""AUTOINDEX of a scalar field: each segment gets the type that suits its values."""
BITMAP_LIMIT = IntParameter("bitmap_cardinality_limit", 1, 1000, 100)
JSON_PATH, JSON_CAST = "json_path", "json_cast_type"
_SCALAR_NAMES = {
    "TRIE": "Trie",
    "marisa-trie": "Trie",
    "Asceneding": "STL_SORT",
    "": HYBRID,
    AUTOINDEX: HYBRID,
}


def resolve(type: str, field: Field) -> str:
    """The type that is built for the name a client gave. Raises InvalidParameter."""
    if not field.type.is_vector:
        found = _SCALAR_NAMES.get(type, type)
        if found in SCALAR_FAMILIES:
            return found
        known = ", ".join([*(name for name in SCALAR_FAMILIES if name != HYBRID), AUTOINDEX])
        hint = "; that is an index of vectors" if type in FAMILIES else ""
        raise InvalidParameter(
            f"index type {type!r} cannot be built on {field.type.name} field {field.name!r}{hint}; "
            f"there are {known}"
        )
    if type == AUTOINDEX:
        return _AUTOINDEX[field.type is DataType.BINARY_VECTOR][0]
    if type not in FAMILIES:
        known = ", ".join([*FAMILIES, AUTOINDEX])
        raise InvalidParameter(f"index type {type!r} is not known; there are {known}")
    return type


def has_file(type: str) -> bool:
    """Whether an index of this (resolved) type is built and stored; FLAT and BIN_FLAT are the vectors."""
    return type in SCALAR_FAMILIES or FAMILIES[type].file


def approximate(params: Mapping[str, Any]) -> bool:
    """Whether checked search parameters are those of a type that does not compare all vectors."""
    return any(name in params for name in _SEARCHED_WITH)


def default_metric(field: Field) -> Metric:
    """Milvus' default where the client names none, as AUTOINDEX clients do."""
    return Metric.HAMMING if field.type is DataType.BINARY_VECTOR else Metric.COSINE


def check_build(type: str, metric: Metric, params: Mapping[str, Any], field: Field) -> dict[str, Any]:
    """Typed build parameters of a vector index with defaults; parameters it has no use for are left out.

    Raises InvalidParameter with what would be right.
    """
    name = resolve(type, field)
    family = FAMILIES[name]
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
        params = {**_AUTOINDEX[field.type is DataType.BINARY_VECTOR][1], **params}
    checked = {p.name: _integer(p, params[p.name]) if p.name in params else p.default for p in family.build}
    if name == "IVF_PQ":
        _check_subquantizers(checked, field)
    return checked


def _check_subquantizers(checked: Mapping[str, Any], field: Field) -> None:
    if checked["m"] is None:
        raise MissingParameter(f"index type IVF_PQ needs m, a divisor of dim ({field.dim})")
    if field.dim % checked["m"]:
        raise InvalidParameter(
            f"m is {checked['m']}; dim ({field.dim}) of field {field.name!r} must be a multiple of it"
        )


def check_scalar_build(
    type: str, params: Mapping[str, Any], field: Field, path: tuple[str | int, ...] = ()
) -> dict[str, Any]:
    """Typed build parameters of a scalar index. `path`: the parsed `json_path` of a JSON field.

    Raises InvalidParameter with what would be right.
    """
    name = resolve(type, field)
    family = SCALAR_FAMILIES[name]
    kind = field.element_type if field.type is DataType.ARRAY else field.type
    if field.type not in family.field_types or kind not in family.field_types:
        allowed = ", ".join(sorted(t.name for t in family.field_types))
        raise InvalidParameter(
            f"index type {type or AUTOINDEX} cannot be built on field {field.name!r} of type "
            f"{field.type.name}{f' of {kind.name}' if kind is not field.type else ''}; it takes {allowed}"
        )
    if field.primary and not family.primary:
        raise InvalidParameter(f"index type {type} cannot be built on the primary key {field.name!r}")
    checked: dict[str, Any] = {}
    if name == HYBRID:
        limit = params.get(BITMAP_LIMIT.name)
        checked[BITMAP_LIMIT.name] = BITMAP_LIMIT.default if limit is None else _integer(BITMAP_LIMIT, limit)
    if field.type is DataType.JSON:
        checked |= {JSON_PATH: list(path), JSON_CAST: _cast(name, family, params, field)}
    return checked


def _cast(name: str, family: ScalarFamily, params: Mapping[str, Any], field: Field) -> str:
    cast = str(params.get(JSON_CAST) or "").upper()
    allowed = ", ".join(sorted(family.casts))
    if not cast:
        raise MissingParameter(
            f"an index on the JSON field {field.name!r} needs {JSON_CAST}; it takes {allowed}"
        )
    if cast not in family.casts:
        raise InvalidParameter(f"{JSON_CAST} is {cast!r}; index type {name} takes {allowed}")
    if params.get("json_cast_function"):
        raise Unimplemented(f"json_cast_function={params['json_cast_function']!r} is not implemented")
    return cast


def check_search(
    type: str, params: Mapping[str, Any], k: int, metric: Metric | None = None
) -> dict[str, Any]:
    """Typed search parameters of a resolved type with defaults.

    `radius` and `range_filter` (floats) are there where they are given.

    With a `metric`, checks that the range is not empty: range_filter < radius for distances, the other way
    round for IP and COSINE. Parameters of other index types are left out. Raises InvalidParameter.
    """
    checked: dict[str, Any] = {
        p.name: _integer(p, params[p.name]) if params.get(p.name) is not None else p.default
        for p in FAMILIES[type].search
    }
    checked.update({n: _number(n, params[n]) for n in (RADIUS, RANGE_FILTER) if params.get(n) is not None})
    _check_range(checked, metric)
    if type == "HNSW":
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
