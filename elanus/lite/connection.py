"""What a channel holds: an instance, from the first call or earlier until it is closed or forgotten."""

import threading
from collections.abc import Callable

import grpc

from elanus.lite.dispatch import Dispatcher
from elanus.lite.embedded import Lease


class Connection:
    """A lease that is taken once, by whichever thread asks first. Shared by a channel and its callables.

    It ends with the last of them, too: pymilvus drops a channel without closing it when it reconnects.
    `acquire` may block and raises what opening raises.
    """

    def __init__(self, acquire: Callable[[], Lease]) -> None:
        self._acquire = acquire
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self.closed = False

    def dispatcher(self) -> Dispatcher | None:
        """The instance's other end if the lease has been taken. Raises ValueError after `close`."""
        if self.closed:
            raise ValueError("Cannot invoke RPC: Channel closed!")  # as gRPC's own channels say it
        return None if self._lease is None else self._lease.dispatcher

    def open(self) -> Dispatcher:
        """Take the lease if that is still to be done. Raises ValueError after `close`."""
        with self._lock:
            if self._lease is None and not self.closed:
                self._lease = self._acquire()
        dispatcher = self.dispatcher()
        assert dispatcher is not None
        return dispatcher

    def state(self) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.SHUTDOWN if self.closed else grpc.ChannelConnectivity.READY

    def close(self) -> None:
        """Release the lease; calls that run are let finish. Idempotent."""
        with self._lock:
            self.closed = True
        if self._lease is not None:
            self._lease.release()
