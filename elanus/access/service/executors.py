"""The threads that serve calls: control, read and write calls do not wait for each other."""

from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum

CONTROL_THREADS = 8
READ_THREADS = 16
WRITE_THREADS = 8


class Lane(StrEnum):
    """Which threads a call runs on."""

    CONTROL = "control"
    READ = "read"
    WRITE = "write"


class Executors:
    """One executor a lane. A call never waits for a future of its own lane."""

    def __init__(
        self, control: int = CONTROL_THREADS, read: int = READ_THREADS, write: int = WRITE_THREADS
    ) -> None:
        sizes = {Lane.CONTROL: control, Lane.READ: read, Lane.WRITE: write}
        self._pools = {
            lane: ThreadPoolExecutor(size, thread_name_prefix=f"elanus-{lane}")
            for lane, size in sizes.items()
        }

    def of(self, lane: Lane) -> ThreadPoolExecutor:
        return self._pools[lane]

    def close(self, wait: bool = True) -> None:
        """Takes no more calls; waits for those that run."""
        for pool in self._pools.values():
            pool.shutdown(wait=wait, cancel_futures=True)
