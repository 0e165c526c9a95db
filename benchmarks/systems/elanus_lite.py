"""elanus Lite: the library in the client's process, called over its in-process channel."""

import time
from pathlib import Path
from typing import Any

from benchmarks.systems.milvus_calls import MilvusCalls


class ElanusLite(MilvusCalls):
    name = "elanus-lite"
    title = "elanus Lite"
    package = "elanus"

    def open(self, folder: Path, server: Path) -> float:
        begun = time.perf_counter()
        from elanus import lite
        from elanus.lite import binding
        from elanus.lite.embedded import resolve
        from elanus.lite.target import target_of

        self._path = resolve(folder / "data")
        self._client = lite.connect(self._path)
        self._client.list_collections()
        seconds = time.perf_counter() - begun
        # Requests are built before they are timed, as they are for the servers.
        self.channel = binding.open_channel(target_of(self._path), self._path)
        return seconds

    def client(self) -> Any:
        return self._client

    def close(self) -> None:
        self.channel.close()
        self._client.close()
