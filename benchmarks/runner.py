"""A run: every wanted system in turn, every wanted part in order."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.data import dataset
from benchmarks.machine import commit, this_machine
from benchmarks.memory import PeakMemory
from benchmarks.model import Unsupported
from benchmarks.parts import PARTS
from benchmarks.parts.part import Context, Part, Settings
from benchmarks.results import MEMORY, PEAK, Run
from benchmarks.session import Session, SystemFailed
from benchmarks.systems import system_class
from tests.environments import EnvironmentFailed

MB = 1 << 20


def run(settings: Settings, work: Path | None = None, saved: Callable[[Run], None] | None = None) -> Run:
    """`work`: where the systems' folders go; `saved` gets the run after every part, lest it be lost."""
    found = Run(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=this_machine(),
        commit=commit(),
        settings={field: str(getattr(settings, field)) for field in Settings.__dataclass_fields__},
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=True, compact=True),
    )
    with Progress(*columns, speed_estimate_period=600) as progress:
        parts = [PARTS[name](settings) for name in settings.parts]
        total = sum(part.seconds() for name in settings.systems for part in parts if fits(part, name))
        bar = Bar(progress, total)
        for name in settings.systems:
            try:
                run_system(
                    name, [part for part in parts if fits(part, name)], settings, found, bar, work, saved
                )
            except (SystemFailed, EnvironmentFailed) as error:
                found.failures.append(f"{name}: {error}")
                progress.console.print(f"failed: {error}", style="red", markup=False)
    return found


def run_system(
    name: str,
    parts: list[Part],
    settings: Settings,
    found: Run,
    bar: "Bar",
    work: Path | None,
    saved: Callable[[Run], None] | None,
) -> None:
    if not parts:
        return
    bar.note(f"{name}: start")
    with Session(name, work) as session:
        session.open()
        found.versions[name] = session.system.version()
        data = dataset(settings.data, settings.rows)
        peak = 0
        for part in parts:
            context = Context(session, settings, found, data)
            context.note = lambda text, part=part: bar.note(f"{name}: {part.name}: {text}")  # type: ignore[misc]
            context.advance = lambda share, part=part: bar.within(part.seconds(), share)  # type: ignore[misc]
            context.note("prepare")
            with PeakMemory(session.roots) as memory:
                try:
                    part.prepare(context)
                    part.run(context)
                except Unsupported as error:
                    context.measure(part.name, "", None, "", note=f"not supported: {error}")
            peak = max(peak, memory.peak)
            context.measure(MEMORY, f"peak in {part.name}", memory.peak / MB, "MB", "less")
            bar.done(part.seconds())
            if saved:
                saved(found)
        context.measure(MEMORY, PEAK, peak / MB, "MB", "less")


def fits(part: Part, system: str) -> bool:
    return not (part.servers_only and system_class(system).in_process)


class Bar:
    """The progress bar, in seconds that the parts expect to take."""

    def __init__(self, progress: Progress, total: float) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._before = 0.0

    def note(self, text: str) -> None:
        self._progress.update(self._task, description=f"{text:<44}"[:44])

    def within(self, seconds: float, share: float) -> None:
        self._progress.update(self._task, completed=self._before + seconds * share)

    def done(self, seconds: float) -> None:
        self._before += seconds
        self._progress.update(self._task, completed=self._before)
