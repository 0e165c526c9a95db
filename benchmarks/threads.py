"""Clients that are threads of the process they run in: of in-process systems, and of plain pymilvus."""

import threading
import time
from array import array
from collections.abc import Callable

import numpy as np

from benchmarks.model import Load, Rows, Sample, Vectors

TRICKLE_BATCHES = 10
"""Inserts a second while searching; a batch has trickle / TRICKLE_BATCHES rows."""

Search = Callable[[Vectors], list[int]]
"""One query `(dim,)` to the ids found."""


def search(load: Load, searchers: list[Search], insert: Callable[[Rows], float]) -> Sample:
    """One thread for each of `searchers`."""
    queries = np.load(load.queries)
    for number in range(load.warmup):
        searchers[number % len(searchers)](queries[number % len(queries)])
    stop = threading.Event()
    clients = [
        ThreadClient(search, queries, number * len(queries) // len(searchers), load.seconds)
        for number, search in enumerate(searchers)
    ]
    trickle = Trickle(insert, load.trickle_rows, load.trickle, stop)
    begun = time.perf_counter()
    trickle.start()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    seconds = time.perf_counter() - begun
    stop.set()
    trickle.join()
    answers: dict[int, list[int]] = {}
    for client in clients:
        answers.update(client.answers)
    failures = [error for error in (*(client.error for client in clients), trickle.error) if error]
    return Sample(
        seconds,
        {load.levels[0]: b"".join(client.latencies.tobytes() for client in clients)},
        answers,
        len(failures),
        failures[0] if failures else "",
        trickle.inserted / trickle.seconds if trickle.inserted else 0.0,
    )


class ThreadClient(threading.Thread):
    def __init__(self, search: Search, queries: Vectors, first: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self.search, self.queries, self.first = search, queries, first
        self.seconds = seconds
        self.latencies: array[float] = array("d")
        self.answers: dict[int, list[int]] = {}
        self.error = ""

    def run(self) -> None:
        index, count = self.first, len(self.queries)
        deadline = time.perf_counter() + self.seconds
        try:
            while (now := time.perf_counter()) < deadline:
                ids = self.search(self.queries[index])
                self.latencies.append(time.perf_counter() - now)
                self.answers[index] = ids
                index = (index + 1) % count
        except Exception as error:  # noqa: BLE001 - of any of eight libraries; it is reported
            self.error = f"{type(error).__name__}: {error}"


class Trickle(threading.Thread):
    """Inserts `rate` rows a second until `stop`."""

    def __init__(
        self, insert: Callable[[Rows], float], rows: Rows | None, rate: int, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self.insert, self.rows, self.rate, self.stop = insert, rows, rate, stop
        self.inserted, self.seconds = 0, 0.0
        self.error = ""

    def run(self) -> None:
        if not self.rows or not self.rate:
            return
        begun = time.perf_counter()
        try:
            for number, batch in enumerate(batches(self.rows, max(1, self.rate // TRICKLE_BATCHES))):
                due = begun + number / TRICKLE_BATCHES
                if self.stop.wait(max(0.0, due - time.perf_counter())):
                    break
                self.insert(batch)
                self.inserted += batch.stop - batch.start
        except Exception as error:  # noqa: BLE001 - of any of eight libraries; it is reported
            self.error = f"{type(error).__name__}: {error}"
        self.seconds = time.perf_counter() - begun


def batches(rows: Rows, size: int) -> list[Rows]:
    return [
        Rows(rows.path, start, min(start + size, rows.stop), rows.offset)
        for start in range(rows.start, rows.stop, size)
    ]
