"""From SIGKILL to the first right search."""

import statistics
import time

from benchmarks import exact
from benchmarks.memory import tree_bytes
from benchmarks.model import Load, Unsupported
from benchmarks.parts import ingest
from benchmarks.parts.part import Context, Part
from benchmarks.session import Session, SystemFailed

ROUNDS = 3
EF = 1024
RIGHT = 0.9
"""So much of the exact answer makes a search right."""
WAIT_SECONDS = 300.0
POLL_SECONDS = 0.02
MB = 1 << 20


class Restart(Part):
    name = "restart"
    title = "Restart after SIGKILL"
    about = (
        "The process tree is killed with SIGKILL and started again at once: median time to the first "
        "answered call, and to the first search that finds nine of the ten nearest (ef 1024)."
    )

    def seconds(self) -> float:
        return 20.0 * ROUNDS

    def prepare(self, context: Context) -> None:
        ingest.ensure(context)
        self.truth = exact.neighbours(context.dataset, self.settings.k)

    def run(self, context: Context) -> None:
        level = context.session.kind.levels[0]
        load = Load(context.dataset.queries, k=self.settings.k, ef=EF, levels=(level,))
        answered, right = [], []
        for number in range(ROUNDS):
            context.note(f"kill {number + 1}")
            begun = time.perf_counter()
            killed = context.session.crash()
            answered.append(killed.answered)
            context.note("first search")
            await_right(context.session, load, self.truth[0].tolist(), begun + WAIT_SECONDS)
            right.append(time.perf_counter() - killed.started)
            context.advance((number + 1) / ROUNDS)
        spread = f"{min(right):.2f} to {max(right):.2f} in {len(right)}"
        context.measure(self.name, "first answered call", statistics.median(answered), "s", "less")
        context.measure(self.name, "first right search", statistics.median(right), "s", "less", spread)
        memory = tree_bytes(context.session.roots()) / MB
        context.measure(self.name, "memory then", memory, "MB", "less")


def await_right(session: Session, load: Load, truth: list[int], deadline: float) -> None:
    """Raises SystemFailed after the deadline, with the last wrong answer or error."""
    last = "nothing was tried"
    while time.perf_counter() < deadline:
        try:
            found = session.system.first_search(load)
        except SystemFailed as error:
            session.failed, last = False, str(error)
        except Unsupported as error:
            raise SystemFailed(f"{session.kind.title}: the first search: {error}") from error
        else:
            if len(set(found) & set(truth)) >= RIGHT * len(truth):
                return
            last = f"it found {found}, the nearest are {truth}"
        time.sleep(POLL_SECONDS)
    raise session.failure(f"no right search within {WAIT_SECONDS:.0f} s: {last}")
