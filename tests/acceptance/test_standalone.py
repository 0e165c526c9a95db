"""Real clients, each in an environment of its own, against a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environments import environment
from tests.server import Server

PROGRAMS = Path(__file__).parent / "programs"
ORIGINALS = Path(__file__).parents[3] / "shared" / "acceptance" / "python"
PROGRAM_SECONDS = 200
VERSIONS = ("2.6.17", "3.0.2")

WALK = """\
=== start connecting to Milvus     ===
Does collection hello_milvus exist in Milvus: False
=== Create collection `hello_milvus` ===
=== Start inserting entities       ===
Number of entities in Milvus: 3000
=== Start Creating index IVF_FLAT  ===
=== Start loading                  ===
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("standalone") / "data") as running:
        yield running


def run(program: Path, *arguments: str, requirements: tuple[str, ...]) -> str:
    """What the program prints; fails with its output where it does not end with 0."""
    command = [str(environment(*requirements)), "-W", "ignore", str(program), *arguments]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ELANUS_"))}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, env=clean)
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"
    return ran.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", [PROGRAMS, ORIGINALS], ids=["ours", "original"])
def test_the_walk_of_the_document_passes(folder: Path, version: str, server: Server) -> None:
    program = folder / "hello_seed.py"
    if not program.exists():
        pytest.skip(f"{program} is not on this machine")
    printed = run(program, "127.0.0.1", str(server.port), requirements=(f"pymilvus=={version}",))
    lines = printed.splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("search latency"))[:-3] == WALK
    assert lines[-1] == "OK\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_asynchronous_client_passes(version: str, server: Server) -> None:
    printed = run(PROGRAMS / "hello_async.py", server.address, requirements=(f"pymilvus=={version}",))
    assert printed.endswith("PASS\n")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_data_type_passes_through_storage_filter_and_search(version: str, server: Server) -> None:
    printed = run(PROGRAMS / "walk_types.py", server.address, requirements=(f"pymilvus=={version}",))
    assert printed.endswith("PASS\n")


@pytest.mark.parametrize("version", ["2.4.15", *VERSIONS])
def test_iterators_pass_while_rows_are_written(version: str, server: Server) -> None:
    program = Path(__file__).parent / "lite" / "walk_iterators.py"
    printed = run(program, f"http://{server.address}", requirements=(f"pymilvus=={version}",))
    assert printed.endswith("OK\n")
