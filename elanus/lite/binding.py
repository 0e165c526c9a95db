"""Leads pymilvus' connections to our addresses into this process, and leaves all others alone.

pymilvus makes a channel by `grpc.insecure_channel(address)`, the first time and again at each reconnection.
The name `grpc` in its two handler modules is bound to a module that answers for our addresses and passes on
everything else; nothing of grpc itself is touched.
"""

import importlib
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from elanus.lite.embedded import embedded
from elanus.lite.target import path_of

if TYPE_CHECKING:
    from pathlib import Path

    from elanus.lite.aio import AioInProcessChannel
    from elanus.lite.channel import InProcessChannel
    from elanus.lite.connection import Connection

_HANDLER_MODULES = ("pymilvus.client.grpc_handler", "pymilvus.client.async_grpc_handler")
_binding = threading.Lock()
_connections: dict[str, WeakSet["Connection"]] = {}


def bind() -> None:
    """Make pymilvus know our addresses. Idempotent. Raises ImportError if there is no pymilvus."""
    try:
        importlib.import_module("pymilvus")
    except ModuleNotFoundError as error:
        if error.name != "pymilvus":
            raise
        raise ImportError("elanus.lite needs pymilvus: pip install pymilvus", name="pymilvus") from error
    with _binding:
        for name in _HANDLER_MODULES:
            try:
                module: Any = importlib.import_module(name)
            except ModuleNotFoundError as error:
                if error.name != name:  # a pymilvus without an asyncio client has no module for it
                    raise
                continue
            if not isinstance(module.grpc, _Grpc):
                module.grpc = _Grpc(module.grpc)


class _Delegate(ModuleType):
    """A module that has everything another one has at the moment it is asked for."""

    def __init__(self, real: ModuleType) -> None:
        super().__init__(real.__name__)
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Grpc(_Delegate):
    def __init__(self, real: ModuleType) -> None:
        super().__init__(real)
        self.aio = _Aio(importlib.import_module("grpc.aio"))

    def insecure_channel(self, target: str, *args: Any, **kwargs: Any) -> Any:
        path = path_of(target)
        return open_channel(target, path) if path else self._real.insecure_channel(target, *args, **kwargs)


class _Aio(_Delegate):
    def insecure_channel(self, target: str, *args: Any, **kwargs: Any) -> Any:
        path = path_of(target)
        return (
            open_aio_channel(target, path) if path else self._real.insecure_channel(target, *args, **kwargs)
        )


def open_channel(target: str, path: "Path") -> "InProcessChannel":
    """A channel into the instance of a directory, which stays open as long as the channel.

    Raises DirectoryInUseError if another process has it, and what opening raises.
    """
    from elanus.lite.channel import InProcessChannel

    return InProcessChannel(_connection(target, path))


def open_aio_channel(target: str, path: "Path") -> "AioInProcessChannel":
    """The same for asyncio; the instance is opened at the first call, which raises what opening raises."""
    from elanus.lite.aio import AioInProcessChannel

    return AioInProcessChannel(_connection(target, path))


def close_channels(target: str) -> None:
    """Close every channel to an address, those too that pymilvus dropped when it reconnected."""
    with _binding:
        connections = list(_connections.pop(target, ()))
    for connection in connections:
        connection.close()


def _connection(target: str, path: "Path") -> "Connection":
    from elanus.lite.connection import Connection

    connection = Connection(lambda: embedded.acquire(path))
    with _binding:
        _connections.setdefault(target, WeakSet()).add(connection)
    return connection
