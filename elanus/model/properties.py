"""Properties of databases, collections, fields and indexes: one table of keys and values."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter, MissingParameter, Unimplemented


class Scope(StrEnum):
    """What a property is of, as messages call it."""

    DATABASE = "database"
    COLLECTION = "collection"
    FIELD = "field"
    INDEX = "index"


class Kind(StrEnum):
    """The values a property takes, which all travel as text."""

    BOOLEAN = "true or false"
    INTEGER = "an integer"
    NUMBER = "a number"
    TEXT = "text"
    JSON = "JSON"


TTL_SECONDS = "collection.ttl.seconds"
DESCRIPTION = "collection.description"
DYNAMIC_FIELD_ENABLED = "dynamicfield.enabled"
AUTO_COMPACTION = "collection.autocompaction.enabled"
KEYS_GIVEN = "allow_insert_auto_id"
QUERY_MODE = "query_mode"
LARGE_TOP_K = "large_topk"
MMAP_ENABLED = "mmap.enabled"
KEY_ISOLATION = "partitionkey.isolation"
MAX_COLLECTIONS = "database.max.collections"
MAX_LENGTH = "max_length"
MAX_CAPACITY = "max_capacity"
FIELD_DESCRIPTION = "field.description"

_LONGEST_TTL = 3_155_760_000
"""A hundred years in seconds."""


@dataclass(frozen=True, kw_only=True)
class Property:
    """`least` and `most` bound numbers; `choices` are all the texts there are, where they are few."""

    scope: Scope
    key: str
    kind: Kind = Kind.TEXT
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    fixed: bool = False
    """Set when the thing is made, never altered."""
    lasting: bool = False
    """Can be altered, not deleted."""
    released: bool = False
    """Altered only while the collection is not loaded."""
    built: bool = True
    """Whether it does what it says; a value for one that is not built is refused."""


def _collection(key: str, kind: Kind = Kind.TEXT, **rest: object) -> Property:
    return Property(scope=Scope.COLLECTION, key=key, kind=kind, **rest)  # type: ignore[arg-type]  # a row's cells


def _database(key: str, kind: Kind = Kind.TEXT, **rest: object) -> Property:
    return Property(scope=Scope.DATABASE, key=key, kind=kind, **rest)  # type: ignore[arg-type]  # a row's cells


def _field(key: str, kind: Kind = Kind.TEXT, **rest: object) -> Property:
    return Property(scope=Scope.FIELD, key=key, kind=kind, **rest)  # type: ignore[arg-type]  # a row's cells


def _index(key: str, kind: Kind = Kind.TEXT, **rest: object) -> Property:
    return Property(scope=Scope.INDEX, key=key, kind=kind, **rest)  # type: ignore[arg-type]  # a row's cells


_WARMUP = ("disable", "sync", "async")

TABLE = (
    _collection(TTL_SECONDS, Kind.INTEGER, least=-1, most=_LONGEST_TTL),
    _collection("ttl_field", built=False),
    _collection(AUTO_COMPACTION, Kind.BOOLEAN),
    _collection(DESCRIPTION, lasting=True),
    _collection("collection.external_source", built=False, fixed=True),
    _collection("collection.external_spec", Kind.JSON, built=False, fixed=True),
    _collection("collection.function.allowInsertNonBM25FunctionOutputs", Kind.BOOLEAN),
    *(
        _collection(f"collection.{what}.{bound}.{unit}", Kind.NUMBER)
        for what, unit in (
            ("insertRate", "mb"),
            ("deleteRate", "mb"),
            ("bulkLoadRate", "mb"),
            ("queryRate", "qps"),
            ("searchRate", "vps"),
        )
        for bound in ("max", "min")
    ),
    _collection("collection.diskProtection.diskQuota.mb", Kind.NUMBER),
    _collection("partition.diskProtection.diskQuota.mb", Kind.NUMBER),
    _collection("collection.replica.number", Kind.INTEGER, least=1),
    _collection("collection.resource_groups"),
    _collection(MMAP_ENABLED, Kind.BOOLEAN, released=True),
    _collection("load_priority", choices=("high", "low")),
    _collection(KEY_ISOLATION, Kind.BOOLEAN),
    _collection(DYNAMIC_FIELD_ENABLED, Kind.BOOLEAN, lasting=True),
    _collection(KEYS_GIVEN, Kind.BOOLEAN),
    _collection("disable_func_runtime_check", Kind.BOOLEAN),
    _collection("timezone"),
    _collection(QUERY_MODE, choices=(LARGE_TOP_K,)),
    _collection("namespace.mode", choices=("partition_key", "partition"), built=False, fixed=True),
    _collection("namespace.sharding.enabled", Kind.BOOLEAN, built=False, fixed=True),
    _collection("max_field_id", Kind.INTEGER, fixed=True),
    *(
        _collection(f"warmup.{what}", choices=_WARMUP)
        for what in ("scalarField", "scalarIndex", "vectorField", "vectorIndex")
    ),
    *(_collection(key, built=False, fixed=True) for key in ("cipher.enabled", "cipher.ezID")),
    *(_database(key, built=False, fixed=True) for key in ("cipher.enabled", "cipher.ezID", "cipher.key")),
    _database("database.replica.number", Kind.INTEGER, least=1),
    _database("database.resource_groups"),
    _database("database.diskQuota.mb", Kind.NUMBER),
    _database(MAX_COLLECTIONS, Kind.INTEGER, least=0),
    *(
        _database(f"database.force.deny.{what}", Kind.BOOLEAN)
        for what in (
            "writing",
            "reading",
            "ddl",
            "collectionDDL",
            "partitionDDL",
            "index",
            "flush",
            "compaction",
        )
    ),
    _database("timezone"),
    _field("dim", Kind.INTEGER, fixed=True),
    _field(MAX_LENGTH, Kind.INTEGER, least=1, lasting=True),
    _field(MAX_CAPACITY, Kind.INTEGER, least=1, lasting=True),
    _field(MMAP_ENABLED, Kind.BOOLEAN, released=True),
    _field("warmup", choices=_WARMUP),
    _field("field.skipLoad", Kind.BOOLEAN, released=True),
    _field(FIELD_DESCRIPTION, lasting=True),
    _field("enable_analyzer", Kind.BOOLEAN, fixed=True),
    _field("enable_match", Kind.BOOLEAN, fixed=True),
    _field("analyzer_params", Kind.JSON, fixed=True),
    _field("multi_analyzer_params", Kind.JSON, fixed=True),
    *(
        _index(key, fixed=True)
        for key in (
            "index_type",
            "metric_type",
            "params",
            "json_cast_type",
            "json_path",
            "json_cast_function",
            "bitmap_cardinality_limit",
        )
    ),
    _index(MMAP_ENABLED, Kind.BOOLEAN, released=True),
    _index("indexoffsetcache.enabled", Kind.BOOLEAN, released=True),
    _index("index.nonEncoding", Kind.BOOLEAN, released=True),
    _index("warmup", choices=_WARMUP),
)

_BY_KEY = {(p.scope, p.key): p for p in TABLE}
_OPEN = frozenset({Scope.DATABASE, Scope.COLLECTION})
"""Scopes that keep keys they do not know, as Milvus does."""


def check(scope: Scope, properties: Mapping[str, str]) -> None:
    """The values of what is in the table. Raises InvalidParameter, Unimplemented."""
    for key, value in properties.items():
        known = _BY_KEY.get((scope, key))
        if known is not None:
            _check_value(known, value)


def check_change(
    scope: Scope, properties: Mapping[str, str], delete_keys: Iterable[str], *, loaded: bool = False
) -> None:
    """An alteration: one of `properties` and `delete_keys`. `loaded`: the collection is.

    Raises MissingParameter, InvalidParameter, Unimplemented, or an error with COLLECTION_LOADED.
    """
    deleted = list(delete_keys)
    if properties and deleted:
        raise InvalidParameter(
            f"properties ({', '.join(properties)}) and delete_keys ({', '.join(deleted)}) came in one call; "
            "send two"
        )
    if not properties and not deleted:
        raise MissingParameter(f"there is nothing to alter: give properties or delete_keys of the {scope}")
    for key in (*properties, *deleted):
        _check_alterable(scope, key, loaded)
    for key in deleted:
        known = _BY_KEY.get((scope, key))
        if known is not None and known.lasting:
            raise InvalidParameter(f"the property {key} of a {scope} can be altered, not deleted")
    check(scope, properties)


def boolean(text: str) -> bool:
    """A checked BOOLEAN value."""
    return text.lower() == "true"


def _check_alterable(scope: Scope, key: str, loaded: bool) -> None:
    known = _BY_KEY.get((scope, key))
    if known is None:
        if scope in _OPEN:
            return
        there = ", ".join(p.key for p in TABLE if p.scope is scope and not p.fixed)
        raise InvalidParameter(f"the property {key!r} of a {scope} cannot be altered; these can: {there}")
    if known.fixed:
        raise InvalidParameter(f"{key} of a {scope} is fixed when it is made and cannot be altered")
    if known.released and loaded:
        raise ElanusError(
            f"{key} cannot be altered while the collection is loaded; release it first",
            Code.COLLECTION_LOADED,
        )


def _check_value(known: Property, value: str) -> None:
    where = f"{known.key} of a {known.scope}"
    if not known.built and value.lower() not in ("", "false"):
        raise Unimplemented(f"{where} is not implemented; it came as {value!r}")
    if known.choices and value not in known.choices:
        raise InvalidParameter(f"{where} is {value!r}; it must be one of {', '.join(known.choices)}")
    number = _read(known, value, where)
    if number is not None and not known.least <= number <= known.most:
        most = "" if math.isinf(known.most) else f" and at most {known.most:.0f}"
        raise InvalidParameter(f"{where} is {value}; it must be at least {known.least:.0f}{most}")


def _read(known: Property, value: str, where: str) -> float | None:
    """The number of a numeric property; raises InvalidParameter where the value is not of its kind."""
    try:
        match known.kind:
            case Kind.INTEGER:
                return int(value)
            case Kind.NUMBER:
                return float(value)
            case Kind.BOOLEAN if value.lower() not in ("true", "false"):
                raise ValueError(value)
            case Kind.JSON:
                json.loads(value)
    except (ValueError, RecursionError):
        raise InvalidParameter(f"{where} is {value!r}; it must be {known.kind}") from None
    return None
