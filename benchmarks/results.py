"""What a run measured, as it is kept in JSON."""

from pathlib import Path

import msgspec
import numpy as np

MEMORY, PEAK = "memory", "peak"
"""The part and the name of the most memory that a system took in the whole run."""
PEAK_IN = "peak in "
"""Before the name of a part: the most in that part."""
PERCENTILES = (5, 10, 25, 50, 75, 90, 95, 99, 99.9)


class Measure(msgspec.Struct, frozen=True):
    """One number of one system. `better`: "less", "more" or "" where neither is. None: see `note`."""

    part: str
    system: str
    what: str
    value: float | None
    unit: str
    better: str = ""
    note: str = ""


class LoadResult(msgspec.Struct, frozen=True):
    """Searches at one setting. `percentiles`: ms by percentile, as in PERCENTILES; `recall`: of k, -1: not
    compared."""

    part: str
    system: str
    clients: int
    level: str
    k: int
    ef: int
    filter: str
    selectivity: float
    queries: int
    qps: float
    recall: float
    percentiles: dict[str, float]
    errors: int = 0
    inserted: float = 0.0
    note: str = ""


class Machine(msgspec.Struct, frozen=True):
    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str


class Run(msgspec.Struct):
    """`took`: seconds by system and finished part. `failures`: why a system was given up."""

    started: str
    machine: Machine
    commit: str
    settings: dict[str, str]
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    took: dict[str, dict[str, float]] = msgspec.field(default_factory=dict)
    measures: list[Measure] = msgspec.field(default_factory=list)
    loads: list[LoadResult] = msgspec.field(default_factory=list)
    failures: dict[str, str] = msgspec.field(default_factory=dict)
    resumed: list[str] = msgspec.field(default_factory=list)
    """When it was taken up again."""

    def save(self, path: Path) -> None:
        """Whole or not at all: an interrupted run leaves what it had."""
        making = path.with_suffix(".making")
        making.write_bytes(msgspec.json.format(msgspec.json.encode(self)))
        making.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Run":
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def forget(self, part: str, system: str) -> None:
        """What is measured anew must not stand beside what was measured before."""
        ours = (part, system)
        peak = (MEMORY, system, PEAK_IN + part)
        self.measures = [
            m for m in self.measures if (m.part, m.system) != ours and (m.part, m.system, m.what) != peak
        ]
        self.loads = [load for load in self.loads if (load.part, load.system) != ours]

    def note_peak(self, system: str) -> None:
        """The largest of its parts' peaks."""
        others = [m for m in self.measures if (m.part, m.system, m.what) != (MEMORY, system, PEAK)]
        peaks = [m.value or 0.0 for m in others if m.part == MEMORY and m.system == system]
        self.measures = [*others, Measure(MEMORY, system, PEAK, max(peaks, default=0.0), "MB", "less")]

    def value(self, part: str, system: str, what: str) -> float | None:
        """The last measure of that name."""
        found = [m.value for m in self.measures if (m.part, m.system, m.what) == (part, system, what)]
        return found[-1] if found else None


def percentiles_ms(latencies: bytes) -> dict[str, float]:
    """Of float64 bytes, seconds."""
    seconds = np.frombuffer(latencies, np.float64)
    if not len(seconds):
        return {}
    values = np.percentile(seconds, PERCENTILES) * 1000
    return {str(at): round(float(value), 4) for at, value in zip(PERCENTILES, values, strict=True)}
