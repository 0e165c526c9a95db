"""Memory of process trees: the proportional set size, sampled."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

INTERVAL_SECONDS = 0.5


def tree(roots: list[int]) -> list[int]:
    """The processes `roots` and all their descendants, also those that left the process group."""
    known = children()
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += known.get(pid, [])
    return found


def children() -> dict[int, list[int]]:
    """Of every process that has any."""
    found: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (parent := parent_of(int(entry))) is not None:
            found.setdefault(parent, []).append(int(entry))
    return found


def group_of(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def parent_of(pid: int) -> int | None:
    try:
        # The name in parentheses may hold anything, also spaces: what follows its last one counts.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def pss_bytes(pid: int) -> int:
    """0 for a process that has ended or is not ours."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))


def tree_bytes(roots: list[int]) -> int:
    return sum(map(pss_bytes, tree(roots)))


class PeakMemory:
    """Samples the tree of `roots()` in a thread while it is entered; `peak` is the most it saw, in bytes."""

    def __init__(self, roots: Callable[[], list[int]], interval: float = INTERVAL_SECONDS) -> None:
        self._roots, self._interval = roots, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        """Once more at the end: what lasted to then is seen, however short it was."""
        over = False
        while not over:
            over = self._stop.is_set()
            self.peak = max(self.peak, tree_bytes(self._roots()))
            self._stop.wait(self._interval)
