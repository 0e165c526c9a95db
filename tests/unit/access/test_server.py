"""The server: ports, message sizes, health, stopping."""

import threading
import time
from pathlib import Path
from typing import Any

import grpc
import pytest

from elanus.access.protocol import messages
from elanus.access.server import GrpcServer
from elanus.access.service import Executors
from elanus.model.errors import Unavailable
from tests.unit.access.conftest import LIMITS, Ask
from tests.unit.access.fake import FakeProxy

VERSION = "/milvus.proto.milvus.MilvusService/GetVersion"
HEALTH = "/grpc.health.v1.Health/"


def test_a_taken_port_is_refused_with_the_way_out(server: GrpcServer, executors: Executors) -> None:
    with pytest.raises(Unavailable, match=rf"port {server.port} .* --port"):
        GrpcServer({}, executors, port=server.port).start()


def test_an_address_of_another_machine_is_refused_with_the_way_out(
    executors: Executors, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Unavailable, match=r"cannot listen on 192.0.2.1: .* --host"):
        GrpcServer({}, executors, host="192.0.2.1", port=0).start()
    assert capfd.readouterr().err == ""


def test_a_unix_socket_serves_the_same_table(tmp_path: Path, executors: Executors) -> None:
    def answer(data: bytes, context: Any) -> bytes:
        return b"hello"

    path = tmp_path / "elanus.sock"
    table = {VERSION: grpc.unary_unary_rpc_method_handler(answer, bytes, bytes)}
    server = GrpcServer(table, executors, port=0, unix_socket=path)
    server.start()
    try:
        for target in (f"unix:{path}", f"127.0.0.1:{server.port}"):
            with grpc.insecure_channel(target) as channel:
                assert channel.unary_unary(VERSION)(b"", timeout=5) == b"hello"
    finally:
        server.stop(0)


def test_a_unix_socket_path_that_does_not_fit_is_refused(tmp_path: Path, executors: Executors) -> None:
    with pytest.raises(Unavailable, match="at most 107 fit"):
        GrpcServer({}, executors, port=0, unix_socket=tmp_path / ("x" * 120)).start()


def test_an_oversize_request_is_refused_and_the_connection_survives(ask: Ask, channel: grpc.Channel) -> None:
    big = messages.InsertRequest(collection_name="x" * (LIMITS.receive_size + 1)).SerializeToString()
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/milvus.proto.milvus.MilvusService/Insert")(big, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert ask("GetVersion").status.code == 0


def test_probes_are_answered_by_the_standard_health_service(channel: grpc.Channel, proxy: FakeProxy) -> None:
    check = channel.unary_unary(f"{HEALTH}Check")
    assert check(b"") == b"\x08\x01"
    assert list(channel.unary_stream(f"{HEALTH}Watch")(b"")) == [b"\x08\x01"]
    proxy.unhealthy = ["starting"]
    assert check(b"") == b"\x08\x02"
    with pytest.raises(grpc.RpcError) as caught:
        check(b"\x0a\x04nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_stopping_lets_calls_that_run_finish(executors: Executors) -> None:
    started = threading.Event()

    def slow(data: bytes, context: Any) -> bytes:
        started.set()
        time.sleep(0.3)
        return b"done"

    server = GrpcServer({VERSION: grpc.unary_unary_rpc_method_handler(slow, bytes, bytes)}, executors, port=0)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        running = channel.unary_unary(VERSION).future(b"")
        assert started.wait(5)
        server.stop(grace=5)
        assert running.result(5) == b"done"
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(VERSION)(b"", timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
