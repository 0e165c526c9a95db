"""Many small collections."""

import statistics
import time

from benchmarks import exact
from benchmarks.data import dataset
from benchmarks.memory import tree_bytes
from benchmarks.model import Collection, Load, Rows
from benchmarks.parts.part import Context, Part
from benchmarks.parts.restart import EF, ROUNDS, await_right

ROWS = 100
KB = 1 << 10
WAIT_SECONDS = 300.0


class Many(Part):
    name = "many"
    title = "Many collections"
    about = (
        "Collections of 100 x 128 rows, flushed; then indexed and loaded; then the process tree is killed, "
        "started again, and each collection searched, one after the other. "
        "Memory a collection: what the process tree holds more than before, by their number; before, one "
        "collection has come and gone."
    )
    servers_only = True

    def seconds(self) -> float:
        return self.settings.collections * 0.15

    def prepare(self, context: Context) -> None:
        self.data = dataset("small", ROWS)
        context.session.restart_clean()

    def run(self, context: Context) -> None:
        count, system = self.settings.collections, context.session.system
        self.warm(context)
        before = self.settled(context)
        begun = time.perf_counter()
        for number in range(count):
            context.note(f"create {number + 1} of {count}")
            system.create(self.collection(number))
            system.insert(Rows(self.data.vectors, 0, ROWS))
            system.flush()
            context.advance(0.5 * number / count)
        seconds = time.perf_counter() - begun
        context.measure(self.name, "create, insert, flush", seconds / count * 1000, "ms each", "less")
        each = (self.settled(context) - before) / count / KB
        context.measure(self.name, "memory, not loaded", each, "KB each", "less")

        begun = time.perf_counter()
        for number in range(count):
            context.note(f"load {number + 1} of {count}")
            system.use(self.collection(number))
            system.index()
            system.load()
            context.advance(0.5 + 0.4 * number / count)
        seconds = time.perf_counter() - begun
        context.measure(self.name, "index, load", seconds / count * 1000, "ms each", "less")
        each = (self.settled(context) - before) / count / KB
        context.measure(self.name, "memory, loaded", each, "KB each", "less")

        self.restart(context, count)
        each = (self.settled(context) - before) / count / KB
        context.measure(self.name, "memory after the restart", each, "KB each", "less")
        context.session.collection = None
        context.session.restart_clean()

    def restart(self, context: Context, count: int) -> None:
        """The median of some; after the last every collection is asked."""
        session = context.session
        session.collection = self.collection(count - 1)
        load = Load(self.data.queries, k=self.settings.k, ef=EF)
        truth = exact.neighbours(self.data, self.settings.k)[0].tolist()
        answered, right = [], []
        for number in range(ROUNDS):
            context.note(f"kill {number + 1}")
            killed = session.crash()
            answered.append(killed.answered)
            await_right(session, load, truth, time.perf_counter() + WAIT_SECONDS)
            right.append(time.perf_counter() - killed.started)
        spread = f"{min(right):.2f} to {max(right):.2f} in {len(right)}"
        context.measure(self.name, "restart: first answered call", statistics.median(answered), "s", "less")
        context.measure(
            self.name, "restart: first right search", statistics.median(right), "s", "less", spread
        )
        for number in range(count):
            context.note(f"search {number + 1} of {count}")
            session.system.use(self.collection(number))
            await_right(session, load, truth, time.perf_counter() + WAIT_SECONDS)
        all_right = time.perf_counter() - killed.started
        context.measure(self.name, "restart: every collection has answered right", all_right, "s", "less")

    def warm(self, context: Context) -> None:
        """One collection through everything, then dropped: what a first use loads belongs to none."""
        system = context.session.system
        system.create(Collection("warm", self.data.dim, "L2", scalars=False))
        system.insert(Rows(self.data.vectors, 0, ROWS))
        system.flush()
        system.index()
        system.load()
        system.first_search(Load(self.data.queries, k=self.settings.k, ef=EF))
        system.drop()

    def collection(self, number: int) -> Collection:
        return Collection(f"many_{number:05d}", self.data.dim, "L2", scalars=False)

    def settled(self, context: Context) -> int:
        """Bytes of the process tree after it was left alone."""
        context.note("settle")
        time.sleep(context.settle())
        return tree_bytes(context.session.roots())
