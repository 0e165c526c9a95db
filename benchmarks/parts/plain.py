"""Search with pymilvus as an application uses it."""

from benchmarks import exact
from benchmarks.model import Load
from benchmarks.parts import ingest
from benchmarks.parts.part import Context, Part, clients_text
from benchmarks.parts.search import find_ef, measure, problem


class Plain(Part):
    name = "pymilvus"
    title = "Search with plain pymilvus"
    about = (
        "The same searches with pymilvus' MilvusClient, threads of one process: beyond some clients this is "
        "the client's own limit."
    )

    def seconds(self) -> float:
        return self.settings.seconds * len(self.settings.clients)

    def prepare(self, context: Context) -> None:
        ingest.ensure(context)
        self.truth = exact.neighbours(context.dataset, self.settings.k)
        self.ef = find_ef(context, self.truth)

    def run(self, context: Context) -> None:
        level = context.session.kind.levels[-1]
        for number, clients in enumerate(self.settings.clients):
            context.note(f"{clients_text(clients)}")
            load = Load(
                context.dataset.queries,
                clients=clients,
                processes=self.settings.processes,
                seconds=self.settings.seconds,
                k=self.settings.k,
                ef=self.ef,
                levels=(level,),
                plain=True,
            )
            found = measure(context, self.name, load, self.truth)
            context.measure(
                self.name, f"{clients_text(clients)}: QPS", found.qps, "q/s", "more", problem(found)
            )
            context.measure(self.name, f"{clients_text(clients)}: p50", found.percentiles["50"], "ms", "less")
            context.measure(self.name, f"{clients_text(clients)}: recall", found.recall, "")
            context.advance((number + 1) / len(self.settings.clients))
