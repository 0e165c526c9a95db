"""What index a client asks for: its parameters come flat, nested as JSON, or both."""

from dataclasses import dataclass
from typing import Any

from elanus.access.translate.params import NESTED, loose, nested
from elanus.expr import json_path
from elanus.model.errors import InvalidParameter
from elanus.model.index_parameters import (
    AUTOINDEX,
    JSON_PATH,
    check_build,
    check_scalar_build,
    default_metric,
    resolve,
)
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType, Metric

_TYPE, _METRIC = "index_type", "metric_type"


@dataclass(frozen=True)
class AskedIndex:
    """`type`: what is built; `metric`: None for a scalar field; `params`: typed, with defaults."""

    type: str
    metric: Metric | None
    params: dict[str, Any]


def index_of(field: Field, given: dict[str, str], schema: Schema) -> AskedIndex:
    """Raises InvalidParameter, MissingParameter, Unimplemented."""
    flat = {**nested(given.get(NESTED, "")), **{k: v for k, v in given.items() if k != NESTED}}
    asked = str(flat.pop(_TYPE, "") or AUTOINDEX)
    metric = str(flat.pop(_METRIC, "") or "")
    if not field.type.is_vector:
        path = _path(field, str(flat.pop(JSON_PATH, "") or ""), schema)
        params = check_scalar_build(asked, {k: loose(v) for k, v in flat.items()}, field, path)
        return AskedIndex(type=resolve(asked, field), metric=None, params=params)
    measured = _metric(metric) if metric else default_metric(field)
    params = check_build(asked, measured, {k: loose(v) for k, v in flat.items()}, field)
    return AskedIndex(type=resolve(asked, field), metric=measured, params=params)


def _path(field: Field, text: str, schema: Schema) -> tuple[str | int, ...]:
    """The keys below a JSON field; () is the whole document."""
    if field.type is not DataType.JSON or not text:
        return ()
    found = json_path(text, schema)
    if found.field_id != field.id:
        raise InvalidParameter(f"{JSON_PATH} is {text!r}, which is not a path of field {field.name!r}")
    return found.path


def _metric(name: str) -> Metric:
    try:
        return Metric(name.upper())
    except ValueError:
        raise InvalidParameter(f"metric_type is {name!r}; it must be one of {', '.join(Metric)}") from None
