"""Processes of clients: started together, released at one moment, gathered."""

import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.wire.client import Plan, Result

END_SECONDS = 120.0


class Clients:
    """`plan.threads` clients over at most `processes` processes, each connected and warm."""

    def __init__(self, plan: Plan, processes: int = 1) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="benchmark-")
        self._results: list[Path] = []
        self._processes: list[subprocess.Popen[str]] = []
        count = min(processes, plan.threads)
        for number in range(count):
            threads = plan.threads // count + (number < plan.threads % count)
            first = number * len(plan.requests) // count
            self._spawn(number, replace(plan, threads=threads, first=first))
        for process in self._processes:
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                self.end()
                raise RuntimeError("a client process ended before it was ready; its traceback is in host.log")

    def _spawn(self, number: int, plan: Plan) -> None:
        path = Path(self._folder.name, f"plan{number}")
        path.write_bytes(pickle.dumps(plan))
        self._results.append(Path(self._folder.name, f"result{number}"))
        command = [sys.executable, "-m", "benchmarks.wire.client", str(path), str(self._results[-1])]
        self._processes.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )

    def go(self) -> None:
        self._tell("go\n")

    def stop(self) -> None:
        self._tell("stop\n")

    def gather(self, seconds: float) -> Result:
        """Waits for all; their results as one."""
        try:
            for process in self._processes:
                if process.wait(seconds + END_SECONDS) != 0:
                    raise RuntimeError("a client process failed; its traceback is in host.log")
        finally:
            self.end()
        result = Result()
        for path in self._results:
            part: Result = pickle.loads(path.read_bytes())
            result.indices += part.indices
            result.latencies += part.latencies
            result.answers.update(part.answers)
            result.seconds = max(result.seconds, part.seconds)
            result.errors += part.errors
            result.first_error = result.first_error or part.first_error
        self._folder.cleanup()
        return result

    def end(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()

    def _tell(self, line: str) -> None:
        for process in self._processes:
            assert process.stdin
            process.stdin.write(line)
            process.stdin.flush()
