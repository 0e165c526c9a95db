"""Real clients, each in an environment of its own, against a real server."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from elanus.access.service.system import Identity
from tests.environments import environment
from tests.server import Server

PROGRAMS = Path(__file__).parent / "programs"
ITERATORS = Path(__file__).parent / "lite" / "walk_iterators.py"
PROGRAM_SECONDS = 200
VERSIONS = ("2.6.17", "3.0.2")
ORM_VERSIONS = ("2.4.15", *VERSIONS)
LANGCHAIN = "langchain-milvus==0.4.0"
LLAMA_INDEX = "llama-index-vector-stores-milvus==1.2.0"

WALK = """\
=== start connecting to Milvus     ===
Does collection hello_milvus exist in Milvus: False
=== Create collection `hello_milvus` ===
=== Start inserting entities       ===
Number of entities in Milvus: 3000
=== Start Creating index IVF_FLAT  ===
=== Start loading                  ===
"""

CLIENT_STEPS = [
    "quick collection",
    "stats, flush, rename, drop",
    "explicit schema, array, iterators",
    "partition",
    "alias",
    "varchar pk + binary vector",
    "use_database (DescribeDatabase)",
    "database",
    "rbac",
    "missing collection code=100",
]
ORM_STEPS = [
    "create+describe",
    "insert+flush",
    "index IVF_FLAT/L2 search filter range",
    "index HNSW/IP search filter range",
    "index FLAT/COSINE search filter range",
    "query, iterators",
    "upsert+delete",
    "partition",
    "alias",
    "segment info, compact",
    "alter",
    "database",
    "missing collection: SchemaNotReadyException",
    "rbac",
]
ASYNC_STEPS = ["create", "concurrent insert", "concurrent search", "delete, count, get"]
LANGCHAIN_STEPS = [
    "add_documents",
    "similarity_search, filter",
    "mmr, retriever",
    "delete",
    "upsert",
]
LLAMA_INDEX_STEPS = ["add", "query", "filtered query", "delete"]


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


def steps(program: str, server: Server, *requirements: str) -> list[str]:
    """The steps the program of the folder says it went through, the last one being PASS."""
    printed = run(PROGRAMS / program, server.address, requirements=requirements).splitlines()
    assert printed[-1] == "PASS"
    return [line.removeprefix("  ok ") for line in printed[:-1]]


def connected(version: str) -> str:
    return f"connect pymilvus {version} server {Identity().version}"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_walk_of_the_document_passes(version: str, server: Server) -> None:
    program = PROGRAMS / "hello_seed.py"
    printed = run(program, "127.0.0.1", str(server.port), requirements=(f"pymilvus=={version}",))
    lines = printed.splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("search latency"))[:-3] == WALK
    assert lines[-1] == "OK\n"


# Of pymilvus 2.4 the program cannot use the search iterator, whose hits are no dicts there.
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_passes(version: str, server: Server) -> None:
    said = steps("hello_client.py", server, f"pymilvus=={version}")
    assert said == [connected(version), *CLIENT_STEPS]


@pytest.mark.parametrize("version", ORM_VERSIONS)
def test_the_object_relational_client_passes(version: str, server: Server) -> None:
    said = steps("hello_orm.py", server, f"pymilvus=={version}")
    assert said == [connected(version), *ORM_STEPS]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_asynchronous_client_passes(version: str, server: Server) -> None:
    assert steps("hello_async.py", server, f"pymilvus=={version}") == ASYNC_STEPS


def test_langchain_passes(server: Server) -> None:
    assert steps("hello_langchain.py", server, LANGCHAIN) == LANGCHAIN_STEPS


def test_llama_index_passes(server: Server) -> None:
    assert steps("hello_llamaindex.py", server, LLAMA_INDEX) == LLAMA_INDEX_STEPS


@pytest.mark.parametrize("version", VERSIONS)
def test_every_data_type_passes_through_storage_filter_and_search(version: str, server: Server) -> None:
    printed = run(PROGRAMS / "walk_types.py", server.address, requirements=(f"pymilvus=={version}",))
    assert printed.endswith("PASS\n")


@pytest.mark.parametrize("version", ORM_VERSIONS)
def test_iterators_pass_while_rows_are_written(version: str, server: Server) -> None:
    printed = run(ITERATORS, f"http://{server.address}", requirements=(f"pymilvus=={version}",))
    assert printed.endswith("OK\n")
