"""Fields and schemas. Fields are known by id inside; names are for people."""

from collections.abc import Iterator
from functools import cached_property

import msgspec

from elanus.model.errors import FieldNotFound
from elanus.model.types import DataType

FIRST_FIELD_ID = 100
DYNAMIC_FIELD = "$meta"


class Field(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One column of a collection. `dim` is in elements (bits for BINARY_VECTOR), `max_length` in bytes."""

    id: int
    name: str
    type: DataType
    description: str = ""
    primary: bool = False
    auto_id: bool = False
    partition_key: bool = False
    clustering_key: bool = False
    dynamic: bool = False
    nullable: bool = False
    default: bool | int | float | str | None = None
    element_type: DataType = DataType.NONE
    dim: int = 0
    max_length: int = 0
    max_capacity: int = 0
    params: dict[str, str] = {}
    """Type parameters other than dim, max_length and max_capacity, as the client gave them."""

    @property
    def key(self) -> str:
        """The column's name in record batches, segments and delete files: the field id."""
        return str(self.id)


class Schema(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, dict=True):
    """The fields of a collection, the `$meta` field last where dynamic fields are on."""

    fields: tuple[Field, ...]
    description: str = ""
    dynamic: bool = False
    version: int = 1

    @cached_property
    def by_name(self) -> dict[str, Field]:
        return {f.name: f for f in self.fields}

    @cached_property
    def by_id(self) -> dict[int, Field]:
        return {f.id: f for f in self.fields}

    @cached_property
    def primary(self) -> Field:
        return next(f for f in self.fields if f.primary)

    @cached_property
    def partition_key(self) -> Field | None:
        """The field whose value chooses a row's partition."""
        return next((f for f in self.fields if f.partition_key), None)

    @cached_property
    def dynamic_field(self) -> Field | None:
        return next((f for f in self.fields if f.dynamic), None)

    @property
    def vectors(self) -> Iterator[Field]:
        return (f for f in self.fields if f.type.is_vector)

    @property
    def scalars(self) -> Iterator[Field]:
        return (f for f in self.fields if not f.type.is_vector)

    def field(self, name: str) -> Field:
        """The field called `name`. Raises FieldNotFound with the names there are."""
        found = self.by_name.get(name)
        if found is None:
            there = ", ".join(f.name for f in self.fields if not f.dynamic)
            raise FieldNotFound(f"field {name!r} does not exist; the schema has {there}")
        return found


def dynamic_field(id: int) -> Field:
    """The `$meta` field, which holds whatever a row has beside the declared fields."""
    return Field(id=id, name=DYNAMIC_FIELD, type=DataType.JSON, description="dynamic schema", dynamic=True)
