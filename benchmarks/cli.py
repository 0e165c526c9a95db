"""The command line of the harness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import runner, tables
from benchmarks.parts import PARTS
from benchmarks.parts.part import Settings
from benchmarks.results import Run
from benchmarks.systems import SYSTEMS

app = typer.Typer(
    name="benchmarks",
    help="The same work on elanus and on its peers, in turn, in one run; ratios are taken within a run only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Systems = Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(SYSTEMS)}.")]
Rounds = Annotated[int, typer.Option(help="How often a thing that has a median is done.")]
Seconds = Annotated[float, typer.Option(help="How long each setting is measured.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Where the JSON goes.")]


@app.command()
def hello(
    systems: Systems = "elanus,milvus",
    pymilvus: Annotated[str, typer.Option(help="Comma-separated versions.")] = "2.6.17,3.0.2",
    rounds: Rounds = 5,
    out: Out = None,
) -> None:
    """The first walk of a user, whole-process wall time of the client."""
    go(
        Settings(
            systems=names(systems, SYSTEMS),
            parts=("hello",),
            data="small",
            rounds=rounds,
            pymilvus=tuple(pymilvus.split(",")),
        ),
        out,
    )


@app.command()
def strong(systems: Systems = "elanus", seconds: Seconds = 10.0, rows: int = 10_000, out: Out = None) -> None:
    """p50 of Strong searches over Eventually searches, alternating request by request."""
    go(
        Settings(
            systems=names(systems, SYSTEMS), parts=("strong",), data="small", rows=rows, seconds=seconds
        ),
        out,
    )


def names(given: str, known: Mapping[str, object]) -> tuple[str, ...]:
    found = tuple(name.strip() for name in given.split(",") if name.strip())
    for name in found:
        if name not in known:
            raise typer.BadParameter(f"there is no {name!r}; known: {', '.join(known)}")
    return found


def go(settings: Settings, out: Path | None) -> None:
    run = runner.run(settings, saved=(lambda run: run.save(out)) if out else None)
    show(run, settings)
    if out:
        run.save(out)
    if run.failures:
        raise typer.Exit(1)


def show(run: Run, settings: Settings) -> None:
    console = Console()
    console.print(f"{run.machine.cpu}, {run.machine.cores} cores, {run.machine.memory_gb} GB; {run.versions}")
    for part in settings.parts:
        heads, rows = tables.rows(run, part)
        table = Table(title=PARTS[part].title, title_justify="left")
        for head in heads:
            table.add_column(head, justify="left" if not head else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        for line in tables.notes(run, part, settings):
            console.print(f"  {line}", markup=False)
    for failure in run.failures:
        console.print(f"failed: {failure}", style="red", markup=False)
