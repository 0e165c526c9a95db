"""A system under test, as the harness sees it. It lives in a host process, in an environment of its own."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np

from benchmarks import threads
from benchmarks.model import Collection, Load, Rows, Sample, Unsupported
from benchmarks.threads import Search


class System(ABC):
    """Every method that measures returns seconds of the system's own work, preparation excluded."""

    name: ClassVar[str]
    title: ClassVar[str]
    package: ClassVar[str]
    """The distribution whose version is reported."""
    requirements: ClassVar[tuple[str, ...]] = ()
    server_requirements: ClassVar[tuple[str, ...]] = ()
    in_process: ClassVar[bool] = True
    settle_seconds: ClassVar[float] = 2.0
    levels: ClassVar[tuple[str, ...]] = ("Eventually",)
    """The consistency levels it tells apart."""

    collection: Collection

    @abstractmethod
    def open(self, folder: Path, server: Path) -> float:
        """Starts on `folder`, which may hold data; `server`: the interpreter of its server. Seconds until it
        has answered a call."""

    @abstractmethod
    def close(self) -> None:
        """Ends it in order."""

    @abstractmethod
    def create(self, collection: Collection) -> None:
        """Makes the collection and turns to it. Raises Unsupported."""

    def use(self, collection: Collection) -> None:
        """Turns to a collection that is there."""
        self.collection = collection

    @abstractmethod
    def insert(self, rows: Rows) -> float: ...

    def insert_plain(self, rows: Rows) -> float:
        """With pymilvus' own client, as an application would, all its work included."""
        raise Unsupported("pymilvus as its client")

    @abstractmethod
    def flush(self) -> float: ...

    @abstractmethod
    def index(self) -> float: ...

    @abstractmethod
    def load(self) -> float:
        """Until every row is searched."""

    @abstractmethod
    def searcher(self, load: Load) -> Search:
        """What one client calls. Raises Unsupported, e.g. for a kind of filter."""

    @abstractmethod
    def drop(self) -> None: ...

    def version(self) -> str:
        from importlib.metadata import version

        return version(self.package)

    def address(self) -> str:
        """HOST:PORT of its server. Raises Unsupported without one."""
        raise Unsupported("it has no server")

    def kill(self) -> None:
        """SIGKILL to its server and all that the server started."""
        return

    def search(self, load: Load) -> Sample:
        """Threads of this process are the clients. Raises Unsupported for a plain load without pymilvus."""
        if load.plain:
            raise Unsupported("pymilvus as its client")
        return threads.search(load, [self.searcher(load) for _ in range(load.clients)], self.insert)

    def first_search(self, load: Load) -> list[int]:
        """Ids of the first query; raises while it cannot be answered."""
        return self.searcher(load)(np.load(load.queries)[0])
