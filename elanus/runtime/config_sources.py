"""Where values come from: defaults < YAML file < environment < flags, each value with its origin."""

import difflib
import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from elanus.model.errors import InvalidParameter
from elanus.runtime.config import Config

ENVIRONMENT_PREFIX = "ELANUS_"
NESTING = "__"
DEFAULT_ORIGIN = "default"

ALIASES = {"common.MetricsPort": "management.port"}
"""Keys of Milvus that mean one of ours with another name."""


class ConfigError(InvalidParameter):
    """The configuration cannot be right. A line a problem: the key, where it stands, what would be right."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class Flag(NamedTuple):
    """A command-line flag that sets `key`; a `value` of None says that it was not given."""

    name: str
    key: str
    value: Any


@dataclass(frozen=True)
class Loaded:
    """What is in force. `origins` has every key that is not at its default, and what set it."""

    config: Config
    origins: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Given(NamedTuple):
    """One value of one layer: the key as it was written, and where."""

    key: str
    value: Any
    place: str


def load(
    file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Sequence[Flag] = ()
) -> Loaded:
    """Reads all layers. Raises ConfigError with every problem found."""
    layers = [
        [] if file is None else list(read_file(file)),
        list(read_environment(environment or {})),
        [Given(flag.key, flag.value, flag.name) for flag in flags if flag.value is not None],
    ]
    problems: list[str] = []
    warnings = [*lookalikes(environment or {})]
    sources: list[dict[str, Any]] = []
    origins: dict[str, str] = {}
    for layer in layers:
        values: dict[str, Any] = {}
        for given in layer:
            key = canonical(given.key)
            if key is not None:
                values[key] = given.value
                origins[key] = given.place
            elif is_milvus_key(given.key):
                warnings.append(
                    f"{given.key} ({given.place}) is ignored: a key of Milvus that has no meaning in elanus"
                )
            else:
                problems.append(unknown(given))
        sources.append(values)
    if problems:
        raise ConfigError(problems)
    return Loaded(validated(sources, origins), origins, tuple(warnings))


def validated(layers: Sequence[Mapping[str, Any]], origins: Mapping[str, str]) -> Config:
    """The configuration that `layers`, weakest first, make. Raises ConfigError."""

    class Layered(Config):
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(LayerSource(settings_cls, nested(layer)) for layer in reversed(layers))

    try:
        return Config(**dict(Layered()))
    except ValidationError as error:
        raise ConfigError([wrong_value(e, origins) for e in error.errors()]) from None


class LayerSource(PydanticBaseSettingsSource):
    """One layer as pydantic-settings wants it."""

    def __init__(self, settings_cls: type[BaseSettings], values: dict[str, Any]) -> None:
        super().__init__(settings_cls)
        self.values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = field.alias or field_name
        return self.values.get(name), name, False

    def __call__(self) -> dict[str, Any]:
        return self.values


# Keys ----------------------------------------------------------------------------------------------------


@cache
def known_keys() -> Mapping[str, FieldInfo]:
    """Every key that can be set, as it is written, in the order of the sections."""
    return dict(leaves(Config))


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        key = prefix + (info.alias or name)
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from leaves(info.annotation, key + ".")
        else:
            yield key, info


@cache
def canonical_by_lower() -> Mapping[str, str]:
    return {key.lower(): key for key in known_keys()} | {old.lower(): new for old, new in ALIASES.items()}


def canonical(key: str) -> str | None:
    """The key as we write it; the case of letters does not matter. None if it is not ours."""
    return canonical_by_lower().get(key.lower())


@cache
def milvus_keys() -> frozenset[str]:
    """Keys of Milvus, in lower case; one that ends in a dot stands for all below it."""
    text = importlib.resources.files("elanus.runtime").joinpath("milvus_keys.txt").read_text("utf-8")
    return frozenset(line.lower() for line in text.split())


def is_milvus_key(key: str) -> bool:
    parts = key.lower().split(".")
    return key.lower() in milvus_keys() or any(
        ".".join(parts[:n]) + "." in milvus_keys() for n in range(1, len(parts))
    )


def nearest(key: str) -> str | None:
    """The known key that `key` was probably meant to be: near as a whole, or in its last part."""
    known = canonical_by_lower()
    close = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.75)
    if close:
        return known[close[0]]
    by_last = {lower.rpartition(".")[2]: name for lower, name in known.items()}
    close = difflib.get_close_matches(key.lower().rpartition(".")[2], by_last, n=1, cutoff=0.8)
    return by_last[close[0]] if close else None


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    root: dict[str, Any] = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        at = root
        for section in sections:
            at = at.setdefault(section, {})
        at[leaf] = value
    return root


# Layers --------------------------------------------------------------------------------------------------


def read_file(path: Path) -> Iterator[Given]:
    """The values of a YAML file; its keys may be nested or dotted. A key without a value is not set."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"the configuration file {path} cannot be read: {error.strerror}"]) from None
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None or loader.construct_object(root) is None:
            return
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError([f"{path} must hold keys and values, as in 'proxy: {{port: 19530}}'"])
        yield from read_mapping(loader, root, "", str(path), {})
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or str(error)
        raise ConfigError([f"{where} is not YAML: {what}"]) from None
    finally:
        loader.dispose()


def read_mapping(
    loader: yaml.SafeLoader, mapping: yaml.MappingNode, prefix: str, path: str, seen: dict[str, str]
) -> Iterator[Given]:
    loader.flatten_mapping(mapping)
    for key_node, value_node in mapping.value:
        # As written: YAML reads `no` and `on` as booleans.
        key = f"{prefix}{key_node.value}"
        place = f"{path}:{key_node.start_mark.line + 1}"
        if isinstance(value_node, yaml.MappingNode) and canonical(key) is None:
            yield from read_mapping(loader, value_node, key + ".", path, seen)
            continue
        value = loader.construct_object(value_node, deep=True)
        if value is None:
            continue
        if key.lower() in seen:
            raise ConfigError([f"{key} is given twice: {seen[key.lower()]} and {place}; keep one"])
        seen[key.lower()] = place
        yield Given(key, value, place)


def read_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    """Names like ELANUS_PROXY__PORT. Others that start with ELANUS_ are not configuration."""
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and NESTING in name:
            key = name.removeprefix(ENVIRONMENT_PREFIX).replace(NESTING, ".")
            yield Given(canonical(key) or key.lower(), value, name)


def lookalikes(environment: Mapping[str, str]) -> Iterator[str]:
    """Warnings for ELANUS_PROXY_PORT, which sets nothing but was probably meant to."""
    squashed = {key.replace(".", "").lower(): key for key in known_keys()}
    for name, value in environment.items():
        key = squashed.get(name.removeprefix(ENVIRONMENT_PREFIX).replace("_", "").lower())
        # Kubernetes sets such names to tcp://... for its services.
        if key is None or NESTING in name or not name.startswith(ENVIRONMENT_PREFIX) or "://" in value:
            continue
        yield f"{name} is ignored; {key} is set by {environment_name(key)}"


def environment_name(key: str) -> str:
    return ENVIRONMENT_PREFIX + key.replace(".", NESTING).upper()


# Messages ------------------------------------------------------------------------------------------------


def unknown(given: Given) -> str:
    below = [key for key in known_keys() if key.lower().startswith(given.key.lower() + ".")]
    if below:
        return f"{given.key} ({given.place}) is a section, not a value; it holds {', '.join(below[:5])}"
    near = nearest(given.key)
    hint = f"did you mean {near}?" if near else "`elanus config` lists all keys"
    return f"unknown configuration key {given.key} ({given.place}); {hint}"


def wrong_value(error: Any, origins: Mapping[str, str]) -> str:
    """A line for one error of pydantic (its `ErrorDetails`)."""
    key = ".".join(str(part) for part in error["loc"])
    known = next((k for k in known_keys() if key == k or key.startswith(k + ".")), key)
    value = "" if is_secret(known) else f" cannot be {error['input']!r}"
    wanted = error["msg"].replace("Input should", "it should", 1).partition(", unable to parse")[0]
    return f"{known} ({origins.get(known, DEFAULT_ORIGIN)}){value}: {wanted}"


def is_secret(key: str) -> bool:
    info = known_keys().get(key)
    return info is not None and SecretStr in (info.annotation, *getattr(info.annotation, "__args__", ()))
