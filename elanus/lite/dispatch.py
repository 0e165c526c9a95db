"""Where a call runs: reads on the caller's own thread, all others on a bounded number of workers."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum

import grpc

from elanus.lite.context import Context, InProcessError, deadline_exceeded, respond


class Kind(Enum):
    """Each kind has its own workers, so that a slow load does not keep an insert waiting."""

    READ = "read"
    WRITE = "write"
    CONTROL = "control"


_WRITES = frozenset({"Insert", "Upsert", "Delete"})
_READS = frozenset({"Search", "HybridSearch", "Query", "AllocTimestamp", "RunAnalyzer"})
_READ_VERBS = ("Get", "Has", "Describe", "Show", "List", "Check", "Select")


def kind_of(method: str) -> Kind:
    """The kind of a full method name; a name that is not known to be harmless counts as mutating."""
    name = method.rpartition("/")[2]
    if name in _WRITES:
        return Kind.WRITE
    if name in _READS or name.startswith(_READ_VERBS):
        return Kind.READ
    return Kind.CONTROL


@dataclass(frozen=True)
class Limits:
    """Bounds of the calls in one embedded instance."""

    read_workers: int = 8  # only for reads by future and by asyncio: other reads need no worker
    write_workers: int = 8
    control_workers: int = 8
    waiting_calls: int = 256  # per kind; a caller beyond it waits its turn, within its deadline
    drain_seconds: float = 30.0  # how long closing waits for calls that have begun

    def workers(self, kind: Kind) -> int:
        return {
            Kind.READ: self.read_workers,
            Kind.WRITE: self.write_workers,
            Kind.CONTROL: self.control_workers,
        }[kind]


class Dispatcher:
    """Runs the handlers of one instance until it is closed. Safe to use from many threads.

    `handlers` maps a full method name to its handler; `name` says in errors what is served.
    """

    def __init__(
        self, handlers: Mapping[str, grpc.RpcMethodHandler], name: str, limits: Limits | None = None
    ) -> None:
        self.handlers = dict(handlers)
        self.limits = limits or Limits()
        self._name = name
        self._process = os.getpid()
        self._idle = threading.Condition()
        self._running = 0
        self._closed = False
        self._pools = {
            kind: ThreadPoolExecutor(self.limits.workers(kind), f"elanus-lite-{kind.value}") for kind in Kind
        }
        self._slots = {
            kind: threading.BoundedSemaphore(self.limits.workers(kind) + self.limits.waiting_calls)
            for kind in Kind
        }

    def run(self, method: str, request: bytes, context: Context) -> bytes:
        """Answer on this thread. Raises InProcessError, or what escapes the handler."""
        handler = self.handlers.get(method)
        if handler is None:
            raise InProcessError(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served")
        self._enter()
        try:
            return respond(handler, request, context)
        finally:
            self._leave()

    def submit(self, kind: Kind, job: Callable[[], None], timeout: float | None) -> None:
        """Have a worker do `job`, which must not raise. Raises InProcessError if there is no room in time."""
        self._check_open()
        if not self._slots[kind].acquire(timeout=timeout):
            raise deadline_exceeded(timeout)
        self._start(kind, job)

    def try_submit(self, kind: Kind, job: Callable[[], None]) -> bool:
        """Like `submit`, but without waiting: False when there is no room now."""
        self._check_open()
        if not self._slots[kind].acquire(blocking=False):
            return False
        self._start(kind, job)
        return True

    def close(self) -> None:
        """Refuse new calls, let those that run finish (within `drain_seconds`), end the workers."""
        if self._process != os.getpid():
            return
        until = time.monotonic() + self.limits.drain_seconds
        with self._idle:
            self._closed = True
            while self._running and (left := until - time.monotonic()) > 0:
                self._idle.wait(left)
        for pool in self._pools.values():
            pool.shutdown(wait=False)

    def _start(self, kind: Kind, job: Callable[[], None]) -> None:
        slots = self._slots[kind]

        def work() -> None:
            try:
                job()
            finally:
                slots.release()

        try:
            self._pools[kind].submit(work)
        except RuntimeError:  # the pool, or the interpreter, is shutting down
            slots.release()
            raise self._unavailable() from None

    def _enter(self) -> None:
        self._check_open()
        with self._idle:
            if self._closed:
                raise self._unavailable()
            self._running += 1

    def _leave(self) -> None:
        with self._idle:
            self._running -= 1
            if self._closed and self._running == 0:
                self._idle.notify_all()

    def _check_open(self) -> None:
        # After a fork the workers are gone and the locks may be held for ever: touch none of them.
        if self._closed or self._process != os.getpid():
            raise self._unavailable()

    def _unavailable(self) -> InProcessError:
        reason = "is closed" if self._process == os.getpid() else f"belongs to process {self._process}"
        return InProcessError(grpc.StatusCode.UNAVAILABLE, f"the instance on {self._name} {reason}")
