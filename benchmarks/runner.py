"""A run: every wanted system in turn, every wanted part in order."""

import time
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
from benchmarks.results import MEMORY, PEAK_IN, Run
from benchmarks.session import Session, SystemFailed
from benchmarks.systems import system_class
from tests.environments import EnvironmentFailed

MB = 1 << 20


FREE = ("systems", "parts")
"""Settings that may differ where a run is taken up again: it does what is missing."""


class OtherSettings(Exception):
    """A run cannot be taken up again with other settings; the message names them."""


def run(
    settings: Settings,
    work: Path | None = None,
    saved: Callable[[Run], None] | None = None,
    begun: Run | None = None,
) -> Run:
    """`work`: where the systems' folders go; `saved` gets the run after every part, lest it be lost; `begun`:
    a run whose finished parts are kept. Raises OtherSettings."""
    found = resume(begun, settings) if begun else new(settings)
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
        missing = {name: unfinished(name, parts, found) for name in settings.systems}
        bar = Bar(progress, sum(part.seconds() for wanted in missing.values() for part in wanted))
        for name, wanted in missing.items():
            found.failures.pop(name, None)
            try:
                run_system(name, wanted, settings, found, bar, work, saved)
            except (SystemFailed, EnvironmentFailed) as error:
                found.failures[name] = str(error)
                progress.console.print(f"failed: {error}", style="red", markup=False)
    return found


def new(settings: Settings) -> Run:
    return Run(now(), this_machine(), commit(), as_text(settings))


def resume(begun: Run, settings: Settings) -> Run:
    """What was finished is kept; raises OtherSettings where it was done otherwise."""
    wanted = as_text(settings)
    other = [
        f"{name} {begun.settings.get(name)}, now {value}"
        for name, value in wanted.items()
        if name not in FREE and begun.settings.get(name) != value
    ]
    if other:
        raise OtherSettings(f"the run was begun with other settings: {'; '.join(other)}")
    for name in FREE:
        values = [*begun.settings[name].split(","), *wanted[name].split(",")]
        begun.settings[name] = ",".join(dict.fromkeys(values))
    begun.resumed.append(f"{now()}, {commit()}")
    return begun


def as_text(settings: Settings) -> dict[str, str]:
    values = {field: getattr(settings, field) for field in Settings.__dataclass_fields__}
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def unfinished(system: str, parts: list[Part], found: Run) -> list[Part]:
    """Of the parts that `system` can run."""
    done = found.took.get(system, {})
    return [part for part in parts if fits(part, system) and part.name not in done]


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
        for part in parts:
            begun = time.perf_counter()
            found.forget(part.name, name)
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
            context.measure(MEMORY, PEAK_IN + part.name, memory.peak / MB, "MB", "less")
            found.note_peak(name)
            found.took.setdefault(name, {})[part.name] = round(time.perf_counter() - begun, 1)
            bar.done(part.seconds())
            if saved:
                saved(found)


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
