"""The command line of the harness."""

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import ROOT, runner
from benchmarks import report as pages
from benchmarks.data import SOURCES
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

PLAIN_WIDTH = 200
"""Columns where the output is not a terminal, so that a pipe sees whole lines."""
PAGE = ROOT / "docs" / "benchmarks.md"
STANDARD = "ready,hello,strong,ingest,search,pymilvus,filter,restart,mixed"

ALL = "all"

Systems = Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(SYSTEMS)}; or {ALL}.")]
Rounds = Annotated[int, typer.Option(help="How often a thing that has a median is done.")]
Seconds = Annotated[float, typer.Option(help="How long each setting is measured.")]
Work = Annotated[Path | None, typer.Option(metavar="DIR", help="Where the systems keep their data.")]
Out = Annotated[Path | None, typer.Option(metavar="FILE", help="Where the JSON goes.")]
Resume = Annotated[
    bool,
    typer.Option(help="Keep what FILE has finished with the same settings; do the rest."),
]


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


@app.command()
def run(
    systems: Systems = "elanus,milvus",
    parts: Annotated[str, typer.Option(help=f"Comma-separated: {', '.join(PARTS)}.")] = STANDARD,
    data: Annotated[str, typer.Option(help=f"One of: {', '.join(SOURCES)}.")] = "text",
    rows: Annotated[int, typer.Option(help="Only so many of the data's first rows; 0: all.")] = 0,
    clients: Annotated[str, typer.Option(help="Comma-separated numbers of clients.")] = "1,4,16,64",
    processes: Annotated[int, typer.Option(help="That a server's clients are spread over, at most.")] = 2,
    seconds: Seconds = 8.0,
    rounds: Rounds = 5,
    recall: Annotated[float, typer.Option(help="ef is raised until it is reached.")] = 0.95,
    settle: Annotated[float, typer.Option(help="Seconds after a load; negative: each system's own.")] = -1.0,
    batch: Annotated[int, typer.Option(help="Rows an insert.")] = 5000,
    trickle: Annotated[int, typer.Option(help="Rows a second, in the part `mixed`.")] = 500,
    levels: Annotated[str, typer.Option(help="Consistency levels in the part `search`; empty: all.")] = "",
    collections: Annotated[int, typer.Option(help="How many, in the part `many`.")] = 1000,
    pymilvus: Annotated[str, typer.Option(help="Versions in the part `hello`.")] = "2.6.17,3.0.2",
    ef_construction: Annotated[int, typer.Option(help="Of HNSW, with M 16.")] = 200,
    plain_insert: Annotated[bool, typer.Option(help="Insert with pymilvus' MilvusClient.")] = False,
    work: Work = None,
    out: Out = Path("benchmark.json"),
    resume: Resume = False,
) -> None:
    """Named parts on named systems; afterwards `report` makes the page and its plots."""
    if data not in SOURCES:
        raise typer.BadParameter(f"there is no {data!r}; known: {', '.join(SOURCES)}")
    settings = Settings(
        systems=names(systems, SYSTEMS),
        parts=tuple(part for part in PARTS if part in names(parts, PARTS)),
        data=data,
        rows=rows,
        rounds=rounds,
        seconds=seconds,
        clients=tuple(int(number) for number in clients.split(",")),
        processes=processes,
        recall=recall,
        settle=settle,
        pymilvus=tuple(pymilvus.split(",")),
        batch=batch,
        trickle=trickle,
        levels=tuple(filter(None, levels.split(","))),
        collections=collections,
        ef_construction=ef_construction,
        plain=plain_insert,
    )
    go(settings, out, work, resume)


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="JSON of runs. [default: docs/benchmarks/*.json]")
    ] = None,
    page: Annotated[Path, typer.Option(help="The page whose generated part is replaced.")] = PAGE,
    plots: Annotated[bool, typer.Option(help="Draw the plots.")] = True,
) -> None:
    """Make the page of results, tables and plots, from the JSON of runs."""
    pages.write(page, runs or sorted(page.with_suffix("").glob("*.json")), plots)


@app.command(name="show")
def show_run(run: Annotated[Path, typer.Argument(metavar="FILE", help="JSON of a run.")]) -> None:
    """Print the tables of a run."""
    show(Run.read(run))


def names(given: str, known: Mapping[str, object]) -> tuple[str, ...]:
    if given == ALL:
        return tuple(known)
    found = tuple(name.strip() for name in given.split(",") if name.strip())
    for name in found:
        if name not in known:
            raise typer.BadParameter(f"there is no {name!r}; known: {', '.join(known)}")
    return found


def go(settings: Settings, out: Path | None, work: Path | None = None, resume: bool = False) -> None:
    # So that a `kill` of the harness ends the servers it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
    begun = Run.read(out) if resume and out and out.exists() else None
    try:
        run = runner.run(settings, work, (lambda run: run.save(out)) if out else None, begun)
    except runner.OtherSettings as error:
        raise typer.BadParameter(str(error)) from error
    if out:
        run.save(out)
    show(run)
    if run.failures:
        raise typer.Exit(1)


def show(run: Run) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(f"{run.machine.cpu}, {run.machine.cores} cores, {run.machine.memory_gb} GB; {run.versions}")
    for each in pages.tables(run):
        table = Table(title=each.title, title_justify="left")
        for head in each.heads:
            table.add_column(head, justify="right" if head else "left", no_wrap=True)
        for row in each.rows:
            table.add_row(*row)
        console.print(table)
        for note in each.notes:
            console.print(f"  {note}", markup=False)
    for system, why in run.failures.items():
        console.print(f"failed: {system}: {why}", style="red", markup=False)
