"""Interpreters that the harness runs things in: each system's own, made once in the cache folder."""

import sys
from pathlib import Path

from tests.environments import cache_folder, make

CLIENT = ("pymilvus==3.0.2",)
"""What speaks to every server, so that the client's cost is the same for all."""


def interpreter(requirements: tuple[str, ...]) -> Path:
    """Of an environment with `requirements`; without any, the one that runs now (it has elanus)."""
    return make(cache_folder() / "environments", requirements) if requirements else Path(sys.executable)


def data_folder() -> Path:
    return cache_folder() / "benchmark-data"
