"""What the harness and the processes of the systems tell each other. Light: every environment imports it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

STRONG, SESSION, BOUNDED, EVENTUALLY = "Strong", "Session", "Bounded", "Eventually"
LEVELS = (STRONG, SESSION, BOUNDED, EVENTUALLY)

COLUMNS = ("e1", "e10", "e50", "score")
"""INT64 columns of every row: a value of e1 matches 1 %, of e10 10 %, of e50 50 % of the rows; score < s
matches s / 10 %. The JSON column `meta` carries the same four."""


def columns(ids: Ids) -> dict[str, Ids]:
    """The scalar columns of the rows `ids`: functions of the id, so that every system has the same."""
    mixed = (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)
    first = (mixed % np.uint64(1000)).astype(np.int64)
    second = ((mixed >> np.uint64(20)) % np.uint64(1000)).astype(np.int64)
    return {"e1": first % 100, "e10": first // 100, "e50": second % 2, "score": second}


@dataclass(frozen=True)
class Filter:
    """`column == value`, or `column < value`; in `meta` where `json`."""

    kind: str
    selectivity: float
    column: str
    operator: str
    value: int
    json: bool = False

    def expression(self) -> str:
        name = f'meta["{self.column}"]' if self.json else self.column
        return f"{name} {self.operator} {self.value}"

    def mask(self, ids: Ids) -> npt.NDArray[np.bool_]:
        values = columns(ids)[self.column]
        return values == self.value if self.operator == "==" else values < self.value


FILTERS = tuple(
    Filter(kind, share, column if kind != "range" else "score", "<" if kind == "range" else "==", value, json)
    for kind, json in (("equality", False), ("range", False), ("json", True))
    for share, column, at in ((0.01, "e1", 7), (0.1, "e10", 7), (0.5, "e50", 1))
    for value in ((int(share * 1000),) if kind == "range" else (at,))
)


@dataclass(frozen=True)
class Collection:
    """`scalars`: with COLUMNS; `json`: with `meta` too. Key `id` INT64, vector `vector`."""

    name: str
    dim: int
    metric: str = "L2"
    index: str = "HNSW"
    build: tuple[tuple[str, int], ...] = (("M", 16), ("efConstruction", 200))
    scalars: bool = True
    json: bool = False


@dataclass(frozen=True)
class Rows:
    """Rows [start, stop) of a file of vectors `(n, dim) float32`; a row's id is its position + `offset`."""

    path: Path
    start: int
    stop: int
    offset: int = 0

    def ids(self) -> Ids:
        return np.arange(self.start + self.offset, self.stop + self.offset, dtype=np.int64)

    def vectors(self) -> Vectors:
        return np.asarray(np.load(self.path, mmap_mode="r")[self.start : self.stop])


@dataclass(frozen=True)
class Load:
    """Searches one after the other from each of `clients`, for `seconds`.

    More than one level: each client alternates between them, request by request. `trickle`: rows a second
    that are inserted meanwhile.
    """

    queries: Path
    clients: int = 1
    processes: int = 2  # of a server's clients, at most
    seconds: float = 5.0
    k: int = 10
    ef: int = 64
    levels: tuple[str, ...] = (EVENTUALLY,)
    filter: Filter | None = None
    trickle: int = 0
    trickle_rows: Rows | None = None
    plain: bool = False  # pymilvus' own client instead of prebuilt requests
    warmup: int = 20


@dataclass
class Sample:
    """`latencies`: float64 bytes, seconds, one list a level; `answers`: the ids found, by query."""

    seconds: float
    latencies: dict[str, bytes]
    answers: dict[int, list[int]]
    errors: int = 0
    first_error: str = ""
    inserted: float = 0.0  # rows a second


class Unsupported(Exception):
    """The system cannot do this; the message says what."""
