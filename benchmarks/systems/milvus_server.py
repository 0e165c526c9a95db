"""Real Milvus 2.3.5, embedded in the PyPI package `milvus`."""

from pathlib import Path

from benchmarks.systems.server import Server


class MilvusServer(Server):
    """It opens fixed ports besides its own: only one can run on a machine."""

    name = "milvus"
    title = "Milvus 2.3.5"
    package = "milvus"
    server_requirements = ("milvus==2.3.5", "setuptools==80.10.2")
    settle_seconds = 60.0

    def command(self, server: Path, data: Path) -> list[str]:
        program = server.parent / "milvus-server"
        return [str(program), "--data", str(data), "--proxy-port", str(self.port)]
