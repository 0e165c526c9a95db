"""The first walk of a user: wall time of the client's whole process."""

import statistics
import subprocess
import time

from benchmarks import ROOT
from benchmarks.environments import interpreter
from benchmarks.parts.part import Context, Part
from benchmarks.session import SystemFailed

WALK_SECONDS = 120.0


class Hello(Part):
    name = "hello"
    title = "Hello: the first walk of a user"
    about = (
        "Connect, create, insert 3,000 x 8, flush, IVF_FLAT index, load, search, query, filtered search, "
        "delete, drop, every answer checked: median wall time of the client's whole process, started anew "
        "for each walk, on a server with an empty directory."
    )
    servers_only = True

    def seconds(self) -> float:
        return 6.0 * self.settings.rounds * len(self.settings.pymilvus)

    def prepare(self, context: Context) -> None:
        for version in self.settings.pymilvus:
            interpreter((f"pymilvus=={version}",))

    def run(self, context: Context) -> None:
        port = context.session.system.address().rpartition(":")[2]
        for number, version in enumerate(self.settings.pymilvus):
            walls: list[float] = []
            for walk in range(self.settings.rounds):
                context.note(f"walk {walk + 1} with pymilvus {version}")
                walls.append(self.walk(version, port))
                done = number * self.settings.rounds + walk + 1
                context.advance(done / self.settings.rounds / len(self.settings.pymilvus))
            spread = f"{min(walls):.2f} to {max(walls):.2f} in {len(walls)}"
            context.measure(
                self.name, f"pymilvus {version}", statistics.median(walls), "s", better="less", note=spread
            )

    def walk(self, version: str, port: str) -> float:
        """Seconds. Raises SystemFailed for a wrong answer."""
        program = ROOT / "benchmarks" / "programs" / "hello_walk.py"
        command = [str(interpreter((f"pymilvus=={version}",))), str(program), "127.0.0.1", port]
        begun = time.perf_counter()
        walked = subprocess.run(command, capture_output=True, text=True, timeout=WALK_SECONDS)
        seconds = time.perf_counter() - begun
        if walked.returncode:
            raise SystemFailed(f"the walk with pymilvus {version}: {walked.stderr.strip()[-500:]}")
        return seconds
