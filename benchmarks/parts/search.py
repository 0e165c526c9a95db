"""Vector search: throughput over recall, then many clients at one recall."""

from benchmarks import exact
from benchmarks.model import Ids, Load
from benchmarks.parts import ingest
from benchmarks.parts.part import Context, Part, clients_text, result
from benchmarks.results import LoadResult

SWEEP = (16, 32, 64, 128, 256, 512, 1024)
STEP = 8
"""ef is found to within this."""
ENOUGH = 0.995
MARGIN = 0.001
"""So much more than the wanted recall, so that it holds for other queries of the same kind too."""
SWEEP_NOTE = "sweep"


class Search(Part):
    name = "search"
    title = "Search"
    about = (
        "Searches for the 10 nearest, one vector a request. First a sweep over ef with one client; "
        "then, with the smallest ef (in steps of 8) that reaches the wanted recall, each number of "
        "clients at each consistency level. Clients send prebuilt requests over raw gRPC from processes "
        "of their own; those of a library are threads of its process."
    )

    def seconds(self) -> float:
        levels = 3 * len(self.settings.clients)
        return self.settings.seconds * (levels + len(SWEEP) / 2 + 2)

    def prepare(self, context: Context) -> None:
        ingest.ensure(context)
        context.note("exact answers")
        self.truth = exact.neighbours(context.dataset, self.settings.k)

    def run(self, context: Context) -> None:
        ef = find_ef(context, self.truth)
        known = context.session.kind.levels
        levels = [level for level in known if level in self.settings.levels] or list(known)
        for number, level in enumerate(levels):
            for count, clients in enumerate(self.settings.clients):
                name = f"{level}, {clients_text(clients)}"
                context.note(name)
                load = Load(
                    context.dataset.queries,
                    clients=clients,
                    processes=self.settings.processes,
                    seconds=self.settings.seconds,
                    k=self.settings.k,
                    ef=ef,
                    levels=(level,),
                    warmup=max(20, clients),
                )
                found = measure(context, self.name, load, self.truth)
                context.measure(self.name, f"{name}: QPS", found.qps, "q/s", "more", problem(found))
                context.measure(self.name, f"{name}: p50", found.percentiles["50"], "ms", "less")
                context.measure(self.name, f"{name}: p99", found.percentiles["99"], "ms", "less")
                context.measure(self.name, f"{name}: recall", found.recall, "")
                done = (number * len(self.settings.clients) + count + 1) / len(levels)
                context.advance(0.3 + 0.7 * done / len(self.settings.clients))


def find_ef(context: Context, truth: Ids) -> int:
    """The smallest that reaches the wanted recall; found once a system, kept in its session."""
    settings, session = context.settings, context.session
    if session.ef:
        return session.ef

    before = (Search.name, session.name, SWEEP_NOTE)
    run = context.run
    run.loads = [load for load in run.loads if (load.part, load.system, load.note) != before]

    def at(ef: int) -> float:
        context.note(f"sweep, ef {ef}")
        load = Load(
            context.dataset.queries,
            seconds=settings.seconds,
            k=settings.k,
            ef=ef,
            levels=(session.kind.levels[-1],),
        )
        return measure(context, Search.name, load, truth, SWEEP_NOTE).recall

    wanted = settings.recall + MARGIN
    below, reached = settings.k - 1, 0
    for number, ef in enumerate(SWEEP):
        recall = at(ef)
        context.advance(0.2 * (number + 1) / len(SWEEP))
        if recall < wanted:
            below = ef
        else:
            reached = reached or ef
        if recall >= ENOUGH or (reached and ef >= 4 * reached):
            break
    if not reached:
        context.measure(Search.name, "ef", None, "", note=f"recall stays below {settings.recall} at ef {ef}")
        session.ef = ef
        return ef
    while reached - below > STEP:
        middle = (below + reached) // 2 // STEP * STEP
        if middle <= below:
            break
        below, reached = (below, middle) if at(middle) >= wanted else (middle, reached)
    context.measure(Search.name, "ef", reached, "")
    session.ef = reached
    return reached


def measure(context: Context, part: str, load: Load, truth: Ids | None, note: str = "") -> LoadResult:
    """Runs the load; the run keeps the result. Raises SystemFailed if nothing was answered."""
    sample = context.session.system.search(load)
    recall = exact.recall(sample.answers, truth) if truth is not None else -1.0
    found = result(part, context, load, sample, recall, note=note)
    context.run.loads.append(found)
    if not found.queries:
        raise context.session.failure(f"no search was answered: {sample.first_error}")
    return found


def problem(found: LoadResult) -> str:
    return f"{found.errors} errors: {found.note}" if found.errors else ""
