"""A client of an empty Lite directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    """A `pymilvus.MilvusClient`."""
    pytest.importorskip("pymilvus")
    from elanus import lite

    with lite.connect(tmp_path / "data") as connected:
        yield connected
