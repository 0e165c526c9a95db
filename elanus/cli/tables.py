"""What the commands print for people."""

from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from elanus.runtime.config_report import Row
from elanus.runtime.config_sources import DEFAULT_ORIGIN
from elanus.runtime.inspection_report import Report

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


def inspection_tables(report: Report, segments: bool) -> list[RenderableType]:
    """Collections, channels, logs, then notes and problems; `segments`: a line for each of them too."""
    title = f"{report.directory}: format {report.format}, made by elanus {report.created_by}"
    objects = f"{report.objects} objects, {sized(report.object_bytes)}; meta revision {report.meta_revision}"
    parts: list[RenderableType] = [Text(title, style="bold"), Text(objects), Text()]
    if report.collections:
        parts += [collection_table(report), Text(), channel_table(report), Text()]
        if segments:
            parts += [segment_table(report), Text()]
    else:
        parts += [Text("no collections"), Text()]
    parts += [log_table(report), Text()]
    parts += [Text(f"note: {note}") for note in report.notes]
    parts += [Text(f"problem: {problem}", style="bold red") for problem in report.problems]
    if not report.problems:
        parts.append(Text("no problems found", style="green"))
    return parts


def collection_table(report: Report) -> Table:
    table = plain_table("database", "collection", "id", "loaded", "sealed rows", "size", "fields", "indexes")
    for c in report.collections:
        state = "dropping" if c.dropping else "yes" if c.loaded else "no"
        rows = sum(channel.sealed_rows for channel in c.channels)
        size = sized(sum(channel.bytes for channel in c.channels))
        cells = (c.database, c.name, c.id, state, rows, size, ", ".join(c.fields), ", ".join(c.indexes))
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def channel_table(report: Report) -> Table:
    columns = ("collection", "channel", "log", "start", "sealed below", "manifest", "segments", "sealed rows")
    table = plain_table(*columns, "size", "delete files", "growing rows", "growing deletes")
    for collection in report.collections:
        for c in collection.channels:
            sealed = (c.floor_offset, c.manifest_version, len(c.segments), c.sealed_rows, sized(c.bytes))
            growing = (c.growing_rows, c.growing_deletes)
            cells = (collection.name, c.id, c.log, c.start_offset, *sealed, c.delete_files, *growing)
            table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def segment_table(report: Report) -> Table:
    table = plain_table(
        "collection", "channel", "segment", "rows", "size", "oldest row", "newest row", "indexes"
    )
    for collection in report.collections:
        for channel in collection.channels:
            for s in channel.segments:
                times = (moment(s.first_ms), moment(s.last_ms))
                cells = (
                    collection.name,
                    channel.id,
                    s.name,
                    s.rows,
                    sized(s.bytes),
                    *times,
                    ", ".join(s.indexes),
                )
                table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def log_table(report: Report) -> Table:
    table = plain_table(
        "log", "files", "size", "first offset", "next offset", "flushed below", "newest", "records"
    )
    for log in report.logs:
        kinds = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(log.records.items()))
        offsets = (log.start_offset, log.end_offset, log.flushed_below)
        cells = (log.name, log.files, sized(log.bytes), *offsets, moment(log.last_append_ms), kinds)
        table.add_row(*(Text(str(cell)) for cell in cells))
    return table


def sized(count: int) -> str:
    """Bytes for people, in powers of 1024."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def moment(ms: int) -> str:
    """Local time; "" for 0."""
    return datetime.fromtimestamp(ms / 1000).isoformat(" ", "seconds") if ms else ""
