"""What index a client asks for: its parameters come flat, nested as JSON, or both."""

from dataclasses import dataclass
from typing import Any

from elanus.access.translate.params import NESTED, loose, nested
from elanus.engine.index.parameters import AUTOINDEX, check_build, resolve
from elanus.model.errors import InvalidParameter, Unimplemented
from elanus.model.schema import Field
from elanus.model.types import Metric

_TYPE, _METRIC = "index_type", "metric_type"
DEFAULT_METRIC = Metric.COSINE
"""Milvus' default where the client names none, as AUTOINDEX clients do."""


@dataclass(frozen=True)
class AskedIndex:
    """`type`: what is built; `params`: typed, with defaults."""

    type: str
    metric: Metric
    params: dict[str, Any]


def index_of(field: Field, given: dict[str, str]) -> AskedIndex:
    """Raises InvalidParameter, Unimplemented."""
    if not field.type.is_vector:
        raise Unimplemented(f"an index on the scalar field {field.name!r} is not implemented")
    flat = {**nested(given.get(NESTED, "")), **{k: v for k, v in given.items() if k != NESTED}}
    asked = str(flat.pop(_TYPE, "") or AUTOINDEX)
    metric = _metric(str(flat.pop(_METRIC, "") or DEFAULT_METRIC))
    params = check_build(asked, metric, {k: loose(v) for k, v in flat.items()}, field)
    return AskedIndex(type=resolve(asked), metric=metric, params=params)


def _metric(name: str) -> Metric:
    try:
        return Metric(name.upper())
    except ValueError:
        raise InvalidParameter(f"metric_type is {name!r}; it must be one of {', '.join(Metric)}") from None
