"""From samples to tables, goals and the page."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import goals, report
from benchmarks.results import Machine, Measure, Run, percentiles_ms
from benchmarks.tables import number


def run(*measures: Measure, data: str = "text") -> Run:
    machine = Machine("a CPU", 2, 8.0, "6.1", "3.11")
    return Run("2026-01-01T00:00:00", machine, "abc", {"data": data}, {"elanus": "1"}, list(measures))


def test_percentiles_are_of_all_latencies_in_milliseconds() -> None:
    found = percentiles_ms((np.arange(1, 1001) / 1000).tobytes())
    assert found["50"] == pytest.approx(500.5)
    assert found["99"] == pytest.approx(990.01)
    assert percentiles_ms(b"") == {}


def test_a_run_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = run(Measure("ingest", "elanus", "insert", 5.0, "rows/s", "more"))
    saved.save(tmp_path / "run.json")
    assert Run.read(tmp_path / "run.json") == saved


def test_ratios_are_to_the_reference_of_the_same_row() -> None:
    (table, *_) = report.tables(
        run(
            Measure("ingest", "elanus", "insert", 3000.0, "rows/s", "more"),
            Measure("ingest", "milvus", "insert", 1500.0, "rows/s", "more"),
            Measure("ingest", "elanus", "disk", 7.0, "MB", "less"),
        )
    )
    assert table.heads == ["", "elanus", "milvus"]
    assert table.rows == [["insert (rows/s)", "3,000 (2x)", "1,500"], ["disk (MB)", "7", ""]]


def test_what_is_not_supported_is_a_dash_with_its_reason() -> None:
    (table, *_) = report.tables(
        run(
            Measure("filter", "elanus", "json, 1%: QPS", 3.0, "q/s", "more"),
            Measure("filter", "zvec", "json, 1%: QPS", None, "q/s", "more", "not supported: no JSON"),
        )
    )
    assert table.rows == [["json, 1%: QPS (q/s)", "3", "-"]]
    assert table.notes == ["zvec: json, 1%: QPS: not supported: no JSON"]


def test_a_goal_is_judged_by_the_ratio_within_the_run() -> None:
    name = "Eventually, 1 client: QPS"
    ours = Measure("search", "elanus", name, 800.0, "q/s", "more")
    theirs = Measure("search", "milvus", name, 400.0, "q/s", "more")
    lite = Measure("search", "milvus-lite", name, 20.0, "q/s", "more")
    found = {outcome.goal.to: outcome for outcome in goals.outcomes(run(ours, theirs, lite))}
    assert (found["milvus"].value, found["milvus"].reached) == (2.0, False)
    assert (found["milvus-lite"].value, found["milvus-lite"].reached) == (40.0, True)


def test_a_goal_on_other_data_is_not_judged() -> None:
    name = "Eventually, 1 client: QPS"
    measures = [Measure("search", system, name, 1.0, "q/s", "more") for system in ("elanus", "milvus")]
    assert goals.outcomes(run(*measures, data="random")) == []


def test_the_page_keeps_its_head_and_replaces_what_is_generated(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Head\n\n{report.MARK}\n\nold results\n")
    run(Measure("ready", "elanus", "ready", 0.5, "s", "less")).save(tmp_path / "one.json")
    report.write(page, [tmp_path / "one.json"], plots=False)
    text = page.read_text()
    assert text.startswith(f"# Head\n\n{report.MARK}\n")
    assert "old results" not in text
    assert "| ready (s) | 0.5 |" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0213, "0.0213"), (2.0, "2"), (99.96, "100"), (512.3, "512"), (12345.6, "12,346")]
)
def test_numbers_have_three_figures(value: float, text: str) -> None:
    assert number(value) == text
