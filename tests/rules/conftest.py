"""The stage that the rules are tried on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rules.stage import Stage


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(tmp_path / "data", monkeypatch)
    yield made
    made.end()
