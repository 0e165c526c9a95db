"""The tables of a run: one a part, a row a measure, a column a system, with our ratio to each peer."""

from dataclasses import dataclass

from benchmarks import goals
from benchmarks.results import Measure, Run


@dataclass(frozen=True)
class Table:
    title: str
    about: str
    heads: list[str]
    rows: list[list[str]]
    notes: list[str]


def part_table(run: Run, part: str, title: str, about: str) -> Table:
    measures = [measure for measure in run.measures if measure.part == part]
    systems = list(dict.fromkeys(measure.system for measure in measures))
    whats = list(dict.fromkeys(measure.what for measure in measures if measure.what))
    by_key = {(measure.system, measure.what): measure for measure in measures}
    rows = []
    for what in whats:
        of_row = {system: by_key.get((system, what)) for system in systems}
        unit = next((measure.unit for measure in of_row.values() if measure), "")
        rows.append([f"{what} ({unit})" if unit else what, *(cell(of_row, system) for system in systems)])
    notes = [
        f"{measure.system}: {measure.what + ': ' if measure.what else ''}{measure.note}"
        for measure in measures
        if measure.note
    ]
    return Table(title, about, ["", *systems], rows, list(dict.fromkeys(notes)))


def cell(of_row: dict[str, Measure | None], system: str) -> str:
    """The value; of another system also how many times as much ours is."""
    measure = of_row[system]
    if measure is None:
        return ""
    if measure.value is None:
        return "-"
    ours = of_row.get(goals.OURS)
    text = number(measure.value)
    if system != goals.OURS and ours and ours.value is not None and measure.value and measure.better:
        text += f" ({number(ours.value / measure.value)}x)"
    return text


def time_table(run: Run) -> Table:
    """Seconds that each part took, preparation included."""
    parts = list(dict.fromkeys(part for took in run.took.values() for part in took))
    rows = [
        [f"{part} (s)", *(number(took[part]) if part in took else "" for took in run.took.values())]
        for part in parts
    ]
    rows.append(["all (s)", *(number(sum(took.values())) for took in run.took.values())])
    about = "Seconds that each part took, with all its preparation and waiting."
    return Table("How long the run took", about, ["", *run.took], rows, [])


def goals_table(outcomes: list[goals.Outcome]) -> Table:
    rows = []
    for outcome in outcomes:
        goal = outcome.goal
        unit = f"x {goal.to}" if goal.to else ""
        wanted = f">= {number(goal.at_least)}" if goal.at_least else f"<= {number(goal.at_most)}"
        name = f"{goal.part}: {goal.what}"
        rows.append(
            [name, f"{wanted} {unit}".strip(), number(outcome.value), "yes" if outcome.reached else "NO"]
        )
    return Table("Goals", "", ["", "wanted", goals.OURS, "reached"], rows, [])


def number(value: float) -> str:
    """Three figures."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
