"""The asyncio channel does what pymilvus expects of a `grpc.aio` channel."""

import asyncio
import copy
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from elanus.lite.aio import AioInProcessChannel
from elanus.lite.connection import Connection
from elanus.lite.dispatch import Limits
from elanus.model.errors import DirectoryInUseError
from tests.unit.lite.tables import SERVICE, Behaviour, Gate, connection, serve


def channel_to(limits: Limits | None = None, **methods: Behaviour) -> AioInProcessChannel:
    return AioInProcessChannel(connection(limits, **methods))


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 30))


class Header(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]  # grpc ships no types
    """Adds a header, as pymilvus' interceptors do."""

    def __init__(self, key: str, value: str) -> None:
        self._header = (key, value)

    async def intercept_unary_unary(
        self, continuation: Callable[..., Awaitable[Any]], details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        metadata = [*(details.metadata or ()), self._header]
        return await continuation(
            grpc.aio.ClientCallDetails(
                details.method, details.timeout, metadata, details.credentials, details.wait_for_ready
            ),
            request,
        )


def test_a_call_is_awaited_and_tells_how_it_ended() -> None:
    async def body() -> None:
        async with channel_to(Query=echo) as channel:
            await channel.channel_ready()
            assert channel.get_state(True) is grpc.ChannelConnectivity.READY
            call = channel.unary_unary(SERVICE + "Query", str.encode, bytes.decode, True)(request="grüße")
            assert await call == "grüße"
            assert await call.code() is grpc.StatusCode.OK
            assert await call.details() == ""
            assert call.done()

    run(body())


def test_no_call_runs_on_the_loop_and_many_run_at_once() -> None:
    together = threading.Barrier(4)

    def meet(request: bytes, context: grpc.ServicerContext) -> bytes:
        together.wait(10)
        return threading.current_thread().name.encode()

    async def body() -> None:
        query = channel_to(Query=meet).unary_unary(SERVICE + "Query")
        names = await asyncio.gather(*(query(b"") for _ in range(4)))
        assert all(name.startswith(b"elanus-lite-read") for name in names)

    run(body())


def test_interceptors_appended_later_are_run_in_order() -> None:
    seen: list[str] = []

    def note(request: bytes, context: grpc.ServicerContext) -> bytes:
        seen.extend(f"{key}={value!r}" for key, value in context.invocation_metadata())
        return request

    async def body() -> None:
        channel = channel_to(Query=note)
        query = channel.unary_unary(SERVICE + "Query")
        channel._unary_unary_interceptors.append(Header("authorization", "x"))
        channel._unary_unary_interceptors.append(Header("identifier", "7"))
        assert await query(b"q", metadata=(("dbname", "d"),), timeout=5) == b"q"

    run(body())
    assert seen == ["dbname='d'", "authorization='x'", "identifier='7'"]


@pytest.mark.parametrize("intercepted", [False, True])
def test_an_abort_is_raised_as_grpc_aio_raises_it(intercepted: bool) -> None:
    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        raise AssertionError("abort returned")

    async def body() -> None:
        channel = channel_to(Query=refuse)
        if intercepted:
            channel._unary_unary_interceptors.append(Header("a", "b"))
        call = channel.unary_unary(SERVICE + "Query")(b"")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAVAILABLE, "not now")
        assert await call.code() is grpc.StatusCode.UNAVAILABLE

    run(body())


def test_the_deadline_is_kept_while_the_handler_goes_on() -> None:
    gate = Gate()

    async def body() -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel_to(Query=gate).unary_unary(SERVICE + "Query")(b"", timeout=0.05)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        gate.go.set()

    run(body())
    assert gate.finished.wait(5)


def test_a_cancelled_task_takes_back_a_write_that_no_worker_has_begun() -> None:
    gate = Gate()

    async def body() -> None:
        insert = channel_to(Limits(write_workers=1), Insert=gate).unary_unary(SERVICE + "Insert")
        running = insert(b"1")
        assert await asyncio.to_thread(gate.entered.wait, 5)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(insert(b"2"), 0.05)
        gate.go.set()
        assert await running == b"1"
        assert await insert(b"3") == b"3"

    run(body())
    assert gate.calls == 2


def test_calls_beyond_the_bound_wait_off_the_loop() -> None:
    gate = Gate()

    async def body() -> None:
        insert = channel_to(Limits(write_workers=1, waiting_calls=1), Insert=gate).unary_unary(
            SERVICE + "Insert"
        )
        calls = [insert(bytes([n])) for n in range(6)]
        await asyncio.sleep(0.05)
        assert gate.calls == 1
        gate.go.set()
        assert list(await asyncio.gather(*calls)) == [bytes([n]) for n in range(6)]

    run(body())


def test_the_instance_opens_at_the_first_call_and_closes_with_the_channel() -> None:
    embedded, directories = serve(Query=echo)

    async def body() -> None:
        channel = AioInProcessChannel(Connection(lambda: embedded.acquire(Path("/data"))))
        query = channel.unary_unary(SERVICE + "Query")
        assert directories.opened == 0
        assert tuple(await asyncio.gather(query(b"1"), query(b"2"))) == (b"1", b"2")
        assert (directories.opened, directories.stopped) == (1, 0)
        await channel.close(grace=1)
        await channel.close()
        assert directories.stopped == 1
        with pytest.raises(ValueError, match="Channel closed"):
            await query(b"3")

    run(body())


def test_an_instance_that_cannot_be_opened_says_so_at_the_first_call() -> None:
    def refuse() -> Any:
        raise DirectoryInUseError("/data is open in process 4711")

    async def body() -> None:
        channel = AioInProcessChannel(Connection(refuse))
        channel._unary_unary_interceptors.append(Header("a", "b"))
        with pytest.raises(DirectoryInUseError, match="4711"):
            await channel.unary_unary(SERVICE + "Query")(b"")

    run(body())


def test_one_channel_serves_one_loop_after_another() -> None:
    channel = channel_to(Query=echo)
    query = channel.unary_unary(SERVICE + "Query")

    async def body() -> None:
        assert await query(b"x") == b"x"

    run(body())
    run(body())
    assert copy.deepcopy([channel]) == [channel]
