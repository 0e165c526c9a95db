"""The maker of client environments, without installing anything real."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import environments


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that would have run; making a venv makes its interpreter."""
    seen: list[list[str]] = []

    def run(command: list[str]) -> None:
        seen.append(command)
        if "venv" in command:
            interpreter = Path(command[-1]) / "bin" / "python"
            interpreter.parent.mkdir(parents=True)
            interpreter.touch()

    monkeypatch.setattr(environments, "run", run)
    return seen


def test_an_environment_is_made_once(tmp_path: Path, commands: list[list[str]]) -> None:
    first = environments.make(tmp_path, ("pymilvus==2.6.17",))
    made = len(commands)
    assert environments.make(tmp_path, ("pymilvus==2.6.17",)) == first
    assert made == len(commands) == 2


def test_a_half_made_environment_is_made_again(tmp_path: Path, commands: list[list[str]]) -> None:
    interpreter = environments.make(tmp_path, ("pymilvus==2.6.17",))
    (interpreter.parent.parent / environments.COMPLETE).unlink()
    environments.make(tmp_path, ("pymilvus==2.6.17",))
    assert len(commands) == 4


def test_other_requirements_are_another_environment(tmp_path: Path, commands: list[list[str]]) -> None:
    first = environments.make(tmp_path, ("pymilvus==2.6.17",))
    assert environments.make(tmp_path, ("pymilvus==3.0.2",)) != first


def test_what_a_client_needs_in_turn_is_pinned_too(tmp_path: Path, commands: list[list[str]]) -> None:
    environments.make(tmp_path, ("pymilvus==2.6.17",))
    assert str(environments.LOCKS / "pymilvus-2.6.17.lock") in commands[-1]


def test_an_unpinned_requirement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pinned"):
        environments.make(tmp_path, ("pymilvus>=2.6",))


def test_what_cannot_be_made_skips_the_test_except_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str]) -> None:
        raise environments.EnvironmentFailed("no network")

    monkeypatch.setattr(environments, "run", run)
    monkeypatch.setenv("ELANUS_CACHE", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network"):
        environments.environment("pymilvus==2.6.17")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(environments.EnvironmentFailed):
        environments.environment("pymilvus==2.6.17")


def test_processes_that_ask_at_once_make_it_once(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from tests import environments

def run(command):
    with open(sys.argv[1] + "/runs", "a") as runs:
        runs.write("x")
    if "venv" in command:
        (Path(command[-1]) / "bin").mkdir(parents=True)

environments.run = run
environments.make(Path(sys.argv[1]), ("pymilvus==2.6.17",))
"""
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-c", program, str(tmp_path)]
    processes = [subprocess.Popen(command, cwd=root) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "runs").read_text() == "xx"
