"""How far a long run is, on standard error."""

import sys
import time
from collections import Counter

_STEPS_PER_LINE = 6


class Progress:
    """Silent until `begin` says how many histories there will be."""

    def __init__(self) -> None:
        self._total = 0

    def begin(self, histories: int) -> None:
        self._total, self._done, self._rows, self._steps = histories, 0, 0, Counter[str]()
        self._started = time.monotonic()

    def step(self, name: str, rows: int) -> None:
        if self._total:
            self._rows += rows
            self._steps[name] += 1

    def history(self) -> None:
        if self._total:
            self._done += 1
            taken = time.monotonic() - self._started
            left = taken / self._done * max(0, self._total - self._done)
            say(
                f"\r{self._done} of {self._total} histories, {self._steps.total()} steps "
                f"with {self._rows // max(1, self._steps.total())} rows, "
                f"{taken / 60:.1f} min, {left / 60:.1f} min left   "
            )

    def end(self) -> None:
        if self._total:
            counts = [f"{name} {count}" for name, count in sorted(self._steps.items())]
            for start in range(0, len(counts), _STEPS_PER_LINE):
                say("\n" + ", ".join(counts[start : start + _STEPS_PER_LINE]))
            say("\n")


def say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


progress = Progress()
