"""What must not change an answer: flushes, builds, compactions, garbage collection, ends of the process."""

import functools
import time
from collections.abc import Callable

from hypothesis import strategies as st

from tests.machine.history import History, step

SETTLE_SECONDS = 60
PAUSE_SECONDS = 0.005


class Jobs(History):
    @step()
    def flush(self) -> None:
        self.client.flush(self.name)
        self.check_everything()

    @step()
    def settle(self) -> None:
        """Waits until every index that is missing is built."""
        self.client.flush(self.name)
        for index in ("on_v", "on_w", *sorted(self.scalar_indexes)):
            self.wait(functools.partial(self.built, index), f"the index {index} is not built")
        self.check_everything()

    def built(self, index: str) -> bool:
        return int(self.client.describe_index(self.name, index)["pending_index_rows"]) == 0

    @step(wait=st.booleans())
    def compact(self, wait: bool) -> None:
        job = self.client.compact(self.name)
        if wait:
            self.wait(
                lambda: self.client.get_compaction_state(job) == "Completed", f"compaction {job} goes on"
            )
        self.check_everything()

    @step()
    def collect_garbage(self) -> None:
        self.deployment.collect_garbage()
        self.check_everything()

    @step()
    def restart(self) -> None:
        self.deployment.restart()
        self.check_everything()

    @step()
    def crash(self) -> None:
        self.deployment.crash()
        self.check_everything()

    @step()
    def crash_amid_jobs(self) -> None:
        """Flush, compaction and builds are under way."""
        self.client.flush(self.name)
        self.client.compact(self.name)
        self.deployment.crash()
        self.check_everything()

    def wait(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not done():
            assert time.monotonic() < deadline, otherwise
            time.sleep(PAUSE_SECONDS)
