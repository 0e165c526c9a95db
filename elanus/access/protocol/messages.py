"""Message classes and enums of the Milvus protocol by name: `messages.SearchRequest`, `messages.DataType`.

They live in a private pool, so they coexist with any pymilvus in the same process; only bytes may be
exchanged with its classes.
"""

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_PACKAGES = ("milvus", "schema", "common", "feder", "msg", "rg")
_SERVICES = ("MilvusService", "ClientTelemetryService")


@cache
def pool() -> DescriptorPool:
    """The private pool with the protocol's files in it."""
    loaded = DescriptorPool()
    loaded.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    data = (files(__package__) / "milvus.desc").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
        loaded.AddSerializedFile(file.SerializeToString())
    return loaded


# Any: the classes are made at run time from descriptors, no static type exists for them.
def message(full_name: str) -> Any:
    """The class of a message by its full name. Raises KeyError."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(full_name))


def __getattr__(name: str) -> Any:
    """The message class or enum called `name` in whichever of the protocol's packages has it."""
    if name.startswith("_"):
        raise AttributeError(name)
    for package in _PACKAGES:
        full_name = f"milvus.proto.{package}.{name}"
        try:
            found: Any = message(full_name)
        except KeyError:
            try:
                found = EnumTypeWrapper(pool().FindEnumTypeByName(full_name))
            except KeyError:
                continue
        globals()[name] = found
        return found
    raise AttributeError(f"the protocol has no message or enum called {name}")


def methods() -> dict[str, MethodDescriptor]:
    """Every RPC by its full gRPC name, as in "/milvus.proto.milvus.MilvusService/Search"."""
    found = {}
    for service in _SERVICES:
        descriptor = pool().FindServiceByName(f"milvus.proto.milvus.{service}")
        for method in descriptor.methods:
            found[f"/{descriptor.full_name}/{method.name}"] = method
    return found
