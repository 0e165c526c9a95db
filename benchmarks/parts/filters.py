"""Search with a filter."""

from dataclasses import replace

from benchmarks import exact
from benchmarks.model import FILTERS, Load, Unsupported
from benchmarks.parts import ingest
from benchmarks.parts.part import Context, Part
from benchmarks.parts.search import find_ef, measure, problem

MOST_EF = 1024
LEAST_GAIN = 0.005
"""Where a doubled ef finds no more than this, another one would not either."""
WARMUP = 5


class Filters(Part):
    name = "filter"
    title = "Search with a filter"
    about = (
        "One client, the 10 nearest among 1, 10 and 50 % of the rows: an INT64 column equal to or less "
        "than a value, a number in a JSON column equal to a value. ef is that of the unfiltered search, "
        "doubled until the wanted recall is reached; no scalar index."
    )

    def seconds(self) -> float:
        return len(FILTERS) * self.settings.seconds * 0.75

    def prepare(self, context: Context) -> None:
        ingest.ensure(context)
        context.note("exact answers")
        for filter in FILTERS:
            exact.neighbours(context.dataset, self.settings.k, filter)
        self.ef = find_ef(context, exact.neighbours(context.dataset, self.settings.k))

    def run(self, context: Context) -> None:
        collection = context.session.collection
        for number, filter in enumerate(FILTERS):
            name = f"{filter.kind}, {filter.selectivity:.0%}"
            truth = exact.neighbours(context.dataset, self.settings.k, filter)
            load = Load(
                context.dataset.queries,
                seconds=self.settings.seconds / 2,
                k=self.settings.k,
                ef=self.ef,
                levels=(context.session.kind.levels[-1],),
                filter=filter,
                warmup=WARMUP,
            )
            try:
                if filter.json and not (collection and collection.json):
                    raise Unsupported("it has no JSON column")
                context.note(name)
                found = measure(context, self.name, load, truth, name)
                gained = 1.0
                while found.recall < self.settings.recall and load.ef * 2 <= MOST_EF and gained > LEAST_GAIN:
                    load = replace(load, ef=load.ef * 2)
                    context.note(f"{name}, ef {load.ef}")
                    before, found = found, measure(context, self.name, load, truth, name)
                    gained = found.recall - before.recall
            except Unsupported as error:
                context.measure(self.name, f"{name}: QPS", None, "q/s", "more", f"not supported: {error}")
                continue
            raised = f"ef {load.ef}" if load.ef != self.ef else ""
            if found.recall < self.settings.recall:
                raised = f"stays below {self.settings.recall} at ef {load.ef}, its QPS is of that"
            context.measure(self.name, f"{name}: QPS", found.qps, "q/s", "more", problem(found))
            context.measure(self.name, f"{name}: p50", found.percentiles["50"], "ms", "less")
            context.measure(self.name, f"{name}: recall", found.recall, "", "", raised)
            context.advance((number + 1) / len(FILTERS))
