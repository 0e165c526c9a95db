"""The commands. What a command needs is imported when it runs: `elanus --version` answers at once.

Exit codes: 0 done, 1 it failed (or `inspect` found problems), 2 it was called or configured wrongly.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from elanus import __version__
from elanus.model.errors import ElanusError

if TYPE_CHECKING:
    from elanus.runtime.config_sources import Flag, Loaded

FAILED = 1
USAGE = 2


def examples(*commands: str) -> str:
    """The end of a command's help; the first character keeps the lines apart."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


app = typer.Typer(
    name="elanus",
    help="A vector database in Python that speaks the Milvus protocol.",
    epilog="Start with `elanus serve`, then connect any Milvus client to http://localhost:19530.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ConfigFormat(StrEnum):
    TABLE = "table"
    YAML = "yaml"
    JSON = "json"


class InspectFormat(StrEnum):
    TABLE = "table"
    JSON = "json"


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="ELANUS_CONFIG",
        help="YAML file with keys as in milvus.yaml; `elanus config` lists them.",
    ),
]


def main() -> None:
    """Runs the command line; errors of the domain become one line each, without a traceback."""
    try:
        app()
    except ElanusError as error:
        fail(error, FAILED)


def print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"elanus {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """A vector database in Python that speaks the Milvus protocol."""


@app.command(
    short_help="Run a server in the foreground.",
    epilog=examples(
        "elanus serve --data ./data",
        "elanus serve --port 19531 --management-port 9092",
        "ELANUS_LOG__LEVEL=debug elanus serve --config elanus.yaml",
    ),
)
def serve(
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Data directory; made if it is not there. [default: ./data]"),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address to listen on. [default: 0.0.0.0]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Port of the Milvus protocol; 0: any. [default: 19530]")
    ] = None,
    management_port: Annotated[
        int | None,
        typer.Option(metavar="PORT", help="Port of /healthz and /metrics; 0: any. [default: 9091]"),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Run a server with all roles in the foreground, until SIGTERM or Ctrl-C."""
    from elanus.runtime import logs
    from elanus.runtime.config_sources import Flag

    loaded = load(
        config,
        Flag("--data", "localStorage.path", data),
        Flag("--host", "proxy.ip", host),
        Flag("--host", "management.ip", host),
        Flag("--port", "proxy.port", port),
        Flag("--management-port", "management.port", management_port),
    )
    logs.configure(loaded.config.log.level, loaded.config.log.format)

    from elanus.runtime import server

    server.serve(loaded.config)


@app.command(
    name="config",
    short_help="Print every setting: value, default, meaning, origin.",
    epilog=examples(
        "elanus config", "elanus config --config elanus.yaml", "elanus config --format yaml > elanus.yaml"
    ),
)
def show_config(
    config: ConfigFile = None,
    format: Annotated[
        ConfigFormat, typer.Option("--format", help="yaml is a configuration file to start from.")
    ] = ConfigFormat.TABLE,
) -> None:
    """Print every configuration key: its default, its meaning, what is in force and what set it."""
    from elanus.runtime import config_report

    table = config_report.rows(load(config))
    match format:
        case ConfigFormat.JSON:
            typer.echo(config_report.as_json(table))
        case ConfigFormat.YAML:
            typer.echo(config_report.as_yaml(table), nl=False)
        case ConfigFormat.TABLE:
            from elanus.cli.tables import config_table, show

            show(config_table(table))


@app.command(
    short_help="Show what lies in a data directory.",
    epilog=examples(
        "elanus inspect ./data",
        "elanus inspect ./data --segments --verify",
        "elanus inspect ./data --format json",
    ),
)
def inspect(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="A data directory of a server or of Lite.")
    ],
    format: Annotated[InspectFormat, typer.Option("--format", help="How to print it.")] = InspectFormat.TABLE,
    segments: Annotated[bool, typer.Option("--segments", help="List every segment too.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of every segment and compare checksums.")
    ] = False,
) -> None:
    """Show what lies in a data directory, without changing it; exit code 1 if there are problems."""
    from elanus.runtime.inspection import inspect as look

    report = look(directory, verify)
    if format is InspectFormat.JSON:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        from elanus.cli.tables import inspection_tables, show

        show(*inspection_tables(report, segments))
    if report.problems:
        raise typer.Exit(FAILED)


def load(file: Path | None, *flags: "Flag") -> "Loaded":
    """The configuration in force; its warnings go to stderr. Ends the process where it cannot be right."""
    from elanus.runtime.config_sources import ConfigError
    from elanus.runtime.config_sources import load as load_layers

    try:
        loaded = load_layers(file, os.environ, flags)
    except ConfigError as error:
        fail(error, USAGE)
    for warning in loaded.warnings:
        typer.echo(f"elanus: warning: {warning}", err=True)
    return loaded


def fail(error: ElanusError, code: int) -> NoReturn:
    for line in error.message.splitlines():
        typer.echo(f"elanus: {line}", err=True)
    sys.exit(code)
