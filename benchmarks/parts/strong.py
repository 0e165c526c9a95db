"""What reading one's own writes costs: Strong beside Eventually."""

import time

from benchmarks.data import dataset
from benchmarks.model import EVENTUALLY, STRONG, Collection, Load, Rows
from benchmarks.parts.part import Context, Part, Unsupported, result

ROWS = 10_000
OFFSET = 100_000_000
"""Ids of what is inserted meanwhile begin here, further by the same for each situation."""
RATE = 100
EF = 64


class Strong(Part):
    name = "strong"
    title = "Strong beside Eventually"
    about = (
        "p50 of one client's searches (HNSW, M 16, ef 64, k 10) on 10,000 x 128 uniform vectors; the level "
        "alternates from request to request. Growing: inserted after the load, not flushed. Inserts: 100 "
        "rows a second in batches of 10 from another process."
    )
    servers_only = True

    def seconds(self) -> float:
        return 4 * self.settings.seconds + 10

    def prepare(self, context: Context) -> None:
        if STRONG not in context.session.kind.levels:
            raise Unsupported("it has one consistency level")
        self.data = dataset("small")
        self.rows = min(ROWS, self.settings.rows or ROWS)

    def run(self, context: Context) -> None:
        system = context.session.system
        collection = Collection("strong", self.data.dim, "L2", scalars=False)
        system.create(collection)
        context.session.collection = collection
        system.index()
        system.load()
        system.insert(Rows(self.data.vectors, 0, self.rows))
        self.compare(context, "growing", 0, 0)
        self.compare(context, "growing, inserts", 1, RATE)
        context.note("flush and index")
        system.flush()
        system.index()
        system.load()
        time.sleep(min(context.settle(), self.settings.seconds))
        self.compare(context, "indexed", 2, 0)
        self.compare(context, "indexed, inserts", 3, RATE)
        system.drop()
        context.session.collection = None

    def compare(self, context: Context, situation: str, number: int, rate: int) -> None:
        context.note(situation)
        load = Load(
            queries=self.data.queries,
            seconds=self.settings.seconds,
            ef=EF,
            levels=(STRONG, EVENTUALLY),
            trickle=rate,
            trickle_rows=Rows(self.data.vectors, 0, self.rows, (number + 1) * OFFSET) if rate else None,
        )
        sample = context.session.system.search(load)
        context.advance((number + 1) / 4)
        loads = {
            level: result(self.name, context, load, sample, level=level, note=situation)
            for level in load.levels
        }
        context.run.loads += loads.values()
        strong, eventually = (loads[level].percentiles["50"] for level in load.levels)
        queries = f"{loads[STRONG].queries} searches each, {sample.errors} errors"
        context.measure(self.name, f"{situation}: Strong", strong, "ms", "less", queries)
        context.measure(self.name, f"{situation}: Eventually", eventually, "ms", "less")
        context.measure(self.name, f"{situation}: ratio", strong / eventually, "x", "less")
