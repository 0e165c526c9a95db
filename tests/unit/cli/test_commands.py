"""The command line as a person meets it: what it prints and how it ends."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
        started = time.monotonic()
        assert elanus("--version").stdout.startswith("elanus 0.")
        return time.monotonic() - started

    # The best of a few: the machine is shared.
    assert min(seconds() for _ in range(5)) < 0.5


@pytest.mark.parametrize("command", ["serve", "config"])
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
