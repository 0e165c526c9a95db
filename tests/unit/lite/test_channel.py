"""The in-process channel does what pymilvus expects of a gRPC channel."""

import copy
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.lite.channel import InProcessChannel
from elanus.lite.context import InProcessError
from elanus.lite.dispatch import Kind, Limits, kind_of
from tests.unit.lite.tables import SERVICE, Behaviour, Gate, connection


def channel_to(limits: Limits | None = None, **methods: Behaviour) -> InProcessChannel:
    return InProcessChannel(connection(limits, **methods))


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


def abort_with(code: grpc.StatusCode, details: str) -> Behaviour:
    def behaviour(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, details)
        raise AssertionError("abort returned")

    return behaviour


@given(st.binary(max_size=200))
def test_the_bytes_of_a_request_arrive_and_those_of_the_answer_come_back(payload: bytes) -> None:
    channel = channel_to(Query=lambda request, _: request[::-1], Insert=lambda request, _: request[::-1])
    for name in ("Query", "Insert"):
        assert channel.unary_unary(SERVICE + name)(payload) == payload[::-1]
    channel.close()


def test_serializers_of_the_caller_are_used_on_the_callers_side() -> None:
    channel = channel_to(Query=echo)
    call = channel.unary_unary(SERVICE + "Query", str.encode, bytes.decode, True)
    assert call("grüße") == "grüße"
    assert call(request="by name") == "by name"


def test_a_multicallable_is_made_once_per_method() -> None:
    channel = channel_to(Query=echo)
    first = channel.unary_unary(SERVICE + "Query", str.encode, bytes.decode, True)
    assert channel.unary_unary(SERVICE + "Query", str.encode, bytes.decode, True) is first
    assert channel.unary_unary(SERVICE + "Search", str.encode, bytes.decode, True) is not first


def where(request: bytes, context: grpc.ServicerContext) -> bytes:
    return threading.current_thread().name.encode()


@pytest.mark.parametrize("name", ["Search", "Query", "DescribeCollection", "HasCollection", "CheckHealth"])
def test_reads_run_on_the_thread_of_the_caller(name: str) -> None:
    channel = channel_to(None, **{name: where})
    assert channel.unary_unary(SERVICE + name)(b"").decode() == threading.current_thread().name


@pytest.mark.parametrize("name", ["Insert", "Delete", "CreateCollection", "Flush", "ANameNobodyKnows"])
def test_calls_that_may_change_something_run_on_a_worker(name: str) -> None:
    channel = channel_to(None, **{name: where})
    assert channel.unary_unary(SERVICE + name)(b"").decode().startswith("elanus-lite-")


def test_writes_have_workers_that_loading_does_not_use() -> None:
    assert kind_of(SERVICE + "Upsert") is Kind.WRITE
    assert kind_of(SERVICE + "LoadCollection") is Kind.CONTROL


def test_metadata_arrives_as_a_server_sees_it() -> None:
    seen: list[tuple[str, str | bytes]] = []

    def note(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.extend(context.invocation_metadata())
        assert context.invocation_metadata()[0].key == "authorization"
        return b""

    sent: list[tuple[str, str | bytes]] = [
        ("authorization", b"cm9vdA=="),
        ("dbname", "default"),
        ("trace-bin", b"\xff"),
    ]
    channel_to(Query=note).unary_unary(SERVICE + "Query")(b"", metadata=sent)
    assert seen == [("authorization", "cm9vdA=="), ("dbname", "default"), ("trace-bin", b"\xff")]


@pytest.mark.parametrize("name", ["Query", "Insert"])
def test_an_abort_is_raised_as_an_error_that_is_also_the_call_and_its_future(name: str) -> None:
    channel = channel_to(None, **{name: abort_with(grpc.StatusCode.PERMISSION_DENIED, "not you")})
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + name)(b"")
    error: Any = caught.value
    assert isinstance(error, grpc.Call)
    assert isinstance(error, grpc.Future)
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")
    with pytest.raises(grpc.RpcError) as again:
        error.result()
    assert again.value is error


def test_a_code_set_by_the_handler_makes_an_error_of_its_answer() -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details("later")
        context.set_trailing_metadata([("retry-after", "1")])
        return b"ignored"

    with pytest.raises(InProcessError) as caught:
        channel_to(Query=refuse).unary_unary(SERVICE + "Query")(b"")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "later"
    assert caught.value.trailing_metadata() == (("retry-after", "1"),)


@pytest.mark.parametrize("name", ["Query", "Insert"])
def test_a_defect_of_the_server_reaches_the_caller_as_it_is(name: str) -> None:
    def broken(request: bytes, context: grpc.ServicerContext) -> bytes:
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        channel_to(None, **{name: broken}).unary_unary(SERVICE + name)(b"")


def test_a_method_that_is_not_in_the_table_is_unimplemented_and_named() -> None:
    with pytest.raises(InProcessError, match="/Fly is not served") as caught:
        channel_to(Query=echo).unary_unary(SERVICE + "Fly")(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_streams_can_be_asked_for_but_not_called() -> None:
    channel = channel_to(Query=echo)
    for make in (channel.unary_stream, channel.stream_unary, channel.stream_stream):
        stream = make(SERVICE + "DumpMessages", str.encode, bytes.decode, True)
        with pytest.raises(InProcessError, match="DumpMessages") as caught:
            stream(b"", timeout=1)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_the_deadline_of_a_write_is_kept_while_its_handler_goes_on() -> None:
    gate = Gate()
    channel = channel_to(Insert=gate)
    started = time.monotonic()
    with pytest.raises(InProcessError) as caught:
        channel.unary_unary(SERVICE + "Insert")(b"", timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 5
    gate.go.set()
    assert gate.finished.wait(5)
    channel.close()


def test_a_write_whose_time_is_over_before_a_worker_is_free_is_not_carried_out() -> None:
    gate = Gate()
    done: list[bytes] = []

    def delete(request: bytes, context: grpc.ServicerContext) -> bytes:
        done.append(request)
        return b""

    channel = channel_to(Limits(write_workers=1), Insert=gate, Delete=delete)
    blocked = channel.unary_unary(SERVICE + "Insert").future(b"")
    assert gate.entered.wait(5)
    with pytest.raises(InProcessError):
        channel.unary_unary(SERVICE + "Delete")(b"late", timeout=0.05)
    gate.go.set()
    assert blocked.result(5) == b""
    channel.unary_unary(SERVICE + "Delete")(b"in time", timeout=5)
    assert done == [b"in time"]


def test_a_caller_beyond_the_bound_waits_for_a_place_within_its_deadline() -> None:
    gate = Gate()
    channel = channel_to(Limits(write_workers=1, waiting_calls=1), Insert=gate)
    insert = channel.unary_unary(SERVICE + "Insert")
    running, waiting = insert.future(b"1"), insert.future(b"2")
    refused = insert.future(b"3", timeout=0.05)
    assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gate.go.set()
    assert (running.result(5), waiting.result(5)) == (b"1", b"2")
    assert insert(b"4", timeout=5) == b"4"


def test_a_handler_sees_the_time_that_is_left_and_the_end_of_the_call() -> None:
    seen: list[float | None] = []
    ended = threading.Event()

    def note(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(context.time_remaining())
        assert context.is_active()
        assert context.add_callback(ended.set)
        return b""

    query = channel_to(Query=note).unary_unary(SERVICE + "Query")
    query(b"", timeout=50)
    assert ended.is_set()
    query(b"")
    assert seen[0] is not None
    assert 40 < seen[0] <= 50
    assert seen[1] is None


def test_the_request_of_a_future_is_taken_when_the_call_is_made() -> None:
    gate = Gate()
    insert = channel_to(Insert=gate).unary_unary(SERVICE + "Insert", bytes)
    request = bytearray(b"before")
    call = insert.future(request)
    request[:] = b"after!"
    gate.go.set()
    assert call.result(timeout=5) == b"before"


def test_a_future_tells_its_result_code_and_callbacks() -> None:
    gate = Gate()
    call = channel_to(Insert=gate).unary_unary(SERVICE + "Insert").future(b"x")
    told: list[object] = []
    call.add_done_callback(told.append)
    assert call.running()
    with pytest.raises(grpc.FutureTimeoutError):
        call.result(timeout=0.01)
    gate.go.set()
    assert call.result() == b"x"
    assert (call.code(), call.details(), call.exception(), call.done()) == (
        grpc.StatusCode.OK,
        "",
        None,
        True,
    )
    call.add_done_callback(told.append)
    assert told == [call, call]


def test_a_cancelled_future_that_no_worker_has_begun_is_not_carried_out() -> None:
    gate = Gate()
    channel = channel_to(Limits(write_workers=1), Insert=gate)
    insert = channel.unary_unary(SERVICE + "Insert")
    running = insert.future(b"1")
    assert gate.entered.wait(5)
    queued = insert.future(b"2")
    assert queued.cancel()
    assert queued.cancelled()
    assert queued.code() is grpc.StatusCode.CANCELLED
    with pytest.raises(grpc.FutureCancelledError):
        queued.result()
    gate.go.set()
    running.result(5)
    assert insert(b"3") == b"3"
    assert gate.calls == 2


def test_an_interceptor_sees_the_answer_and_the_error() -> None:
    class Header(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc ships no types
        def intercept_unary_unary(self, proceed: Callable[..., Any], details: Any, request: Any) -> Any:
            return proceed(details._replace(metadata=[("identifier", "7")]), request)

    def identifier(request: bytes, context: grpc.ServicerContext) -> bytes:
        return str(dict(context.invocation_metadata())["identifier"]).encode()

    plain = channel_to(
        Query=identifier, Insert=identifier, Delete=abort_with(grpc.StatusCode.ALREADY_EXISTS, "twice")
    )
    channel = grpc.intercept_channel(plain, Header())
    assert channel.unary_unary(SERVICE + "Query")(b"") == b"7"
    assert channel.unary_unary(SERVICE + "Insert").future(b"").result(5) == b"7"
    with pytest.raises(InProcessError, match="twice"):
        channel.unary_unary(SERVICE + "Delete")(b"")


def test_a_channel_is_ready_at_once_and_can_be_copied_deeply() -> None:
    channel = channel_to(Query=echo)
    grpc.channel_ready_future(channel).result(timeout=5)
    assert channel.check_connectivity_state(True) is grpc.ChannelConnectivity.READY
    assert copy.deepcopy({"channel": channel})["channel"] is channel


def test_a_closed_channel_refuses_calls_as_grpc_does() -> None:
    channel = channel_to(Query=echo)
    query = channel.unary_unary(SERVICE + "Query")
    with channel:
        assert query(b"x") == b"x"
    with pytest.raises(ValueError, match="Channel closed"):
        query(b"x")
    assert channel.check_connectivity_state(False) is grpc.ChannelConnectivity.SHUTDOWN


def call_until_interrupted(call: Callable[[bytes], Any], request: bytes, event: threading.Event) -> None:
    """Make a call; Ctrl-C comes while it lasts, once `event` has happened."""

    def send() -> None:
        if event.wait(10):
            time.sleep(0.1)  # until the main thread waits for its own call
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=send).start()
    call(request)


def test_ctrl_c_returns_at_once_and_leaves_a_write_that_has_begun_to_finish() -> None:
    gate = Gate()
    channel = channel_to(Insert=gate)
    with pytest.raises(KeyboardInterrupt):
        call_until_interrupted(channel.unary_unary(SERVICE + "Insert"), b"rows", gate.entered)
    assert not gate.finished.is_set()
    gate.go.set()
    assert gate.finished.wait(5)


def test_ctrl_c_takes_back_a_write_that_no_worker_has_begun() -> None:
    gate = Gate()
    channel = channel_to(Limits(write_workers=1), Insert=gate)
    insert = channel.unary_unary(SERVICE + "Insert")
    running = insert.future(b"1")
    with pytest.raises(KeyboardInterrupt):
        call_until_interrupted(insert, b"2", gate.entered)
    gate.go.set()
    assert running.result(5) == b"1"
    assert insert(b"3") == b"3"
    assert gate.calls == 2
