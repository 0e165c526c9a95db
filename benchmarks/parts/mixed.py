"""Search while rows come in."""

from benchmarks import exact
from benchmarks.model import EVENTUALLY, STRONG, Load, Rows
from benchmarks.parts import ingest
from benchmarks.parts.part import Context, Part, clients_text
from benchmarks.parts.search import find_ef, measure, problem

OFFSET = 1_000_000_000
CLIENTS = (1, 16)


class Mixed(Part):
    name = "mixed"
    title = "Search while inserting"
    about = (
        "The searches of before while another process inserts at a steady rate, ten batches a second; the "
        "rows are those of the collection again, under new keys, so recall is not compared."
    )

    def seconds(self) -> float:
        return 4 * self.settings.seconds

    def prepare(self, context: Context) -> None:
        ingest.ensure(context)
        self.ef = find_ef(context, exact.neighbours(context.dataset, self.settings.k))

    def run(self, context: Context) -> None:
        known = context.session.kind.levels
        levels = [level for level in (EVENTUALLY, STRONG) if level in known] or list(known)
        settings = self.settings
        number = 0
        for level in levels:
            for clients in CLIENTS:
                name = f"{level}, {clients_text(clients)}"
                context.note(name)
                number += 1
                rows = Rows(context.dataset.vectors, 0, context.dataset.rows, number * OFFSET)
                load = Load(
                    context.dataset.queries,
                    clients=clients,
                    processes=settings.processes,
                    seconds=settings.seconds,
                    k=settings.k,
                    ef=self.ef,
                    levels=(level,),
                    trickle=settings.trickle,
                    trickle_rows=rows,
                )
                found = measure(context, self.name, load, None)
                context.measure(self.name, f"{name}: QPS", found.qps, "q/s", "more", problem(found))
                context.measure(self.name, f"{name}: p50", found.percentiles["50"], "ms", "less")
                context.measure(self.name, f"{name}: p99", found.percentiles["99"], "ms", "less")
                context.measure(self.name, f"{name}: inserts", found.inserted, "rows/s")
                context.advance(number / len(levels) / len(CLIENTS))
