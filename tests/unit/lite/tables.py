"""Handlers of raw bytes, and a directory that serves them: all of Lite but the database."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from elanus.lite.connection import Connection
from elanus.lite.dispatch import Limits
from elanus.lite.embedded import Embedded, Setting

SERVICE = "/milvus.proto.milvus.MilvusService/"
Behaviour = Callable[[bytes, grpc.ServicerContext], bytes]


def table(**methods: Behaviour) -> dict[str, grpc.RpcMethodHandler]:
    """Handlers by full name, with bytes for messages."""
    return {
        SERVICE + name: grpc.unary_unary_rpc_method_handler(call, bytes, bytes)
        for name, call in methods.items()
    }


@dataclass
class Served:
    """An instance without a database. `opened` and `stopped` are counted over all of a `Directories`."""

    handlers: Mapping[str, grpc.RpcMethodHandler]
    directories: "Directories"

    def stop(self) -> None:
        self.directories.stopped += 1


@dataclass
class Directories:
    """What `Embedded` opens in these tests."""

    handlers: Mapping[str, grpc.RpcMethodHandler]
    opened: int = 0
    stopped: int = 0
    settings: list[dict[str, Setting]] = field(default_factory=list)

    def open(self, path: Path, settings: dict[str, Setting]) -> Served:
        self.opened += 1
        self.settings.append(dict(settings))
        return Served(self.handlers, self)


def serve(limits: Limits | None = None, **methods: Behaviour) -> tuple[Embedded, Directories]:
    directories = Directories(table(**methods))
    return Embedded(directories.open, limits), directories


def connection(limits: Limits | None = None, **methods: Behaviour) -> Connection:
    """A connection to an instance that serves `methods`."""
    embedded, _ = serve(limits, **methods)
    return Connection(lambda: embedded.acquire(Path("/data")))


class Gate:
    """A handler that says when it is entered, and waits until it is let go on."""

    def __init__(self, patience: float = 20.0) -> None:
        self.entered = threading.Event()
        self.go = threading.Event()
        self.finished = threading.Event()
        self.calls = 0
        self._patience = patience

    def __call__(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.calls += 1
        self.entered.set()
        assert self.go.wait(self._patience)
        self.finished.set()
        return request
