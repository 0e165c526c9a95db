"""Iterators of pymilvus while rows are written. Usage: walk_iterators.py DIRECTORY or http://HOST:PORT"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pymilvus
from pymilvus import DataType, MilvusClient

ROWS, DIM, BATCH = 1200, 8, 90
KEEPS_ITS_TIME = not pymilvus.__version__.startswith("2.4")
"""Clients before 2.5 do not say in later pages which time the first one was read at."""
rng = np.random.default_rng(11)
vectors = rng.standard_normal((ROWS, DIM)).astype(np.float32)
query = rng.standard_normal(DIM).astype(np.float32)


@contextmanager
def connected(where: str) -> Iterator[Any]:
    if where.startswith("http"):
        client = MilvusClient(where)
        yield client
        client.close()
    else:
        from elanus import lite

        with lite.connect(where) as client:
            yield client


def row(i: int, vector: np.ndarray) -> dict[str, object]:
    return {"id": i, "vector": vector.tolist(), "third": i % 3, "extra": i % 5}


def order(metric: str, keep: np.ndarray) -> list[int]:
    wide, asked = vectors[keep].astype(np.float64), query.astype(np.float64)
    if metric == "L2":
        cost = ((wide - asked) ** 2).sum(axis=1)
    else:
        cost = -(wide @ asked)
        if metric == "COSINE":
            cost /= np.linalg.norm(wide, axis=1)
    return [int(i) for i in keep[np.argsort(cost, kind="stable")]]


def walk(iterator: Any, keys: Callable[[Any], list[int]], between: Callable[[], None]) -> list[int]:
    """All keys; `between` runs after the second page."""
    seen: list[int] = []
    pages = 0
    while True:
        page = iterator.next()
        if not page:
            iterator.close()
            return seen
        seen += keys(page)
        pages += 1
        if pages == 2:
            between()


def nothing() -> None:
    pass


def try_all(client: Any, index: str, metric: str) -> None:
    name = f"{index}_{metric}"
    schema = client.create_schema(enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("third", DataType.INT64)
    params = client.prepare_index_params()
    params.add_index("vector", index_type=index, metric_type=metric, params={})
    client.create_collection(
        name, schema=schema, index_params=params, consistency_level="Strong", num_shards=2
    )
    rows = [row(i, vectors[i]) for i in range(ROWS)]
    client.insert(name, rows[: ROWS // 2])
    client.flush(name)
    client.insert(name, rows[ROWS // 2 :])

    def write() -> None:
        """Every kind of write, each of which would show on later pages, and a flush."""
        client.upsert(name, [row(i, -vectors[i]) for i in range(0, ROWS, 4)])
        client.delete(name, ids=list(range(1, ROWS, 4)))
        client.delete(name, filter="third == 2 and id > 100")
        client.insert(name, [row(ROWS + i, query) for i in range(50)])
        client.flush(name)

    def restore() -> None:
        client.upsert(name, rows)
        client.delete(name, filter=f"id >= {ROWS}")

    between = write if KEEPS_ITS_TIME else nothing
    everything, third = np.arange(ROWS), np.arange(1, ROWS, 3)
    iterator = client.query_iterator(name, batch_size=BATCH, filter="third == 1", output_fields=["extra"])
    seen = walk(iterator, lambda page: [r["id"] for r in page if r["extra"] == r["id"] % 5], between)
    assert seen == third.tolist(), (name, "query", len(seen))
    restore()

    for expression, keep in ("", everything), ("third == 1", third):
        iterator = client.search_iterator(
            name,
            data=[query.tolist()],
            anns_field="vector",
            batch_size=BATCH,
            filter=expression,
            search_params={"metric_type": metric, "params": {"nprobe": 128} if "IVF" in index else {}},
            output_fields=["third"],
        )
        seen = walk(iterator, lambda page: page.ids(), between)
        restore()
        assert len(set(seen)) == len(seen), (name, "twice")
        if index == "HNSW":
            assert len(set(seen) & set(keep.tolist())) >= 0.99 * len(keep), (name, len(seen))
        else:
            assert sorted(seen) == keep.tolist(), (name, len(seen))
        # Scores that are equal in single precision may stand in any order.
        wanted = order(metric, keep)
        place = {key: number for number, key in enumerate(wanted)}
        places = np.array([place[key] for key in seen])
        assert np.count_nonzero(np.diff(places) < 0) <= 2, name
    limited = client.search_iterator(
        name,
        data=[query.tolist()],
        anns_field="vector",
        batch_size=BATCH,
        limit=200,
        search_params={"metric_type": metric, "params": {}},
    )
    assert len(walk(limited, lambda page: page.ids(), nothing)) == 200
    client.drop_collection(name)


with connected(sys.argv[1]) as client:
    for index, metric in (("FLAT", "L2"), ("IVF_FLAT", "COSINE"), ("HNSW", "IP"), ("HNSW", "L2")):
        try_all(client, index, metric)
print("OK")
