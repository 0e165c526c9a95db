"""What elanus is to reach, as ratios within a run or as plain numbers, and whether it did."""

from dataclasses import dataclass

from benchmarks.results import MEMORY, PEAK, Run
from benchmarks.systems import REFERENCE

OURS = "elanus"


@dataclass(frozen=True)
class Goal:
    """Our measure, or its ratio to another system's; `data`: only in runs on all of it."""

    part: str
    what: str
    at_least: float = 0.0
    at_most: float = 0.0
    to: str = REFERENCE
    data: str = ""


@dataclass(frozen=True)
class Outcome:
    goal: Goal
    value: float

    @property
    def reached(self) -> bool:
        if self.goal.at_least and self.value < self.goal.at_least:
            return False
        return not (self.goal.at_most and self.value > self.goal.at_most)


ABSOLUTE = ""
FILTERED = tuple(
    Goal("filter", f"{kind}, {share}: QPS", at_least=2.0, data="text")
    for kind in ("equality", "range", "json")
    for share in ("1%", "10%", "50%")
)
SITUATIONS = ("growing", "growing, inserts", "indexed", "indexed, inserts")
GOALS = (
    Goal("hello", "pymilvus 2.6.17", at_most=0.25),
    Goal("hello", "pymilvus 3.0.2", at_most=0.25),
    *(Goal("strong", f"{situation}: ratio", at_most=1.3, to=ABSOLUTE) for situation in SITUATIONS),
    Goal("search", "Eventually, 1 client: QPS", at_least=2.5, data="text"),
    Goal("search", "Eventually, 16 clients: QPS", at_least=1.5, data="text"),
    Goal("search", "Eventually, 64 clients: QPS", at_least=1.5, data="text"),
    Goal("search", "Strong, 1 client: p50", at_most=0.02, data="text"),
    Goal("search", "Eventually, 1 client: QPS", at_least=20.0, to="milvus-lite", data="text"),
    Goal("ingest", "insert", at_least=1.5, data="text"),
    Goal("ingest", "flush + index + load", at_most=1.0, data="text"),
    *FILTERED,
    Goal("search", "Eventually, 1 client: recall", at_least=0.95, to=ABSOLUTE, data="million"),
    Goal("pymilvus", "1 client: recall", at_least=0.95, to=ABSOLUTE, data="million"),
    Goal("restart", "first right search", at_most=10.0, to=ABSOLUTE, data="million"),
    Goal(MEMORY, PEAK, at_most=1.3, data="million"),
    Goal("many", "restart: first right search", at_most=5.0, to=ABSOLUTE),
    Goal("many", "memory, not loaded", at_most=100.0, to=ABSOLUTE),
    Goal("many", "memory, loaded", at_most=100.0, to=ABSOLUTE),
    Goal("many", "memory after the restart", at_most=100.0, to=ABSOLUTE),
)


def outcomes(run: Run) -> list[Outcome]:
    """Of the goals that this run can tell about."""
    found = []
    for goal in GOALS:
        whole = run.settings.get("rows", "0") == "0"
        if goal.data and not (goal.data == run.settings.get("data") and whole):
            continue
        ours = run.value(goal.part, OURS, goal.what)
        theirs = run.value(goal.part, goal.to, goal.what) if goal.to else 1.0
        if ours is not None and theirs:
            found.append(Outcome(goal, ours / theirs))
    return found
