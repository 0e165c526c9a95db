"""The gRPC server on TCP and, where asked for, on a unix socket."""

import errno
import socket
from collections.abc import Mapping
from pathlib import Path

import grpc

from elanus.access.service.executors import Executors, Lane
from elanus.model.errors import Unavailable
from elanus.model.limits import Limits

DEFAULT_PORT = 19530
MIN_PING_INTERVAL_MS = 5_000
"""pymilvus pings every 10 s, busy or not; a server that calls that too much closes the connection."""
UNIX_PATH_LENGTH = 107
_CERTAIN = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES)
"""What the kernel says of an address that gRPC cannot have either."""


class _Table(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc ships no types
    def __init__(self, handlers: Mapping[str, grpc.RpcMethodHandler]) -> None:
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return self._handlers.get(details.method)


class GrpcServer:
    """Serves a table of handlers. `port` 0 takes a free one; `port` says which after `start`.

    The executors are the caller's: `stop` lets calls finish but does not close them.
    """

    def __init__(
        self,
        handlers: Mapping[str, grpc.RpcMethodHandler],
        executors: Executors,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        unix_socket: Path | None = None,
        limits: Limits | None = None,
        min_ping_interval_ms: int = MIN_PING_INTERVAL_MS,
    ) -> None:
        bounds = limits or Limits()
        self.host = host
        self.port = port
        self.unix_socket = unix_socket
        self._server = grpc.server(
            executors.of(Lane.CONTROL),
            handlers=(_Table(handlers),),
            options=(
                # Two servers on one port would share its connections without a word.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", bounds.receive_size),
                ("grpc.max_send_message_length", bounds.send_size),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", min_ping_interval_ms),
                ("grpc.http2.max_ping_strikes", 0),
            ),
            maximum_concurrent_rpcs=bounds.concurrent_calls,
        )

    def start(self) -> None:
        """Listens and serves. Raises Unavailable when the address is taken or cannot be listened on."""
        reason = self._refusal()
        if reason is not None and reason.errno in _CERTAIN:
            # Asking gRPC as well would put its own lines on stderr first.
            raise Unavailable(self._why(reason))
        self.port = self._bind(f"{_bracketed(self.host)}:{self.port}")
        if self.unix_socket is not None:
            self._bind(f"unix:{_usable(self.unix_socket)}")
        self._server.start()

    def _bind(self, address: str) -> int:
        try:
            port: int = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise self._unavailable(address) from error
        if port == 0:
            raise self._unavailable(address)
        return port

    def _unavailable(self, address: str) -> Unavailable:
        if address.startswith("unix:"):
            return Unavailable(
                f"the unix socket {address[5:]} cannot be opened; is its directory there and writable?"
            )
        return Unavailable(self._why(self._refusal()))

    def _refusal(self) -> OSError | None:
        """What the kernel has against the address; None: nothing."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                return error
        return None

    def _why(self, error: OSError | None) -> str:
        if error is not None and (error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror)):
            return f"cannot listen on {self.host}: {error.strerror}; choose another address with --host"
        reason = error.strerror if error is not None else "it was taken a moment ago"
        return f"port {self.port} on {self.host} cannot be used: {reason}; choose another one with --port"

    def stop(self, grace: float | None = None) -> None:
        """Takes no new calls; waits up to `grace` seconds for those that run, then cancels them."""
        self._server.stop(grace).wait()

    def wait(self) -> None:
        """Blocks until the server has stopped."""
        self._server.wait_for_termination()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _usable(path: Path) -> Path:
    """Raises Unavailable for a path that the kernel's address has no room for."""
    length = len(str(path).encode())
    if length > UNIX_PATH_LENGTH:
        raise Unavailable(
            f"the path of the unix socket has {length} bytes; at most {UNIX_PATH_LENGTH} fit: {path}"
        )
    return path
