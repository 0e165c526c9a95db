"""The command line as a person meets it: what it prints and how it ends."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from elanus.storage.directory import DataDirectory
from elanus.storage.log.local import LocalLogBroker
from elanus.storage.meta.sqlite import SqliteMetaStore

ROOT = Path(__file__).parent.parent.parent.parent


def elanus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from elanus.cli import main; main()", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_version_is_printed_at_once() -> None:
    def seconds() -> float:
        """Processor time: the machine is shared."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert elanus("--version").stdout.startswith("elanus 0.")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.parametrize("command", ["serve", "config", "inspect"])
def test_every_command_has_help_with_examples(command: str) -> None:
    shown = elanus(command, "--help")
    assert shown.returncode == 0
    assert f"Examples:\n    elanus {command}" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [["srve"], ["serve", "--port", "abc"], ["serve", "--nothing"], ["config", "--format", "xml"], []],
)
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    assert elanus(*arguments).returncode == 2


def test_a_wrong_configuration_is_one_line_a_problem_and_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "elanus.yaml"
    file.write_text("proxy: {prt: 1}\n")
    failed = elanus("config", "--config", str(file))
    assert failed.returncode == 2
    assert failed.stderr == (
        f"elanus: unknown configuration key proxy.prt ({file}:1); did you mean proxy.port?\n"
    )
    assert elanus("serve", "--config", str(file)).returncode == 2


def test_a_key_of_milvus_is_warned_about_on_stderr() -> None:
    shown = elanus("config", "--format", "json", ELANUS_COMMON__BLOOMFILTERSIZE="3")
    assert shown.returncode == 0
    assert "has no meaning in elanus" in shown.stderr
    json.loads(shown.stdout)


@pytest.mark.parametrize("format", ["table", "yaml", "json"])
def test_config_shows_what_is_in_force_and_where_it_came_from(tmp_path: Path, format: str) -> None:
    file = tmp_path / "elanus.yaml"
    file.write_text("proxy: {port: 19777}\n")
    shown = elanus("config", "--config", str(file), "--format", format, ELANUS_LOG__LEVEL="warn").stdout
    assert "19777" in shown
    assert "elanus.yaml:1" in shown.replace("\n", "")
    assert "ELANUS_LOG__LEVEL" in shown


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "elanus.yaml"
    file.write_text("proxy: {port: 19777}\n")
    rows = json.loads(elanus("config", "--format", "json", ELANUS_CONFIG=str(file)).stdout)
    assert next(row["value"] for row in rows if row["key"] == "proxy.port") == 19777


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory without collections."""
    with DataDirectory.open(tmp_path / "data") as opened:
        SqliteMetaStore(opened.meta).close()
        broker = LocalLogBroker(opened.logs)
        broker.create("dml_0")
        broker.close()
    return tmp_path / "data"


def test_inspect_shows_a_directory_and_ends_with_0(directory: Path) -> None:
    shown = elanus("inspect", str(directory))
    assert shown.returncode == 0, shown.stderr
    assert "no collections" in shown.stdout
    assert "dml_0" in shown.stdout
    assert "no problems found" in shown.stdout


@pytest.mark.parametrize("format", ["table", "json"])
def test_inspect_ends_with_1_where_there_are_problems(directory: Path, format: str) -> None:
    (directory / "meta.db").unlink()
    shown = elanus("inspect", str(directory), "--format", format)
    assert shown.returncode == 1
    assert "is missing" in shown.stdout
    if format == "json":
        assert len(json.loads(shown.stdout)["problems"]) == 1


def test_inspect_says_where_there_is_no_directory(tmp_path: Path) -> None:
    failed = elanus("inspect", str(tmp_path / "none"))
    assert (failed.returncode, failed.stderr) == (1, f"elanus: there is no directory {tmp_path / 'none'}\n")


def test_inspect_refuses_what_is_no_data_directory_in_one_line(tmp_path: Path) -> None:
    failed = elanus("inspect", str(tmp_path))
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"elanus: {tmp_path} is not a data directory")
    assert len(failed.stderr.splitlines()) == 1
