"""What the commands print for people."""

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from elanus.runtime.config_report import Row
from elanus.runtime.config_sources import DEFAULT_ORIGIN

PLAIN_WIDTH = 160
"""Columns where the output is not a terminal, so that a pipe sees whole lines."""


def show(*parts: RenderableType) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    for part in parts:
        console.print(part)


def plain_table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def config_table(rows: list[Row]) -> Table:
    """Every key; what is not at its default stands out."""
    table = plain_table("key", "in force", "default", "set by", "meaning")
    for row in rows:
        style = "" if row.origin == DEFAULT_ORIGIN else "bold"
        cells = (row.key, str(row.value), str(row.default), row.origin, row.meaning)
        table.add_row(*(Text(cell) for cell in cells), style=style)
    return table
