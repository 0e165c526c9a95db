"""A search stops when nobody waits for it any more."""

from typing import Any

import numpy as np
import pytest

from elanus.access.calls import Call, serving
from elanus.engine.growing import GrowingSegment
from elanus.engine.search import QUERIES_AT_ONCE, search
from elanus.model import patience
from elanus.model.errors import DeadlineExceeded
from elanus.model.types import Metric
from tests.unit.engine.samples import VECTOR, batch_of, schema_of

SCHEMA = schema_of()
ROWS = 50


def test_a_search_of_many_queries_ends_between_two_calls_of_the_kernel() -> None:
    growing = GrowingSegment(SCHEMA)
    growing.append(batch_of(SCHEMA, list(range(ROWS)), [1] * ROWS, np.ones((ROWS, 4), np.float32)), 1)
    asked: list[int] = []

    def find(reader: Any, field: Any, queries: Any, k: int, *_: Any) -> tuple[Any, Any]:
        asked.append(len(queries))
        return np.zeros((len(queries), k), np.float32), np.tile(np.arange(k), (len(queries), 1))

    def gone() -> None:
        if len(asked) == 2:
            raise DeadlineExceeded("nobody waits")

    queries = np.ones((10 * QUERIES_AT_ONCE, 4), np.float32)
    token = patience.begin(gone)
    try:
        with pytest.raises(DeadlineExceeded):
            search([growing.reader(9)], SCHEMA.by_id[VECTOR], queries, 3, Metric.L2, {}, find=find)
    finally:
        patience.end(token)
    assert asked == [QUERIES_AT_ONCE] * 2


def test_work_for_a_call_asks_whether_its_caller_is_there() -> None:
    patience.check()
    here = True
    with serving(Call(method="Search", request_id="1", metadata={}, is_active=lambda: here)):
        patience.check()
        here = False
        with pytest.raises(DeadlineExceeded, match="has gone"):
            patience.check()
    patience.check()
