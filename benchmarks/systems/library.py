"""What the in-process libraries share."""

import time
from abc import abstractmethod
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.model import Collection, Unsupported
from benchmarks.system import System

# Any below: each library's own types, which only its environment has.


class Library(System):
    """`module`: what is imported; `json`: it can filter on a path inside a JSON or nested column."""

    module: ClassVar[str]
    json: ClassVar[bool] = False
    folder: Path
    library: Any

    def open(self, folder: Path, server: Path) -> float:
        """An import: there is nothing to open before there is a collection."""
        self.folder = folder
        begun = time.perf_counter()
        self.library = import_module(self.module)
        return time.perf_counter() - begun

    def create(self, collection: Collection) -> None:
        if collection.json and not self.json:
            raise Unsupported("a JSON column with filters on its paths")
        self.collection = collection
        self.make()

    @abstractmethod
    def make(self) -> None:
        """Makes `self.collection`."""

    def path(self) -> Path:
        return self.folder / f"{self.collection.name}.data"

    def parameter(self, name: str) -> int:
        """Of the index: M, efConstruction."""
        return dict(self.collection.build)[name]

    def load(self) -> float:
        """Libraries search what they have open."""
        return 0.0

    def close(self) -> None:
        return
