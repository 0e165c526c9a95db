"""A `grpc.Channel` whose other end is a table of handlers in this process."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from elanus.lite.connection import Connection
from elanus.lite.context import Context, InProcessError, MetadataItems, Metadatum, deadline_exceeded
from elanus.lite.dispatch import Kind
from elanus.lite.unary import Deserializer, Serializer, UnaryMethod, UnaryOnly


class InProcessChannel(UnaryOnly, grpc.Channel):  # type: ignore[misc]  # grpc ships no types
    """Calls the handlers of an instance with serialised requests, as a server would.

    Takes the connection's lease at once; raises what opening the instance raises.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        connection.open()
        # Interceptors ask for the callable anew at every call.
        self._callables: dict[tuple[str, Serializer | None, Deserializer | None], UnaryUnary] = {}

    def unary_unary(
        self,
        method: str,
        request_serializer: Serializer | None = None,
        response_deserializer: Deserializer | None = None,
        _registered_method: bool = False,
    ) -> "UnaryUnary":
        key = (method, request_serializer, response_deserializer)
        found = self._callables.get(key)
        if found is None:
            serialize, deserialize = request_serializer or bytes, response_deserializer or bytes
            found = UnaryUnary(self._connection, method, serialize, deserialize)
            self._callables[key] = found
        return found

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False
    ) -> None:
        callback(self.check_connectivity_state(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Nothing to forget: the state never changes after `subscribe` has told it."""

    def check_connectivity_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._connection.state()

    def close(self) -> None:
        """Refuse further calls; those that run are let finish. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UnaryUnary(UnaryMethod, grpc.UnaryUnaryMultiCallable):  # type: ignore[misc]  # grpc ships no types
    """One method of a channel.

    A read runs on the caller's thread. Anything that changes something runs on a worker, because Ctrl-C is
    raised in whatever the main thread executes, and must not be raised in the middle of a write.
    """

    def __init__(
        self, connection: Connection, method: str, serialize: Serializer, deserialize: Deserializer
    ) -> None:
        self._connection = connection
        super().__init__(method, serialize, deserialize)

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataItems | None = None,
        credentials: object = None,
        wait_for_ready: bool | None = None,
        compression: object = None,
    ) -> Any:
        return self.with_call(request, timeout, metadata)[0]

    def with_call(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataItems | None = None,
        credentials: object = None,
        wait_for_ready: bool | None = None,
        compression: object = None,
    ) -> tuple[Any, grpc.Call]:
        if self._kind is not Kind.READ:
            call = self.future(request, timeout, metadata)
            try:
                return call.result(), call
            except KeyboardInterrupt:
                call.cancel()  # undone if no worker has begun it; otherwise it finishes as a whole
                raise
        dispatcher = self._connection.dispatcher() or self._connection.open()
        payload = self._serialize(request)
        context = Context(metadata, timeout)
        try:
            response = self._deserialize(dispatcher.run(self._method, payload, context))
        finally:
            context.end()
        return response, Answered(response, context.trailing_metadata())

    def future(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: MetadataItems | None = None,
        credentials: object = None,
        wait_for_ready: bool | None = None,
        compression: object = None,
    ) -> "InProcessCall":
        dispatcher = self._connection.dispatcher() or self._connection.open()
        payload = self._serialize(request)  # here and now: the caller may change its request afterwards
        context = Context(None if metadata is None else tuple(metadata), timeout)
        call = InProcessCall(context, timeout, self._deserialize)

        def job() -> None:
            if context.ended:
                return
            try:
                call.settle(dispatcher.run(self._method, payload, context))
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever asks for the result
                call.settle(error)

        try:
            dispatcher.submit(self._kind, job, timeout)
        except InProcessError as error:
            call.settle(error)
        return call


class InProcessCall(grpc.Call, grpc.Future):  # type: ignore[misc]  # grpc ships no types
    """A call that a worker carries out: ends with the first of its answer, its deadline and `cancel`."""

    def __init__(self, context: Context, timeout: float | None, deserialize: Deserializer) -> None:
        self._context = context
        self._timeout = timeout
        self._deserialize = deserialize
        self._changed = threading.Condition()
        self._outcome: bytes | BaseException | None = None
        self._response: Any = None
        self._callbacks: list[Callable[[Any], None]] = []

    def settle(self, outcome: bytes | BaseException) -> bool:
        """End the call with its serialised response or an error; False if it has ended before."""
        with self._changed:
            if self._outcome is not None:
                return False
            self._outcome = outcome
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        self._context.end()
        for callback in callbacks:
            callback(self)
        return True

    def result(self, timeout: float | None = None) -> Any:
        outcome = self._wait(timeout)
        if self.cancelled():
            raise grpc.FutureCancelledError
        if isinstance(outcome, BaseException):
            raise outcome
        with self._changed:
            if self._response is None:
                self._response = self._deserialize(outcome)
            return self._response

    def exception(self, timeout: float | None = None) -> BaseException | None:
        outcome = self._wait(timeout)
        return outcome if isinstance(outcome, BaseException) else None

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        error = self.exception(timeout)
        return None if error is None else error.__traceback__

    def code(self) -> grpc.StatusCode:
        outcome = self._wait(None)
        if isinstance(outcome, InProcessError):
            return outcome.code()
        return grpc.StatusCode.UNKNOWN if isinstance(outcome, BaseException) else grpc.StatusCode.OK

    def details(self) -> str:
        outcome = self._wait(None)
        if isinstance(outcome, InProcessError):
            return outcome.details()
        return str(outcome) if isinstance(outcome, BaseException) else ""

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return ()

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        self._wait(None)
        return self._context.trailing_metadata()

    def cancel(self) -> bool:
        return self.settle(InProcessError(grpc.StatusCode.CANCELLED, "the caller cancelled the call"))

    def cancelled(self) -> bool:
        outcome = self._outcome
        return isinstance(outcome, InProcessError) and outcome.cancelled()

    def done(self) -> bool:
        if self._context.time_remaining() == 0.0:
            self.settle(deadline_exceeded(self._timeout))
        return self._outcome is not None

    def running(self) -> bool:
        return not self.done()

    def is_active(self) -> bool:
        return not self.done()

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return self._context.add_callback(callback)

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        with self._changed:
            if self._outcome is None:
                self._callbacks.append(fn)
                return
        fn(self)

    def _wait(self, timeout: float | None) -> bytes | BaseException:
        """The outcome. Raises grpc.FutureTimeoutError when `timeout` ends before the call's own deadline."""
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self._outcome is None:
                of_call = self._context.time_remaining()
                of_caller = None if until is None else max(0.0, until - time.monotonic())
                if of_call == 0.0:
                    break
                if of_caller == 0.0:
                    raise grpc.FutureTimeoutError
                self._changed.wait(min((t for t in (of_call, of_caller) if t is not None), default=None))
            if self._outcome is not None:
                return self._outcome
        self.settle(deadline_exceeded(self._timeout))
        return self._wait(None)


class Answered(grpc.Call):  # type: ignore[misc]  # grpc ships no types
    """The call object of a read that has its answer."""

    def __init__(self, response: Any, trailing: tuple[Metadatum, ...]) -> None:
        self._response = response
        self._trailing = trailing

    def result(self, timeout: float | None = None) -> Any:
        return self._response

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    def details(self) -> str:
        return ""

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return ()

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._trailing

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def cancel(self) -> bool:
        return False

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False
