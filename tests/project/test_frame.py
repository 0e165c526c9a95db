"""The frame of the project: what a clone needs before any of its code runs."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-dev.lock", *sorted(ROOT.glob("tests/locks/*.lock"))]
PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)


def project() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_file_names_no_package_index(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("lock", LOCKS[:2], ids=lambda path: path.name)
def test_every_dependency_is_pinned_with_hashes(lock: Path) -> None:
    entries = [entry for entry in re.split(r"\n(?=\S)", lock.read_text()) if not entry.startswith("#")]
    assert all(PIN.match(entry) and "--hash=sha256:" in entry for entry in entries)
    pinned = {name for name, _ in PIN.findall(lock.read_text())}
    needed = {re.split(r"[<>=]", line)[0] for line in project()["dependencies"]}
    assert needed <= pinned


def test_tests_run_on_the_versions_that_the_server_runs_on() -> None:
    serve, dev = (set(PIN.findall(lock.read_text())) for lock in LOCKS[:2])
    assert serve <= dev


def test_the_base_install_carries_no_client_library() -> None:
    assert "pymilvus" not in (ROOT / "requirements.lock").read_text()


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [target for target in phony[1].split() if f"make {target} " not in shown] == []


def test_continuous_integration_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\nif [ "$1" = --version ]; then echo Python 3.9.2; else exit 1; fi\n')
    old.chmod(0o755)
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "environment.sh").write_text((ROOT / "scripts" / "environment.sh").read_text())
    command = ["sh", str(scripts / "environment.sh"), "serve"]
    failed = subprocess.run(
        command, env={"PYTHON": str(old), "PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert failed.returncode == 1
    assert "needs Python 3.11 or newer" in failed.stderr
    assert "Python 3.9.2" in failed.stderr


def test_importing_elanus_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pyarrow', 'faiss', 'grpc', 'obstore', 'pydantic', 'typer', 'yaml', 'pymilvus'}"
    program = f"import sys, elanus; print(*sorted({heavy} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""


def test_every_folder_of_the_package_stands_in_the_architecture() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    folders = [path.parent.name for path in (ROOT / "elanus").glob("*/__init__.py")]
    assert [folder for folder in folders if f"elanus/{folder}" not in page] == []
