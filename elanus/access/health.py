"""gRPC's standard health service, `grpc.health.v1.Health`, which probes and load balancers ask."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from elanus.access.service.dispatch import THREAD_POOL, ServicerContext
from elanus.access.service.executors import Executors, Lane

_SERVING, _NOT_SERVING = 1, 2
"""`HealthCheckResponse.ServingStatus`."""
_SERVICES = frozenset({"", "milvus.proto.milvus.MilvusService"})
"""The names a probe may ask for; "" is the server as a whole."""


# Any: protobuf classes made at run time have no static types.
@cache
def _messages() -> tuple[Any, Any]:
    """HealthCheckRequest and HealthCheckResponse, wire-compatible: one field each; the enum as int32."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="health.proto", package="grpc.health.v1", syntax="proto3")
    for message, name, kind in (
        ("HealthCheckRequest", "service", field.TYPE_STRING),
        ("HealthCheckResponse", "status", field.TYPE_INT32),
    ):
        added = file.message_type.add(name=message)
        added.field.add(name=name, number=1, type=kind, label=field.LABEL_OPTIONAL)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    request, response = (
        message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))
        for name in ("HealthCheckRequest", "HealthCheckResponse")
    )
    return request, response


def health_handlers(
    reasons: Callable[[], list[str]], executors: Executors
) -> dict[str, grpc.RpcMethodHandler]:
    """`reasons`: why the service is not healthy, [] when it is. Watch gives one answer, as Milvus does."""
    request_class, response_class = _messages()

    def check(data: bytes, context: ServicerContext) -> bytes:
        try:
            service = request_class.FromString(data).service
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not a HealthCheckRequest message")
        if service not in _SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, f"service {service!r} is not served here")
        status = _NOT_SERVING if reasons() else _SERVING
        answer: bytes = response_class(status=status).SerializeToString()
        return answer

    def watch(data: bytes, context: ServicerContext) -> Iterator[bytes]:
        yield check(data, context)

    for behaviour in (check, watch):
        setattr(behaviour, THREAD_POOL, executors.of(Lane.CONTROL))
    return {
        "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(check, bytes, bytes),
        "/grpc.health.v1.Health/Watch": grpc.unary_stream_rpc_method_handler(watch, bytes, bytes),
    }
