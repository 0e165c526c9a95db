"""The parts and the command line, on a system that searches by brute force in this process."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import exact, runner
from benchmarks.cli import app
from benchmarks.data import Dataset
from benchmarks.model import Collection, Filter, Load, Rows, Unsupported, Vectors
from benchmarks.parts import PARTS
from benchmarks.parts.part import Context, Settings
from benchmarks.results import Machine, Run
from benchmarks.session import Killed
from benchmarks.system import System
from benchmarks.threads import Search

ROWS, DIM = 400, 6


class Exact(System):
    """Right answers; with `ef` below 100 the last of them are wrong."""

    name, title, package = "exact", "Exact", "exact"
    settle_seconds = 0.0
    json = True

    def open(self, folder: Path, server: Path) -> float:
        return 0.0

    def close(self) -> None:
        return

    def create(self, collection: Collection) -> None:
        if collection.json and not self.json:
            raise Unsupported("JSON")
        self.collection = collection
        self.ids: list[int] = []
        self.vectors: list[Vectors] = []

    def insert(self, rows: Rows) -> float:
        self.ids += rows.ids().tolist()
        self.vectors.append(rows.vectors())
        return 0.001

    def flush(self) -> float:
        return 0.1

    def index(self) -> float:
        return 0.2

    def load(self) -> float:
        return 0.3

    def searcher(self, load: Load) -> Search:
        vectors = np.vstack(self.vectors)[:ROWS]

        def search(query: Vectors) -> list[int]:
            found = exact.search(vectors, query[None], load.k, "L2", load.filter)[0].tolist()
            return [*found[:-2], -5, -6] if load.ef < 100 else found

        return search

    def drop(self) -> None:
        del self.collection


class NoJson(Exact):
    name = "no-json"
    json = False


@pytest.fixture
def context(tmp_path: Path) -> Callable[..., Context]:
    generator = np.random.default_rng(3)
    np.save(tmp_path / "vectors.npy", generator.random((ROWS, DIM), dtype=np.float32))
    np.save(tmp_path / "queries.npy", generator.random((20, DIM), dtype=np.float32))

    def make(system: type[Exact] = Exact, **settings: Any) -> Context:
        made = system()
        session: Any = SimpleNamespace(
            name=system.name,
            kind=system,
            system=made,
            collection=None,
            ef=0,
            roots=list,
            disk_bytes=lambda: 0,
            crash=lambda: Killed(0.0, 0.1),
            failure=RuntimeError,
        )
        chosen = Settings((system.name,), tuple(PARTS), seconds=0.2, clients=(1, 2), batch=150, **settings)
        run = Run("now", Machine("", 1, 1.0, "", ""), "", {})
        return Context(session, chosen, run, Dataset("tiny", tmp_path, "L2", ROWS, DIM))

    return make


def measured(context: Context, name: str) -> dict[str, float | None]:
    part = PARTS[name](context.settings)
    part.prepare(context)
    part.run(context)
    return {measure.what: measure.value for measure in context.run.measures if measure.part == name}


def test_ingest_times_each_step_and_adds_them_up(context: Callable[..., Context]) -> None:
    found = measured(context(), "ingest")
    assert found["insert"] == pytest.approx(ROWS / 0.003)
    assert found["flush + index + load"] == pytest.approx(0.6)


def test_search_takes_the_smallest_ef_that_reaches_the_recall(context: Callable[..., Context]) -> None:
    given = context()
    found = measured(given, "search")
    assert found["ef"] == 104
    assert given.session.ef == 104
    assert found["Eventually, 2 clients: recall"] == 1.0
    swept = {load.ef: load.recall for load in given.run.loads if load.note == "sweep"}
    assert swept[16] == pytest.approx(0.8)


def test_filters_are_compared_with_exact_filtered_answers(context: Callable[..., Context]) -> None:
    found = measured(context(), "filter")
    recalls = [value for what, value in found.items() if what.endswith("recall")]
    assert len(recalls) == 9
    assert all(value == 1.0 for value in recalls)


def test_what_a_system_lacks_is_noted_and_the_rest_measured(context: Callable[..., Context]) -> None:
    found = measured(context(NoJson), "filter")
    assert found["json, 1%: QPS"] is None
    assert (found["range, 1%: QPS"] or 0) > 0


def test_rows_come_in_at_the_wanted_rate_while_searching(context: Callable[..., Context]) -> None:
    found = measured(context(trickle=100), "mixed")
    assert (found["Eventually, 1 client: QPS"] or 0) > 0
    assert found["Eventually, 1 client: inserts"] == pytest.approx(100, rel=0.8)


def test_a_restart_ends_with_the_first_right_search(context: Callable[..., Context]) -> None:
    found = measured(context(), "restart")
    assert found["first answered call"] == pytest.approx(0.1)
    assert (found["first right search"] or 0) > 0


def test_a_part_that_needs_a_server_is_left_out_for_a_library() -> None:
    hello, search = (PARTS[name](Settings((), ())) for name in ("hello", "search"))
    assert runner.fits(hello, "elanus")
    assert not runner.fits(hello, "zvec")
    assert runner.fits(search, "zvec")


def test_a_run_that_is_taken_up_again_does_what_is_missing() -> None:
    settings = Settings(("elanus",), ("ready", "search"))
    begun = runner.new(settings)
    begun.took = {"elanus": {"ready": 4.0}}
    more = Settings(("elanus", "zvec"), ("ready", "search"))
    found = runner.resume(begun, more)
    parts = [PARTS[name](more) for name in more.parts]
    missing = {name: [part.name for part in runner.unfinished(name, parts, found)] for name in more.systems}
    assert missing == {"elanus": ["search"], "zvec": ["ready", "search"]}
    assert found.settings["systems"] == "elanus,zvec"
    assert len(found.resumed) == 1


def test_a_run_is_not_taken_up_again_with_other_settings() -> None:
    begun = runner.new(Settings(("elanus",), ("search",)))
    with pytest.raises(runner.OtherSettings, match=r"rows 0, now 500; seconds 8\.0, now 1\.0"):
        runner.resume(begun, Settings(("elanus",), ("search",), rows=500, seconds=1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--systems", "milvsu"], "there is no 'milvsu'"),
        (["run", "--parts", "serach"], "there is no 'serach'"),
        (["run", "--data", "txet"], "there is no 'txet'"),
    ],
)
def test_an_unknown_name_is_refused_before_anything_runs(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_filter_of_ids_has_the_same_mask_wherever_it_is_asked() -> None:
    filter = Filter("range", 0.1, "score", "<", 100)
    ids = np.arange(50, 90)
    assert (filter.mask(np.arange(100))[50:90] == filter.mask(ids)).all()
