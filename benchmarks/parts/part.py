"""The phases of every part: prepare, run, report."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.data import Dataset
from benchmarks.model import Load, Sample, Unsupported
from benchmarks.results import LoadResult, Measure, Run, percentiles_ms
from benchmarks.session import Session
from benchmarks.tables import Table, part_table


@dataclass(frozen=True)
class Settings:
    """What a run is made of; every number a flag of the command line."""

    systems: tuple[str, ...]
    parts: tuple[str, ...]
    data: str = "text"
    rows: int = 0
    rounds: int = 5
    seconds: float = 8.0
    clients: tuple[int, ...] = (1, 4, 16, 64)
    processes: int = 2
    recall: float = 0.95
    k: int = 10
    settle: float = -1.0
    pymilvus: tuple[str, ...] = ("2.6.17", "3.0.2")
    batch: int = 5000
    trickle: int = 500
    levels: tuple[str, ...] = ()  # consistency levels; all that a system has without any
    collections: int = 1000
    ef_construction: int = 200  # of the HNSW index of the run's collection
    plain: bool = False  # insert with pymilvus' own client


@dataclass
class Context:
    """One system in one run. `note` says what goes on, `advance` how much of a part is done (0 to 1)."""

    session: Session
    settings: Settings
    run: Run
    dataset: Dataset
    note: Callable[[str], None] = lambda text: None
    advance: Callable[[float], None] = lambda fraction: None

    def measure(
        self, part: str, what: str, value: float | None, unit: str, better: str = "", note: str = ""
    ) -> None:
        self.run.measures.append(Measure(part, self.session.name, what, value, unit, better, note))

    def settle(self) -> float:
        """Seconds that the system is left alone after its data changed."""
        given = self.settings.settle
        return given if given >= 0 else self.session.kind.settle_seconds


def clients_text(count: int) -> str:
    return f"{count} client{'s' if count != 1 else ''}"


class Part(ABC):
    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str]
    """What is measured and how, for the page of results."""
    servers_only: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def seconds(self) -> float:
        """About how long it takes a system: for the progress bar."""

    @abstractmethod
    def prepare(self, context: Context) -> None: ...

    @abstractmethod
    def run(self, context: Context) -> None:
        """Appends what it measures to the run. Raises Unsupported."""

    @classmethod
    def report(cls, run: Run) -> Table:
        return part_table(run, cls.name, cls.title, cls.about)


def result(
    part: str,
    context: Context,
    load: Load,
    sample: Sample,
    recall: float = -1.0,
    level: str | None = None,
    note: str = "",
) -> LoadResult:
    """Of one level of a sample; the first without a name."""
    level = level or load.levels[0]
    latencies = sample.latencies[level]
    queries = len(latencies) // 8
    return LoadResult(
        part=part,
        system=context.session.name,
        clients=load.clients,
        level=level,
        k=load.k,
        ef=load.ef,
        filter=load.filter.kind if load.filter else "",
        selectivity=load.filter.selectivity if load.filter else 1.0,
        queries=queries,
        qps=round(queries / sample.seconds, 2) if sample.seconds else 0.0,
        recall=round(recall, 4),
        percentiles=percentiles_ms(latencies),
        errors=sample.errors,
        inserted=sample.inserted,
        note=note or sample.first_error,
    )


__all__ = ["Context", "Part", "Settings", "Unsupported", "clients_text", "result"]
