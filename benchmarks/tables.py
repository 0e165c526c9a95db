"""The tables of a run: one a part, a row a measure, a column a system, with ratios to the reference."""

from benchmarks.parts import PARTS
from benchmarks.parts.part import Settings
from benchmarks.results import Measure, Run
from benchmarks.systems import REFERENCE


def rows(run: Run, part: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of a part's table."""
    measures = [measure for measure in run.measures if measure.part == part]
    systems = list(dict.fromkeys(measure.system for measure in measures))
    whats = list(dict.fromkeys(measure.what for measure in measures if measure.what))
    by_key = {(measure.system, measure.what): measure for measure in measures}
    table = []
    for what in whats:
        of_row = {system: by_key.get((system, what)) for system in systems}
        unit = next((measure.unit for measure in of_row.values() if measure), "")
        table.append([f"{what} ({unit})" if unit else what, *(cell(of_row, system) for system in systems)])
    return ["", *systems], table


def cell(of_row: dict[str, Measure | None], system: str) -> str:
    measure = of_row[system]
    if measure is None:
        return ""
    if measure.value is None:
        return "-"
    reference = of_row.get(REFERENCE)
    text = number(measure.value)
    if system != REFERENCE and reference and reference.value and measure.better:
        text += f" ({number(measure.value / reference.value)}x)"
    return text


def number(value: float) -> str:
    """Three figures."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def notes(run: Run, part: str, settings: Settings) -> list[str]:
    lines = PARTS[part](settings).report(run)
    lines += [
        f"{measure.system}: {measure.what + ': ' if measure.what else ''}{measure.note}"
        for measure in run.measures
        if measure.part == part and measure.note
    ]
    return list(dict.fromkeys(lines))
