"""The systems under test: one adapter a module."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.system import System

SYSTEMS = {
    "elanus": "elanus_server:ElanusServer",
    "elanus-lite": "elanus_lite:ElanusLite",
    "milvus": "milvus_server:MilvusServer",
    "milvus-lite": "milvus_lite:MilvusLite",
    "qdrant-edge": "qdrant_edge:QdrantEdge",
    "zvec": "zvec:Zvec",
    "lancedb": "lancedb:LanceDB",
    "chromadb": "chromadb:Chroma",
}
REFERENCE = "milvus"
"""Goals are ratios to it."""


def system_class(name: str) -> "type[System]":
    """Raises KeyError for a name that SYSTEMS lacks."""
    module, _, noun = SYSTEMS[name].partition(":")
    found: type[System] = getattr(import_module(f"benchmarks.systems.{module}"), noun)
    return found
