"""The examples of the README do what it says, as they stand there."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 30
STOP_SECONDS = 10


def examples() -> tuple[str, str]:
    """The server's and the library's."""
    server, library = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return server, library


def run(program: str, folder: Path) -> str:
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_library_example_finds_what_it_looks_for(tmp_path: Path) -> None:
    assert run(examples()[1], tmp_path).startswith("7 ")
    assert (tmp_path / "demo" / "elanus.json").exists()


@pytest.mark.server
def test_the_server_example_finds_what_it_looks_for(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port, management = free_port(), free_port()
    flags = ["--data", str(tmp_path / "data"), "--port", str(port), "--management-port", str(management)]
    program = "from elanus.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", program, "serve", *flags], cwd=ROOT) as server:
        try:
            wait_until_healthy(f"http://127.0.0.1:{management}/healthz")
            assert run(examples()[0].replace("19530", str(port)), tmp_path).startswith("7 ")
        finally:
            server.terminate()
            server.wait(STOP_SECONDS)


def wait_until_healthy(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(url, timeout=1):
                return
        except URLError:
            assert time.monotonic() < deadline, f"{url} did not answer in {START_SECONDS} s"
            time.sleep(0.05)
