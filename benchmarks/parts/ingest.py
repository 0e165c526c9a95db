"""Rows in: insert, flush, index, load; what they take on disk and in memory."""

import time

from benchmarks.memory import tree_bytes
from benchmarks.model import Collection, Rows, Unsupported
from benchmarks.parts.part import Context, Part
from benchmarks.threads import batches

COLLECTION = "benchmark"
M = 16
MB = 1 << 20


class Ingest(Part):
    name = "ingest"
    title = "Insert, flush, index, load"
    about = (
        "One client inserts the vectors with four INT64 columns and, where there are any, a JSON "
        "column; only the calls are timed, not the making of requests. HNSW, M 16. "
        "Memory: proportional set size of the process tree, of the client's process too where the "
        "system lives in it."
    )

    def seconds(self) -> float:
        return (self.settings.rows or 180_000) / 1500

    def prepare(self, context: Context) -> None:
        if context.session.collection:
            context.session.system.drop()
            context.session.collection = None

    def run(self, context: Context) -> None:
        ingest(context)


def ensure(context: Context) -> None:
    """The collection with the run's data, made if no part before has made it."""
    if not context.session.collection:
        ingest(context)


def ingest(context: Context) -> None:
    system, data, settings = context.session.system, context.dataset, context.settings
    context.run.forget(Ingest.name, context.session.name)
    collection = create(context)

    rows = Rows(data.vectors, 0, data.rows)
    insert = system.insert_plain if settings.plain else system.insert
    spent = 0.0
    for batch in batches(rows, settings.batch):
        context.note(f"insert {batch.start:,} of {rows.stop:,}")
        seconds = insert(batch)
        if not spent:
            context.measure(Ingest.name, f"first insert, {batch.stop:,} rows", seconds, "s", "less")
        spent += seconds
        context.advance(0.3 * batch.stop / rows.stop)
    name = Ingest.name
    how = "with pymilvus' MilvusClient, all its work included" if settings.plain else ""
    context.measure(name, "insert", rows.stop / spent, "rows/s", "more", how)

    steps = {}
    for share, step in ((0.4, "flush"), (0.8, "index"), (0.9, "load")):
        context.note(step)
        steps[step] = getattr(system, step)()
        context.measure(name, step, steps[step], "s", "less")
        context.advance(share)
    context.measure(name, "flush + index + load", sum(steps.values()), "s", "less")
    context.session.collection = collection

    context.note("settle")
    time.sleep(context.settle())
    raw = data.rows * data.dim * 4
    context.measure(
        name, "disk", context.session.disk_bytes() / MB, "MB", "less", f"the vectors alone: {raw / MB:.0f} MB"
    )
    context.measure(name, "memory, settled", tree_bytes(context.session.roots()) / MB, "MB", "less")


def create(context: Context) -> Collection:
    """With a JSON column where the system has that."""
    data = context.dataset
    for json in (True, False):
        build = (("M", M), ("efConstruction", context.settings.ef_construction))
        collection = Collection(COLLECTION, data.dim, data.metric, build=build, json=json)
        try:
            context.session.system.create(collection)
        except Unsupported as error:
            context.measure(Ingest.name, "JSON column", None, "", note=f"not supported: {error}")
        else:
            return collection
    raise Unsupported("a collection with INT64 columns")
