"""From samples to tables, goals and the page."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import goals, report
from benchmarks.results import MEMORY, PEAK, PEAK_IN, Machine, Measure, Run, percentiles_ms
from benchmarks.tables import number


def run(*measures: Measure, data: str = "text") -> Run:
    machine = Machine("a CPU", 2, 8.0, "6.1", "3.11")
    return Run(
        "2026-01-01T00:00:00", machine, "abc", {"data": data}, {"elanus": "1"}, measures=list(measures)
    )


def test_percentiles_are_of_all_latencies_in_milliseconds() -> None:
    found = percentiles_ms((np.arange(1, 1001) / 1000).tobytes())
    assert found["50"] == pytest.approx(500.5)
    assert found["99"] == pytest.approx(990.01)
    assert percentiles_ms(b"") == {}


def test_a_run_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = run(Measure("ingest", "elanus", "insert", 5.0, "rows/s", "more"))
    saved.save(tmp_path / "run.json")
    assert Run.read(tmp_path / "run.json") == saved


def test_a_run_that_is_saved_again_is_never_half_a_file(tmp_path: Path) -> None:
    run().save(tmp_path / "run.json")
    run(Measure("ingest", "elanus", "insert", 5.0, "rows/s", "more")).save(tmp_path / "run.json")
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_what_is_measured_anew_replaces_what_was_measured_before() -> None:
    found = run(
        Measure("search", "elanus", "ef", 64.0, ""),
        Measure("search", "milvus", "ef", 48.0, ""),
        Measure("filter", "elanus", "equality, 1%: QPS", 5.0, "q/s"),
        Measure(MEMORY, "elanus", PEAK_IN + "search", 300.0, "MB"),
        Measure(MEMORY, "elanus", PEAK_IN + "filter", 200.0, "MB"),
    )
    found.note_peak("elanus")
    assert found.value(MEMORY, "elanus", PEAK) == 300.0
    found.forget("search", "elanus")
    found.note_peak("elanus")
    assert found.value(MEMORY, "elanus", PEAK) == 200.0
    assert [(measure.part, measure.system) for measure in found.measures] == [
        ("search", "milvus"),
        ("filter", "elanus"),
        (MEMORY, "elanus"),
        (MEMORY, "elanus"),
    ]


def test_ratios_are_ours_to_each_peer_in_the_same_row() -> None:
    (goals_first, table) = report.tables(
        run(
            Measure("ingest", "elanus", "insert", 3000.0, "rows/s", "more"),
            Measure("ingest", "milvus", "insert", 1500.0, "rows/s", "more"),
            Measure("ingest", "zvec", "insert", 6000.0, "rows/s", "more"),
            Measure("ingest", "elanus", "disk", 7.0, "MB", "less"),
        )
    )
    assert goals_first.rows == [["ingest: insert", ">= 1.5 x milvus", "2", "yes"]]
    assert table.heads == ["", "elanus", "milvus", "zvec"]
    assert table.rows == [
        ["insert (rows/s)", "3,000", "1,500 (2x)", "6,000 (0.5x)"],
        ["disk (MB)", "7", "", ""],
    ]


def test_a_page_says_how_long_each_part_of_a_run_took() -> None:
    found = run()
    found.took = {"elanus": {"ready": 5.0, "search": 70.0}, "zvec": {"search": 30.0}}
    (table,) = report.tables(found)
    assert table.rows == [["ready (s)", "5", ""], ["search (s)", "70", "30"], ["all (s)", "75", "30"]]


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


def test_a_goal_on_a_million_rows_is_not_judged_by_fewer() -> None:
    found = run(Measure("restart", "elanus", "first right search", 2.0, "s", "less"), data="million")
    assert [outcome.reached for outcome in goals.outcomes(found)] == [True]
    found.settings["rows"] = "200000"
    assert goals.outcomes(found) == []


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
