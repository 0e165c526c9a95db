"""Prebuilt requests and the processes that send them, against a server that does nothing but answer."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from benchmarks.model import FILTERS, Collection
from benchmarks.wire import messages
from benchmarks.wire.client import Plan
from benchmarks.wire.clients import Clients

METHOD = "/sample/Echo"


class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    """Answers with the request; a request `fail` with an error. Notes when what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, bytes, str]] = []
        self.lock = threading.Lock()

    def service(self, details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(self.answer)

    def answer(self, request: bytes, context: Any) -> bytes:
        with self.lock:
            self.seen.append((time.perf_counter(), request, context.peer()))
        if request == b"fail":
            context.abort(grpc.StatusCode.INTERNAL, "on purpose")
        return request


@pytest.fixture
def echo() -> Iterator[tuple[Echo, str]]:
    handler = Echo()
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_every_thread_has_a_connection_and_every_answer_its_request(echo: tuple[Echo, str]) -> None:
    handler, target = echo
    requests = [str(number).encode() for number in range(10)]
    clients = Clients(Plan(target, METHOD, requests, threads=5, seconds=0.5), processes=2)
    clients.go()
    result = clients.gather(0.5)
    assert len(result.latencies) == 5
    assert sum(map(len, result.latencies)) == sum(map(len, result.indices)) == len(handler.seen)
    assert len({peer for _, _, peer in handler.seen}) == 5
    assert result.errors == 0
    assert all(answer == requests[index] for index, answer in result.answers.items())
    assert 0.5 <= result.seconds < 10


def test_requests_alternate(echo: tuple[Echo, str]) -> None:
    handler, target = echo
    clients = Clients(Plan(target, METHOD, [b"strong", b"eventually"] * 3, threads=1, seconds=0.3))
    clients.go()
    clients.gather(0.3)
    sent = [request for _, request, _ in handler.seen]
    assert sent[:4] == [b"strong", b"eventually", b"strong", b"eventually"]


def test_warm_up_is_not_measured(echo: tuple[Echo, str]) -> None:
    handler, target = echo
    clients = Clients(Plan(target, METHOD, [b"x"], threads=2, seconds=0.2, warmup=7))
    assert len(handler.seen) == 14
    clients.go()
    result = clients.gather(0.2)
    assert sum(map(len, result.latencies)) == len(handler.seen) - 14


def test_a_paced_client_keeps_its_rate_and_stops_when_told(echo: tuple[Echo, str]) -> None:
    handler, target = echo
    clients = Clients(Plan(target, METHOD, [b"x"] * 1000, threads=1, seconds=60, pace=20, once=True))
    clients.go()
    time.sleep(1.0)
    clients.stop()
    result = clients.gather(5)
    assert 10 <= len(handler.seen) <= 25
    assert result.seconds < 10


def test_failed_calls_are_counted_and_the_first_reason_kept(echo: tuple[Echo, str]) -> None:
    _, target = echo
    clients = Clients(Plan(target, METHOD, [b"x", b"fail", b"x"], threads=1, seconds=60, once=True))
    clients.go()
    result = clients.gather(60)
    assert result.errors == 1
    assert "on purpose" in result.first_error
    assert sorted(result.answers) == [0, 2]


@given(rows=st.integers(0, 20), dim=st.integers(1, 200))
def test_vectors_are_written_as_the_protocol_packs_them(rows: int, dim: int) -> None:
    vectors = np.random.default_rng(rows).random((rows, dim), dtype=np.float32)
    field = schema_pb2.FieldData.FromString(messages.vector_field(dim, vectors).SerializeToString())
    assert field.vectors.dim == dim
    assert np.array_equal(np.array(field.vectors.float_vector.data, np.float32).reshape(rows, dim), vectors)


@pytest.mark.parametrize("json", [False, True])
def test_an_insert_carries_every_column_of_the_schema(json: bool) -> None:
    collection = Collection("c", 4, json=json)
    created = messages.create_collection(collection)
    schema = schema_pb2.CollectionSchema.FromString(created.schema)
    vectors = np.zeros((3, 4), np.float32)
    insert = messages.insert(collection, np.arange(3), vectors)
    assert [field.field_name for field in insert.fields_data] == [field.name for field in schema.fields]
    assert insert.num_rows == 3


def test_each_level_has_its_guarantee() -> None:
    collection, query = Collection("c", 4), np.zeros(4, np.float32)
    made = {
        level: messages.search(collection, query, 10, 64, level, 777, None)
        for level in ("Strong", "Session", "Bounded", "Eventually")
    }
    assert [request.guarantee_timestamp for request in made.values()] == [0, 777, 2, 1]
    assert [request.consistency_level for request in made.values()] == [0, 1, 2, 3]


def test_filters_are_expressions_of_the_protocol() -> None:
    texts = [filter.expression() for filter in FILTERS]
    assert texts[0] == "e1 == 7"
    assert "score < 100" in texts
    assert 'meta["e50"] == 1' in texts


def test_an_answer_that_carries_an_error_is_one() -> None:
    status = common_pb2.Status(error_code=1, reason="not loaded")
    with pytest.raises(RuntimeError, match="not loaded"):
        messages.search_ids(milvus_pb2.SearchResults(status=status).SerializeToString())
