"""A `grpc.aio.Channel` whose other end is a table of handlers in this process."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from elanus.lite.connection import Connection
from elanus.lite.context import Context, InProcessError, MetadataItems, deadline_exceeded
from elanus.lite.dispatch import Dispatcher
from elanus.lite.unary import Deserializer, Serializer, UnaryMethod, UnaryOnly


class AioInProcessChannel(UnaryOnly, grpc.aio.Channel):  # type: ignore[misc]  # grpc ships no types
    """Calls handlers with serialised requests from asyncio. Every call runs on a worker, never on the loop.

    Opening and closing the instance may block, so both are done on a thread, opening at the first call.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # pymilvus appends to this list after the channel is made; multicallables read it at each call.
        self._unary_unary_interceptors: list[grpc.aio.UnaryUnaryClientInterceptor] = []

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> "AioUnaryUnary":
        return AioUnaryUnary(self, method, request_serializer or bytes, response_deserializer or bytes)

    @property
    def interceptors(self) -> Sequence[grpc.aio.UnaryUnaryClientInterceptor]:
        return self._unary_unary_interceptors

    async def dispatcher(self) -> Dispatcher:
        """The other end. Raises ValueError when the channel is closed, and what opening raises."""
        dispatcher = self._connection.dispatcher()
        return await asyncio.to_thread(self._connection.open) if dispatcher is None else dispatcher

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._connection.state()

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns once the state differs: at once, or never while the channel is open."""
        if self.get_state() is last_observed_state:
            await asyncio.get_running_loop().create_future()

    async def channel_ready(self) -> None:
        await self.dispatcher()

    async def close(self, grace: float | None = None) -> None:
        """Refuse further calls; those that run are let finish, whatever the grace. Idempotent."""
        if not self._connection.closed:
            await asyncio.to_thread(self._connection.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AioUnaryUnary(UnaryMethod, grpc.aio.UnaryUnaryMultiCallable):  # type: ignore[misc]  # grpc ships no types
    """One method of a channel."""

    def __init__(
        self, channel: AioInProcessChannel, method: str, serialize: Serializer, deserialize: Deserializer
    ) -> None:
        self._channel = channel
        super().__init__(method, serialize, deserialize)

    def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: MetadataItems | None = None,
        credentials: object = None,
        wait_for_ready: bool | None = None,
        compression: object = None,
    ) -> "AioCall":
        interceptors = tuple(self._channel.interceptors)
        if not interceptors:
            return self._call(request, timeout, metadata)
        details = grpc.aio.ClientCallDetails(self._method, timeout, metadata, credentials, wait_for_ready)
        context = Context(None, timeout)
        return AioCall(self._intercepted(interceptors, details, request), context)

    async def _intercepted(
        self,
        interceptors: Sequence[grpc.aio.UnaryUnaryClientInterceptor],
        details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        """The answer after the interceptors, the first one outermost; each may give a call or an answer."""

        async def proceed(rest: int, details: grpc.aio.ClientCallDetails, request: Any) -> Any:
            if rest == len(interceptors):
                return self._call(request, details.timeout, details.metadata)

            async def continuation(details: grpc.aio.ClientCallDetails, request: Any) -> Any:
                return await proceed(rest + 1, details, request)

            return await interceptors[rest].intercept_unary_unary(continuation, details, request)

        answer = await proceed(0, details, request)
        return await answer if isinstance(answer, grpc.aio.UnaryUnaryCall) else answer

    def _call(self, request: Any, timeout: float | None, metadata: MetadataItems | None) -> "AioCall":
        payload = self._serialize(request)  # here and now: the caller may change its request afterwards
        context = Context(None if metadata is None else tuple(metadata), timeout)
        return AioCall(self._answer(payload, context, timeout), context)

    async def _answer(self, payload: bytes, context: Context, timeout: float | None) -> Any:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bytes] = loop.create_future()

        def settle(answer: bytes | BaseException) -> None:
            if outcome.done():
                return
            if isinstance(answer, BaseException):
                outcome.set_exception(answer)
            else:
                outcome.set_result(answer)

        def job() -> None:
            if context.ended:
                return
            answer: bytes | BaseException
            try:
                answer = dispatcher.run(self._method, payload, context)
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever awaits the call
                answer = error
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(settle, answer)

        try:
            dispatcher = await self._channel.dispatcher()
            # Full queues are rare; only then is the wait for a place moved off the loop.
            if not dispatcher.try_submit(self._kind, job):
                await asyncio.to_thread(dispatcher.submit, self._kind, job, context.time_remaining())
            done, _ = await asyncio.wait({outcome}, timeout=context.time_remaining())
            if not done:
                raise deadline_exceeded(timeout)
            return self._deserialize(outcome.result())
        except InProcessError as error:
            raise grpc.aio.AioRpcError(
                error.code(),
                grpc.aio.Metadata(),
                grpc.aio.Metadata(*error.trailing_metadata()),
                error.details(),
                error.debug_error_string(),
            ) from None
        finally:
            outcome.cancel()
            context.end()


class AioCall(grpc.aio.UnaryUnaryCall):  # type: ignore[misc]  # grpc ships no types
    """An awaitable call; it starts when it is made, on the running loop."""

    def __init__(self, answer: Any, context: Context) -> None:
        self._task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(answer)
        self._context = context

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> bool:
        return self._task.cancel()

    def cancelled(self) -> bool:
        return self._task.cancelled()

    def done(self) -> bool:
        return self._task.done()

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._task.add_done_callback(lambda _: callback(self))

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    async def wait_for_connection(self) -> None:
        """There is no connection to wait for."""

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        error = await self._error()
        if isinstance(error, grpc.aio.AioRpcError):
            return error.trailing_metadata()
        return grpc.aio.Metadata(*self._context.trailing_metadata())

    async def code(self) -> grpc.StatusCode:
        error = await self._error()
        if isinstance(error, grpc.aio.AioRpcError):
            return error.code()
        if isinstance(error, asyncio.CancelledError):
            return grpc.StatusCode.CANCELLED
        return grpc.StatusCode.OK if error is None else grpc.StatusCode.UNKNOWN

    async def details(self) -> str:
        error = await self._error()
        if isinstance(error, grpc.aio.AioRpcError):
            return error.details() or ""
        return "" if error is None else str(error)

    async def _error(self) -> BaseException | None:
        await asyncio.wait({self._task})
        return asyncio.CancelledError() if self._task.cancelled() else self._task.exception()
