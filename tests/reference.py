"""What a vector database answers, in a hundred lines: the tests' own idea of the truth."""

import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Key = int | str
Vector = npt.NDArray[np.float32]
Values = dict[str, Any]
Condition = Callable[[Values], bool | None]
"""Three-valued: None is NULL, which selects no row."""


@dataclass(frozen=True, eq=False)
class Row:
    """A row as it was written. `values` has every field but the vector, and the dynamic keys."""

    key: Key
    values: Values
    vector: Vector
    partition: str
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


@dataclass
class Reference:
    """The rows of one collection after each write. Duplicate keys are kept, as an insert keeps them."""

    metric: str
    rows: tuple[Row, ...] = ()
    history: list[tuple[Row, ...]] = field(default_factory=lambda: [()])
    _stamps: Iterable[int] = field(default_factory=itertools.count)

    def insert(self, rows: Sequence[Row]) -> None:
        stamp = next(iter(self._stamps))
        self._become(self.rows + tuple(Row(r.key, r.values, r.vector, r.partition, stamp) for r in rows))

    def upsert(self, rows: Sequence[Row]) -> None:
        """Of a key that is there twice the last row counts; older rows go, whatever partition they are in."""
        last = {row.key: row for row in rows}
        self.rows = tuple(r for r in self.rows if r.key not in last)
        self.insert(list(last.values()))

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

    def matching(self, test: Condition, partitions: Collection[str]) -> list[Row]:
        return matching(self.rows, test, partitions)

    def search(self, query: Vector, test: Condition, partitions: Collection[str]) -> list[Hit]:
        """Every key that matches with its best score, nearest first."""
        rows = self.matching(test, partitions)
        if not rows:
            return []
        larger = self.metric != "L2"
        best: dict[Key, list[tuple[float, Row]]] = {}
        for score, row in zip(
            scores(query, np.stack([r.vector for r in rows]), self.metric), rows, strict=True
        ):
            best.setdefault(row.key, []).append((float(score), row))
        hits = []
        for key, found in best.items():
            top = (max if larger else min)(score for score, _ in found)
            hits.append(Hit(key, top, tuple(r for s, r in found if abs(s - top) <= tolerance(top))))
        return sorted(hits, key=lambda hit: -hit.score if larger else hit.score)

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


def scores(query: Vector, vectors: Vector, metric: str) -> npt.NDArray[np.float64]:
    """(n,) as the protocol shows them: squared distance, inner product, cosine (0 for a zero vector)."""
    wide, one = vectors.astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        return np.asarray(((wide - one) ** 2).sum(axis=1))
    products = np.asarray(wide @ one)
    if metric == "IP":
        return products
    norms = np.linalg.norm(wide, axis=1) * np.linalg.norm(one)
    return np.asarray(np.divide(products, norms, out=np.zeros(len(products)), where=norms > 0))


def tolerance(score: float) -> float:
    return 1e-4 * max(1.0, abs(score))
