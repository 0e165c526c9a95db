"""What is in force, for people: every key with its default, meaning, value and origin."""

import json
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from elanus.runtime.config_sources import DEFAULT_ORIGIN, Loaded, known_keys

MASK = "********"


class Row(NamedTuple):
    """One key. Values of secrets are masked."""

    key: str
    value: Any
    default: Any
    origin: str
    meaning: str


def rows(loaded: Loaded) -> list[Row]:
    """Every key in the order of the sections."""
    defaults = type(loaded.config).model_construct()
    return [
        Row(
            key,
            shown(value_at(loaded.config, key)),
            shown(value_at(defaults, key)),
            loaded.origins.get(key, DEFAULT_ORIGIN),
            info.description or "",
        )
        for key, info in known_keys().items()
    ]


def value_at(config: BaseModel, key: str) -> Any:
    def step(section: BaseModel, part: str) -> Any:
        fields = type(section).model_fields
        return getattr(section, next(name for name, info in fields.items() if (info.alias or name) == part))

    return reduce(step, key.split("."), config)


def shown(value: Any) -> Any:
    """A value as JSON and YAML can carry it; an empty secret is shown as such."""
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    return str(value) if isinstance(value, Path) else value


def as_json(table: list[Row]) -> str:
    return json.dumps([row._asdict() for row in table], indent=2, ensure_ascii=False)


def as_yaml(table: list[Row]) -> str:
    """A configuration file with what is in force; meanings, defaults and origins stand in comments."""
    return "\n".join(yaml_lines(table)) + "\n"


def yaml_lines(table: list[Row]) -> Iterator[str]:
    open_sections: list[str] = []
    for row in table:
        *sections, leaf = row.key.split(".")
        shared = 0
        while shared < min(len(sections), len(open_sections)) and sections[shared] == open_sections[shared]:
            shared += 1
        for depth in range(shared, len(sections)):
            yield f"{'  ' * depth}{sections[depth]}:"
        open_sections = sections
        indent = "  " * len(sections)
        origin = (
            "" if row.origin == DEFAULT_ORIGIN else f" Default {json.dumps(row.default)}; from {row.origin}."
        )
        yield f"{indent}# {row.meaning}{origin}"
        # A JSON scalar or list is YAML too.
        yield f"{indent}{leaf}: {json.dumps(row.value, ensure_ascii=False)}"
