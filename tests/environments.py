"""Python environments with real clients, made once and kept in a cache folder outside the work tree."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

INSTALL_SECONDS = 900
LOCK_SECONDS = 1200
LOCKS = Path(__file__).parent / "locks"
COMPLETE = ".complete"


class EnvironmentFailed(Exception):
    """It could not be made; the message says why."""


def environment(*requirements: str) -> Path:
    """Interpreter of an environment with `requirements`, each pinned as in `pymilvus==2.6.17`.

    What they need in turn is pinned by `tests/locks/<requirement>.lock` where there is one. Made once;
    processes that ask at the same time wait for each other. Where it cannot be made the test is skipped with
    the reason; with CI=true it fails.
    """
    try:
        return make(cache_folder() / "environments", requirements)
    except EnvironmentFailed as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


def cache_folder() -> Path:
    """`$ELANUS_CACHE`, else `~/.cache/elanus`."""
    given = os.environ.get("ELANUS_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "elanus"


def make(folder: Path, requirements: tuple[str, ...]) -> Path:
    """The interpreter of the environment below `folder`. Raises EnvironmentFailed."""
    for requirement in requirements:
        if "==" not in requirement:
            raise ValueError(f"{requirement!r} must be pinned, as in 'pymilvus==2.6.17'")
    constraints = [path for path in map(lock_file, requirements) if path.exists()]
    home = folder / name(requirements, constraints)
    interpreter = home / "bin" / "python"
    if (home / COMPLETE).exists():
        return interpreter
    folder.mkdir(parents=True, exist_ok=True)
    with locked(home.with_suffix(".lock")):
        if not (home / COMPLETE).exists():
            # Something half-made is of a process that was killed: the lock is ours.
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", str(home)])
            pins = [part for path in constraints for part in ("--constraint", str(path))]
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins, *requirements]
            run([str(interpreter), *install])
            (home / COMPLETE).touch()
    return interpreter


def lock_file(requirement: str) -> Path:
    return LOCKS / f"{requirement.replace('==', '-')}.lock"


def name(requirements: tuple[str, ...], constraints: list[Path]) -> str:
    """Another Python, other requirements or another lock file: another environment."""
    parts = [sys.version, *sorted(requirements), *(path.read_text() for path in constraints)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{requirements[0].replace('==', '-')}-py{sys.version_info.major}{sys.version_info.minor}-{digest}"


def run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(f"{' '.join(command)} took more than {INSTALL_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        last = "\n".join(error.stderr.strip().splitlines()[-5:])
        raise EnvironmentFailed(f"{' '.join(command)} failed: {last}") from None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file for this process; waits for others at most LOCK_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise EnvironmentFailed(
                        f"{path} is held by another process for {LOCK_SECONDS} s"
                    ) from None
                time.sleep(0.1)
        yield
