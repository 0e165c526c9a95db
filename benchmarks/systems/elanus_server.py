"""elanus standalone: `elanus serve` in a process of its own."""

from pathlib import Path

from benchmarks import ROOT
from benchmarks.systems.server import Server

START = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from elanus.cli import main; main()"


class ElanusServer(Server):
    name = "elanus"
    title = "elanus standalone"
    package = "elanus"
    settle_seconds = 5.0

    def command(self, server: Path, data: Path) -> list[str]:
        options = [
            "--data",
            str(data),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--management-port",
            "0",
        ]
        return [str(server), "-c", START, "serve", *options]
