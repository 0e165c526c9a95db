"""Every key that can be set is read: one that nothing reads would be set in vain."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from elanus.cli import app
from elanus.model.limits import table
from elanus.runtime import logs, server
from elanus.runtime.config import Config
from elanus.runtime.config_section import Section

LIMITS = {facts.key for facts in table()}
"""Read all at once; tests/acceptance/test_limits.py shows that each is in force."""


class Ended:
    """Signals that end a server at once."""

    def wait(self) -> signal.Signals:
        return signal.SIGTERM


def keys(section: type[BaseModel], path: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Each key with what reading it is recorded as: the class of its group and its name there."""
    for name, field in section.model_fields.items():
        inner = f"{path}{field.alias}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{inner}.")
        else:
            yield inner, (f"{section.__module__}.{section.__qualname__}", name)


def test_every_key_is_read_by_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[tuple[str, str]] = set()
    plain = Section.__getattribute__

    def recording(self: Section, name: str) -> Any:
        read.add((f"{type(self).__module__}.{type(self).__qualname__}", name))
        return plain(self, name)

    monkeypatch.setattr(server, "EndSignals", Ended)
    monkeypatch.setattr(server, "_end_within", lambda seconds: None)
    monkeypatch.setattr(logs, "configure", lambda level, format: None)
    monkeypatch.setattr(Section, "__getattribute__", recording)
    app.serve(tmp_path / "data", "127.0.0.1", 0, 0, None)
    unread = [key for key, recorded in keys(Config) if key not in LIMITS and recorded not in read]
    assert unread == []


def test_a_class_of_keys_stands_in_one_place() -> None:
    groups = [recorded for _, recorded in keys(Config)]
    assert len(groups) == len(set(groups)), "or reading one key would count for two"
