"""The vectors that all systems get: made once, kept in the cache folder."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import text
from benchmarks.environments import data_folder
from benchmarks.model import Vectors

QUERIES = 1000
SEED = 7
BLOCK = 100_000


@dataclass(frozen=True)
class Dataset:
    """`vectors.npy` and `queries.npy`, `(n, dim) float32`, in `folder`; the first `rows` vectors count."""

    name: str
    folder: Path
    metric: str
    rows: int
    dim: int

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors.npy"

    @property
    def queries(self) -> Path:
        return self.folder / "queries.npy"


@dataclass(frozen=True)
class Source:
    metric: str
    about: str
    make: Callable[[Path], None]


def dataset(name: str, rows: int = 0) -> Dataset:
    """Made if it is not there; cut to `rows` if given. Raises KeyError for an unknown name."""
    source = SOURCES[name]
    folder = data_folder() / name
    if not folder.exists():
        making = folder.with_name(f"{name}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        source.make(making)
        making.rename(folder)
    count, dim = np.load(folder / "vectors.npy", mmap_mode="r").shape
    return Dataset(name, folder, source.metric, min(rows, count) if rows else count, dim)


def uniform(rows: int, dim: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        generator = np.random.default_rng(SEED)
        save(folder, lambda count: generator.random((count, dim), dtype=np.float32), rows)

    return make


def latent(rows: int, dim: int, latent_dim: int, noise: float) -> Callable[[Path], None]:
    """Points near a plane of `latent_dim` dimensions: like features and unlike uniform noise, they have
    neighbours worth finding."""

    def make(folder: Path) -> None:
        generator = np.random.default_rng(SEED)
        plane = generator.standard_normal((latent_dim, dim), dtype=np.float32)

        def draw(count: int) -> Vectors:
            points = generator.standard_normal((count, latent_dim), dtype=np.float32) @ plane
            return points + noise * generator.standard_normal((count, dim), dtype=np.float32)

        save(folder, draw, rows)

    return make


def save(folder: Path, draw: Callable[[int], Vectors], rows: int) -> None:
    """Block by block: a million rows need not fit twice."""
    first = draw(QUERIES)
    np.save(folder / "queries.npy", first)
    shape = (rows, first.shape[1])
    file = np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, rows, BLOCK):
        file[start : start + BLOCK] = draw(min(BLOCK, rows - start))
    file.flush()


def sentences(folder: Path) -> None:
    vectors = text.vectors(folder.parent)
    chosen = np.random.default_rng(SEED).permutation(len(vectors))
    np.save(folder / "queries.npy", vectors[chosen[:QUERIES]])
    np.save(folder / "vectors.npy", vectors[chosen[QUERIES:]])


SOURCES = {
    "random": Source("L2", "100,000 x 128, uniform", uniform(100_000, 128)),
    "text": Source("COSINE", "WordNet's glosses and examples, 384 dimensions", sentences),
    "million": Source("L2", "1,000,000 x 128, near a 24-dimensional plane", latent(1_000_000, 128, 24, 0.3)),
    "small": Source("L2", "10,000 x 128, uniform", uniform(10_000, 128)),
}
