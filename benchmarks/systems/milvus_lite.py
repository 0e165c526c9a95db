"""milvus-lite 3: a gRPC server in Python, here in a process of its own as its command line starts it."""

from pathlib import Path

from benchmarks.model import Collection
from benchmarks.systems.server import Server


class MilvusLite(Server):
    name = "milvus-lite"
    title = "milvus-lite"
    package = "milvus-lite"
    server_requirements = ("milvus-lite==3.2.2", "pymilvus==3.0.2")

    def use(self, collection: Collection) -> None:
        """After a start nothing is loaded."""
        super().use(collection)
        self.load()

    def create_index(self) -> None:
        """It refuses an index that it has."""
        try:
            super().create_index()
        except RuntimeError as error:
            if "already exists" not in str(error):
                raise

    def command(self, server: Path, data: Path) -> list[str]:
        options = ["--data-dir", str(data), "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(server), "-m", "milvus_lite", "server", *options]
