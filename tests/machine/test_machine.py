"""Random histories on a real instance, through the real protocol, against the reference.

ELANUS_MACHINE=soak runs it for long (ELANUS_MACHINE_EXAMPLES histories, of ELANUS_MACHINE_SEED); a failure
prints what was done and what reproduces it.
"""

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import initialize

pytest.importorskip("pymilvus")

from elanus.engine import paging, scalar_index
from elanus.engine import search as engine
from tests.machine.history import seeds
from tests.machine.jobs import Jobs
from tests.machine.pages import Pages
from tests.machine.progress import progress
from tests.machine.samples import Shape, shapes
from tests.machine.structure import Structure

pytestmark = pytest.mark.timeout(0 if os.environ.get("ELANUS_MACHINE") else 900)


class Machine(Pages, Structure, Jobs):
    """Everything at random."""

    @initialize(shape=shapes(), seed=seeds)
    def open(self, shape: Shape, seed: int) -> None:
        self.begin(shape)
        self.fill(seed)


PROFILES = {
    "ci": settings(
        max_examples=30, stateful_step_count=30, phases=(Phase.explicit, Phase.reuse, Phase.generate)
    ),
    "soak": settings(
        max_examples=int(os.environ.get("ELANUS_MACHINE_EXAMPLES", "2000")),
        stateful_step_count=60,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
    ),
    "shrink": settings(max_examples=2000, stateful_step_count=60),
}
"""A failure of the first two prints what reproduces it; the third, which takes its time, makes it small."""

MODE = PROFILES[os.environ.get("ELANUS_MACHINE", "ci")]


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # So few rows would be compared one by one, and no index would be asked.
    monkeypatch.setattr(engine, "EXACT_BELOW_ROWS", 0)
    monkeypatch.setattr(paging, "EXACT_BELOW_ROWS", 0)
    # Every answer comes from the index, however dear.
    for share in ("LISTED_SHARE", "MEMBERS_SHARE", "MATCHED_SHARE"):
        monkeypatch.setattr(scalar_index, share, 9.0)
    # It writes a traceback for every error, also for those that are the right answer.
    monkeypatch.setattr(logging.getLogger("pymilvus.decorators"), "disabled", True)
    progress.begin(MODE.max_examples if os.environ.get("ELANUS_MACHINE") else 0)
    yield
    progress.end()


TestHistory = Machine.TestCase
TestHistory.settings = settings(
    MODE,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
