"""Lite with the pymilvus versions that users have, each in an environment of its own."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.environments import environment

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "lite"
PROGRAM_SECONDS = 200

# The environment has pymilvus and what that needs; what elanus needs beyond it comes from this one, last.
RUN = """
import runpy, sys
sys.path += sys.argv.pop(1), sys.argv.pop(1)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

HELLO = """\
=== start connecting to Milvus     ===
Does collection hello_milvus exist in Milvus: False
=== Create collection `hello_milvus` ===
=== Start inserting entities       ===
Number of entities in Milvus: 3000
=== Start Creating index IVF_FLAT  ===
=== Start loading                  ===
OK
"""


@pytest.mark.parametrize("version", ["2.4.15", "2.6.17", "3.0.2"])
@pytest.mark.parametrize(
    ("program", "prints"),
    [
        ("walk_orm.py", HELLO),
        ("walk_client.py", "OK\n"),
        ("walk_installed.py", "OK\n"),
        ("walk_iterators.py", "OK\n"),
    ],
)
def test_a_walk_passes(version: str, program: str, prints: str, tmp_path: Path) -> None:
    interpreter = environment(f"pymilvus=={version}")
    libraries = [str(REPOSITORY), sysconfig.get_paths()["purelib"]]
    python = [str(interpreter), "-X", "faulthandler", "-c", RUN]
    command = [*python, *libraries, str(PROGRAMS / program), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout == prints
