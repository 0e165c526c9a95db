"""The program that runs the suite: what it says and how it ends."""

import sys
from pathlib import Path

import pytest

from scripts import run_suite
from scripts.run_suite import Step


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "argv", ["run_suite.py"])
    return monkeypatch


def python(name: str, program: str, budget_seconds: int = 30) -> Step:
    return Step(name, (sys.executable, "-c", program), budget_seconds)


def pytest_step(folder: Path) -> Step:
    return Step(
        "sample",
        (sys.executable, "-m", "pytest", str(folder), "-q", "-p", "no:cacheprovider"),
        60,
        str(folder),
    )


def test_every_part_runs_and_one_failure_fails_the_suite(
    suite: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.setattr(
        run_suite, "PARTS", {"a": (python("bad", "raise SystemExit(3)"),), "b": (python("good", ""),)}
    )
    assert run_suite.main() == 1
    out = capsys.readouterr().out
    assert "b: good" in out
    assert out.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


def test_a_part_over_its_budget_is_ended_and_failed(
    suite: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.setattr(run_suite, "PARTS", {"a": (python("slow", "import time; time.sleep(60)", 1),)})
    assert run_suite.main() == 1
    assert "ended after its budget of 1 s" in capsys.readouterr().out


def test_tests_are_counted(
    suite: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_sample.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): assert False\n"
        "@pytest.mark.skip(reason='x')\n"
        "def test_c(): pass\n"
    )
    suite.setattr(run_suite, "PARTS", {"unit": (pytest_step(tmp_path),)})
    assert run_suite.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_a_test_file_that_cannot_be_read_fails_the_suite(
    suite: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "test_sample.py").write_text("import nothing_of_that_name\n")
    suite.setattr(run_suite, "PARTS", {"unit": (pytest_step(tmp_path),)})
    assert run_suite.main() == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_an_unknown_part_is_refused(suite: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    suite.setattr(sys, "argv", ["run_suite.py", "unti"])
    with pytest.raises(SystemExit):
        run_suite.main()
    assert "no part 'unti'" in capsys.readouterr().err
