"""From bytes to a method of a noun and back: parsing, the call's context, errors as answers."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError

from elanus.access.calls import DEFAULT_DATABASE, Call, new_request_id, serving
from elanus.access.protocol import messages
from elanus.access.service.executors import Executors, Lane
from elanus.access.translate.statuses import failure, unexpected
from elanus.model.errors import DeadlineExceeded, ElanusError

log = logging.getLogger(__name__)

# Any below: protobuf messages of the private pool have no static types.
Method = Callable[[Call, Any], Any]
"""Answers a request message with a response message; raises `model.errors`."""

THREAD_POOL = "experimental_thread_pool"
"""The attribute by which a behaviour tells grpc's server the executor it runs on."""
_ID_KEYS = ("client-request-id", "client_request_id")


class ServicerContext(Protocol):
    """What a handler needs of gRPC's context; the in-process channel brings its own."""

    def invocation_metadata(self) -> Any: ...

    def time_remaining(self) -> float | None: ...

    def is_active(self) -> bool: ...

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


Handle = Callable[[bytes, ServicerContext], bytes]


Observe = Callable[[str, bool, float], None]
"""Told of every call that has ended: its method, whether it succeeded, its seconds."""


def unobserved(method: str, succeeded: bool, seconds: float) -> None:
    pass


def built(descriptor: MethodDescriptor, method: Method, observe: Observe = unobserved) -> Handle:
    """A unary handler, bytes to bytes, that lets no exception escape but those of `context.abort`."""
    request_class = messages.message(descriptor.input_type.full_name)
    answer_class = messages.message(descriptor.output_type.full_name)
    name = descriptor.name
    has_status = "status" in answer_class.DESCRIPTOR.fields_by_name

    def handle(data: bytes, context: ServicerContext) -> bytes:
        call = _call(name, context)
        try:
            request = request_class.FromString(data)
        except DecodeError:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the request of {name} is not a {request_class.DESCRIPTOR.full_name} message",
            )
        started = time.perf_counter()
        succeeded = False
        try:
            answer, succeeded = _serve(call, request, method, answer_class, has_status)
            return answer
        except DeadlineExceeded as error:
            context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, error.message)
        finally:
            observe(name, succeeded, time.perf_counter() - started)

    return handle


def not_built(descriptor: MethodDescriptor, version: str) -> Handle:
    """Answers gRPC UNIMPLEMENTED with the call's name."""
    details = f"{descriptor.name} is not implemented by elanus {version}"

    def handle(data: bytes, context: ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNIMPLEMENTED, details)

    return handle


def rpc_handler(
    descriptor: MethodDescriptor, handle: Handle, lane: Lane, executors: Executors | None
) -> grpc.RpcMethodHandler:
    """gRPC's handler of a method; its serialisers leave the bytes as they are."""
    if executors is not None:
        setattr(handle, THREAD_POOL, executors.of(lane))
    if not descriptor.server_streaming:
        return grpc.unary_unary_rpc_method_handler(handle, bytes, bytes)

    # The protocol's streaming methods are none of them built: they end before the first message.
    def stream(request: Any, context: ServicerContext) -> Iterator[bytes]:
        yield handle(b"", context)

    if descriptor.client_streaming:
        return grpc.stream_stream_rpc_method_handler(stream, bytes, bytes)
    return grpc.unary_stream_rpc_method_handler(stream, bytes, bytes)


def _serve(
    call: Call, request: Any, method: Method, answer_class: Any, has_status: bool
) -> tuple[bytes, bool]:
    """The answer, and whether it is a success."""
    call.database = getattr(request, "db_name", "") or call.database
    with serving(call):
        try:
            call.check()
            answer = method(call, request)
            if has_status:
                # Clients read a status that is not there as a failure.
                answer.status.SetInParent()
            data: bytes = answer.SerializeToString()
            return data, True
        except DeadlineExceeded:
            raise
        except ElanusError as error:
            log.debug("%s of request %s: %s", call.method, call.request_id, error.message)
            refused: bytes = failure(answer_class, error).SerializeToString()
            return refused, False
        except Exception:
            # Whatever escaped would be an unknown gRPC code, which clients retry 75 times.
            log.exception("%s failed, request %s", call.method, call.request_id)
            failed: bytes = failure(answer_class, unexpected(call.request_id)).SerializeToString()
            return failed, False


def _call(name: str, context: ServicerContext) -> Call:
    metadata = {
        key: value if value.__class__ is str else _text(value)
        for key, value in context.invocation_metadata() or ()
    }
    remaining = context.time_remaining()
    return Call(
        method=name,
        request_id=metadata.get(_ID_KEYS[0]) or metadata.get(_ID_KEYS[1]) or new_request_id(),
        database=metadata.get("dbname") or DEFAULT_DATABASE,
        deadline=None if remaining is None else time.monotonic() + remaining,
        metadata=metadata,
        is_active=context.is_active,
    )


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
