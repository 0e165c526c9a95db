"""What a handler sees of an in-process call, and the one error its failures become."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, NamedTuple, NoReturn

import grpc

MetadataItems = Iterable[tuple[str, str | bytes]]


class Metadatum(NamedTuple):
    key: str
    value: str | bytes


class InProcessError(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[misc]  # grpc ships no types
    """A call that ended with another status than OK: the exception, the call and its future in one."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: tuple[Metadatum, ...] = ()) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details
        self._trailing = trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def debug_error_string(self) -> str:
        return f"in-process call: {self._code.name}: {self._details}"

    def initial_metadata(self) -> tuple[Metadatum, ...]:
        return ()

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._trailing

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> float | None:
        return None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return self._code is grpc.StatusCode.CANCELLED

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> NoReturn:
        raise self

    def exception(self, timeout: float | None = None) -> "InProcessError":
        return self

    def traceback(self, timeout: float | None = None) -> TracebackType | None:
        trace: TracebackType | None = self.__traceback__
        return trace

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        fn(self)


def deadline_exceeded(timeout: float | None) -> InProcessError:
    return InProcessError(
        grpc.StatusCode.DEADLINE_EXCEEDED,
        f"the call did not finish in its {timeout} s; it may still be carried out if it had begun",
    )


class _Abort(Exception):
    """Leaves a handler that called `abort`; the status is in the context."""


class Context(grpc.ServicerContext):  # type: ignore[misc]  # grpc ships no types
    """The `grpc.ServicerContext` of one in-process call. `timeout` in seconds, None for no deadline."""

    def __init__(self, metadata: MetadataItems | None, timeout: float | None) -> None:
        self._metadata = metadata
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._code: grpc.StatusCode | None = None
        self._details = ""
        self._trailing: tuple[Metadatum, ...] = ()
        self._callbacks: list[Callable[[], None]] | None = None
        self._ended = False

    def failure(self) -> InProcessError | None:
        """The error that the status set by the handler amounts to; None when it is OK."""
        if self._code is None or self._code is grpc.StatusCode.OK:
            return None
        return InProcessError(self._code, self._details, self._trailing)

    def end(self) -> None:
        """The call is over for its caller: it was answered, cancelled, or its time is up. Idempotent."""
        with _callbacks_lock:
            self._ended = True
            callbacks, self._callbacks = self._callbacks, None
        for callback in callbacks or ():
            callback()

    @property
    def ended(self) -> bool:
        return self._ended

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        return _received(self._metadata)

    def peer(self) -> str:
        return f"inproc:{os.getpid()}"

    def peer_identities(self) -> None:
        return None

    def peer_identity_key(self) -> None:
        return None

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}

    def is_active(self) -> bool:
        return not self._ended and self.time_remaining() != 0.0

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def cancel(self) -> None:
        self.end()

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with _callbacks_lock:
            if self._ended:
                return False
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
            return True

    def send_initial_metadata(self, initial_metadata: MetadataItems) -> None:
        """Accepted and dropped: no client of the Milvus protocol reads it."""

    def set_trailing_metadata(self, trailing_metadata: MetadataItems) -> None:
        self._trailing = _received(trailing_metadata)

    def trailing_metadata(self) -> tuple[Metadatum, ...]:
        return self._trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def details(self) -> str:
        return self._details

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._code = grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code
        self._details = details
        raise _Abort

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        if status.trailing_metadata is not None:
            self._trailing = _received(status.trailing_metadata)
        self.abort(status.code, status.details)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Nothing travels, so nothing is compressed."""

    def disable_next_message_compression(self) -> None:
        """Nothing travels, so nothing is compressed."""


# One lock for all calls: it is held for a list append, and a lock in each context would cost every read.
_callbacks_lock = threading.Lock()


def respond(handler: grpc.RpcMethodHandler, request: bytes, context: Context) -> bytes:
    """Call a unary handler with a serialised request and return its serialised response.

    Raises InProcessError for a status other than OK. An exception that escapes the handler is a defect of
    the server; it goes to the caller as it is, because the gRPC status for it (UNKNOWN) makes pymilvus repeat
    the call for minutes.
    """
    try:
        response = handler.unary_unary(handler.request_deserializer(request), context)
    except _Abort:
        response = None
    failure = context.failure()
    if failure is not None:
        raise failure
    return bytes(handler.response_serializer(response))


def _received(metadata: MetadataItems | None) -> tuple[Metadatum, ...]:
    """Metadata as a server receives it: text is str, whatever the client passed; `-bin` values stay bytes."""
    if not metadata:
        return ()
    return tuple(
        Metadatum(key, value.decode() if isinstance(value, bytes) and not key.endswith("-bin") else value)
        for key, value in metadata
    )
