"""The right answers: brute force, kept beside the data."""

import numpy as np

from benchmarks.data import Dataset
from benchmarks.model import Filter, Ids, Vectors

BLOCK_ROWS = 20_000


def neighbours(data: Dataset, k: int, filter: Filter | None = None) -> Ids:
    """Ids of the k nearest rows of each query, `(queries, k)`, -1 where the filter leaves fewer."""
    kind = f"{filter.column}{'eq' if filter.operator == '==' else 'lt'}{filter.value}" if filter else "all"
    path = data.folder / f"exact-{data.rows}-{k}-{kind}.npy"
    if not path.exists():
        vectors = np.load(data.vectors, mmap_mode="r")
        found = search(vectors[: data.rows], np.load(data.queries), k, data.metric, filter)
        making = path.with_suffix(".making.npy")
        np.save(making, found)
        making.rename(path)
    answers: Ids = np.load(path)
    return answers


def search(vectors: Vectors, queries: Vectors, k: int, metric: str, filter: Filter | None = None) -> Ids:
    """A row's id is its position."""
    best = np.full((len(queries), k), np.inf, np.float32)
    ids = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(vectors), BLOCK_ROWS):
        rows = np.arange(start, min(start + BLOCK_ROWS, len(vectors)))
        if filter:
            rows = rows[filter.mask(rows)]
        if not len(rows):
            continue
        all_distances = np.hstack([best, distances(np.asarray(vectors[rows]), queries, metric)])
        all_ids = np.hstack([ids, np.broadcast_to(rows, (len(queries), len(rows)))])
        kept = np.argpartition(all_distances, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(all_distances, kept, axis=1)
        ids = np.take_along_axis(all_ids, kept, axis=1)
    order = np.argsort(best, axis=1, kind="stable")
    return np.take_along_axis(ids, order, axis=1)


def distances(vectors: Vectors, queries: Vectors, metric: str) -> Vectors:
    """`(queries, vectors) float32`, less is nearer; of L2 without the query's own square."""
    if metric == "L2":
        squares = np.einsum("ij,ij->i", vectors, vectors)
        return np.asarray(squares - 2 * (queries @ vectors.T), np.float32)
    if metric == "COSINE":
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(-(queries @ vectors.T), np.float32)


def recall(answers: dict[int, list[int]], truth: Ids) -> float:
    """Share of the true neighbours that were found; -1 without answers."""
    shares = []
    for query, ids in answers.items():
        true = set(truth[query].tolist()) - {-1}
        if true:
            shares.append(len(true & set(ids)) / len(true))
    return float(np.mean(shares)) if shares else -1.0
