"""Makes light indexes of what searches compare vector by vector, in the background of a query node."""

import logging
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec

from elanus.engine import light
from elanus.engine.reader import Block, Reader
from elanus.model.columns import vector_bytes
from elanus.model.index_parameters import FLOAT_METRICS, RADIUS, approximate
from elanus.model.schema import Field
from elanus.model.types import Metric
from elanus.roles.query import SearchCall

log = logging.getLogger(__name__)


class LightLimits(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool
    block_bytes: int
    """Of the vectors of a block: fewer are compared as quickly."""
    queries: int
    """A block is compared with so many before it gets an index: that costs about as much as making one."""
    recall: float
    memory_bytes: int
    """Of all light indexes together."""
    threads: int
    waiting: int
    """Blocks that wait for a thread; beyond it, the next search asks again."""
    nice: int


class LightIndexing:
    """Of one query node. A search only counts; it never waits for an index."""

    def __init__(self, limits: LightLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._waiting = 0
        self._bytes = 0
        self._given_back: deque[int] = deque()
        """Sizes of indexes that are gone. They may go at any moment, even while the lock is held."""
        # Its threads are started by the first index that is made.
        self._pool = ThreadPoolExecutor(
            limits.threads, thread_name_prefix="light", initializer=_be_nice, initargs=(limits.nice,)
        )

    @property
    def bytes(self) -> int:
        """Memory of the light indexes there are or will be, about."""
        with self._lock:
            while self._given_back:
                self._bytes -= self._given_back.popleft()
            return self._bytes

    @property
    def waiting(self) -> int:
        """Light indexes that are being made, or wait for it."""
        return self._waiting

    def stop(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def allows(self, call: SearchCall) -> bool:
        """Whether a search may be answered by light indexes: one of an exact type, or of a range, may not."""
        return (
            self._limits.enabled
            and call.metric in FLOAT_METRICS
            and approximate(call.params)
            and RADIUS not in call.params
        )

    def searched(self, readers: Sequence[Reader], field: Field, metric: Metric, queries: int) -> None:
        """Note what was compared vector by vector."""
        for reader in readers:
            if reader.index(field.id) is None:
                for part in reader.parts:
                    self._compared(part.block, field, metric, queries)

    def _compared(self, block: Block, field: Field, metric: Metric, queries: int) -> None:
        limits = self._limits
        if not block.settled or block.rows * vector_bytes(field) < limits.block_bytes:
            return
        if not block.light.wanted(field.id, queries, limits.queries):
            return
        size = light.bytes_of(block.rows, field)
        if not self._reserve(size):
            block.light.again(field.id)
            return
        try:
            # What nobody holds any more when its turn comes needs no index.
            self._pool.submit(self._make, weakref.ref(block), block.light, field, metric, size)
        except RuntimeError:
            # The node is being stopped.
            self._done(size)

    def _reserve(self, size: int) -> bool:
        used = self.bytes
        with self._lock:
            if self._waiting >= self._limits.waiting or used + size > self._limits.memory_bytes:
                return False
            self._waiting += 1
            self._bytes += size
            return True

    def _make(
        self,
        found: "weakref.ref[Block]",
        indexes: light.LightIndexes,
        field: Field,
        metric: Metric,
        size: int,
    ) -> None:
        kept = False
        try:
            block = found()
            if block is None:
                indexes.again(field.id)
                return
            index = light.build(block.column(field), field, metric, self._limits.recall)
            if index is not None and indexes.put(field.id, index):
                weakref.finalize(index, self._given_back.append, size)
                kept = True
        except Exception:  # searches do without it
            log.exception("field %r gets no light index", field.name)
        finally:
            self._done(0 if kept else size)

    def _done(self, size: int) -> None:
        with self._lock:
            self._waiting -= 1
            self._bytes -= size


def _be_nice(nice: int) -> None:
    """Lower the priority of this thread: on Linux each has its own, elsewhere it would be the process'."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + nice)
