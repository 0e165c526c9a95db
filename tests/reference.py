"""What a vector database answers, in a few lines of NumPy: the tests' own idea of the truth."""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Key = int | str
Vector = npt.NDArray[np.float64]
"""Of a binary vector: its bits as 0.0 and 1.0."""
Values = dict[str, Any]
Condition = Callable[[Values], bool | None]
"""Three-valued: None is NULL, which selects no row."""
FOREVER = float("-inf")
"""Since when rows do not expire."""


@dataclass(frozen=True, eq=False)
class Row:
    """A row as it was written. `values` has every field but the vectors, and the dynamic keys in `$meta`."""

    key: Key
    values: Values
    vectors: Mapping[str, Vector]
    partition: str
    born: float = 0.0
    """When it was written, in seconds."""
    stamp: int = 0
    """The write it came with; rows of one write have the same."""


@dataclass(frozen=True)
class Hit:
    """What a search may answer for a key: its best score, and the rows that have it."""

    key: Key
    score: float
    rows: tuple[Row, ...]


def everywhere(values: Values) -> bool:
    return True


def anything(score: float) -> bool:
    return True


@dataclass
class Reference:
    """The rows of one collection after each write. Duplicate keys are kept, as an insert keeps them."""

    metrics: Mapping[str, str]
    """Of each vector field."""
    rows: tuple[Row, ...] = ()
    history: list[tuple[Row, ...]] = field(default_factory=lambda: [()])
    alive_since: float = FOREVER
    """Rows born before have expired."""
    _stamps: Iterable[int] = field(default_factory=itertools.count)

    def insert(self, rows: Sequence[Row], now: float) -> None:
        stamp = next(iter(self._stamps))
        self._become(self.rows + tuple(replace(r, stamp=stamp, born=now) for r in rows))

    def upsert(self, rows: Sequence[Row], now: float) -> None:
        """Of a key that is there twice the last row counts; older rows go, whatever partition they are in."""
        last = {row.key: row for row in rows}
        self.rows = tuple(r for r in self.rows if r.key not in last)
        self.insert(list(last.values()), now)

    def delete_keys(self, keys: Collection[Key], partition: str | None = None) -> None:
        gone = set(keys)
        self._become(tuple(r for r in self.rows if r.key not in gone or partition not in (None, r.partition)))

    def delete_where(self, test: Condition, readable: Collection[str], partition: str | None = None) -> int:
        """Deletes the keys of the rows that match: a row with the same key goes even if it does not match."""
        wanted = readable if partition is None else [partition]
        keys = {row.key for row in self.matching(test, wanted)}
        self.delete_keys(keys, partition)
        return len(keys)

    def drop_partition(self, partition: str) -> None:
        self._become(tuple(r for r in self.rows if r.partition != partition))

    def truncate(self) -> None:
        self._become(())

    def expire(self, alive_since: float) -> None:
        """Rows that were born before are gone, from every state there was."""
        self.alive_since = max(self.alive_since, alive_since)
        self.history = [self._alive(rows) for rows in self.history]
        self.rows = self._alive(self.rows)

    def add_field(self, name: str, default: Any) -> None:
        """Rows that were written before show its default."""
        for row in itertools.chain(self.rows, *self.history):
            row.values.setdefault(name, default)

    def matching(self, test: Condition, partitions: Collection[str]) -> list[Row]:
        return matching(self.rows, test, partitions)

    def search(
        self,
        name: str,
        query: Vector,
        test: Condition,
        partitions: Collection[str],
        within: Callable[[float], bool] = anything,
    ) -> list[Hit]:
        """Every key that matches with its best score that is `within` a range, nearest first."""
        rows = self.matching(test, partitions)
        if not rows:
            return []
        metric = self.metrics[name]
        larger = metric in LARGER_IS_NEARER
        best: dict[Key, list[tuple[float, Row]]] = {}
        for score, row in zip(
            scores(query, np.stack([r.vectors[name] for r in rows]), metric), rows, strict=True
        ):
            if within(float(score)):
                best.setdefault(row.key, []).append((float(score), row))
        hits = []
        for key, found in best.items():
            top = (max if larger else min)(score for score, _ in found)
            hits.append(Hit(key, top, tuple(r for s, r in found if abs(s - top) <= tolerance(top))))
        return sorted(hits, key=lambda hit: -hit.score if larger else hit.score)

    def _alive(self, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        return tuple(r for r in rows if r.born >= self.alive_since)

    def _become(self, rows: tuple[Row, ...]) -> None:
        self.rows = rows
        self.history.append(rows)


def matching(rows: Iterable[Row], test: Condition, partitions: Collection[str]) -> list[Row]:
    return [r for r in rows if r.partition in partitions and test(r.values) is True]


def newest(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """What a query may answer for each key, in the order of the keys: any of its rows of the last write."""
    found: dict[Key, list[Row]] = {}
    for row in rows:
        found.setdefault(row.key, []).append(row)
    # Any: keys of one collection are of one type, which sorted cannot know.
    ordered: Any = sorted(found.items(), key=lambda item: item[0])
    return {key: [r for r in same if r.stamp == max(s.stamp for s in same)] for key, same in ordered}


LARGER_IS_NEARER = frozenset({"IP", "COSINE"})


def scores(query: Vector, vectors: Vector, metric: str) -> Vector:
    """(n,) as the protocol shows them: squared distance, inner product, cosine (0 for a zero vector), the
    number of different bits, 1 - common bits / all bits."""
    match metric:
        case "L2":
            return np.asarray(((vectors - query) ** 2).sum(axis=1))
        case "HAMMING":
            return np.asarray((vectors != query).sum(axis=1), np.float64)
        case "JACCARD":
            common = (vectors * query).sum(axis=1)
            return np.asarray(1 - common / np.maximum(vectors, query).sum(axis=1))
    products = np.asarray(vectors @ query)
    if metric == "IP":
        return products
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    return np.asarray(np.divide(products, norms, out=np.zeros(len(products)), where=norms > 0))


def tolerance(score: float) -> float:
    return 1e-4 * max(1.0, abs(score))
