"""The machine's own crash: what is copied is one state of the directory."""

import shutil
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import DataType, MilvusClient

from tests.machine.deployment import GRACE_SECONDS, Deployment

ROWS, FLUSHES = 60, 4


def test_garbage_collection_takes_nothing_from_a_copy_that_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what the copied meta store names may be replaced and collected before the objects are copied."""
    deployed = Deployment()
    client = deployed.client
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("v", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection("slow", schema=schema)
    index = client.prepare_index_params()
    index.add_index("v", index_type="HNSW", metric_type="L2")
    client.create_index("slow", index, sync=False)
    client.load_collection("slow")
    for flush in range(FLUSHES):
        client.insert("slow", [{"id": flush * ROWS + i, "v": [float(i), 1.0]} for i in range(ROWS)])
        client.flush("slow")
    client.compact("slow")
    copytree = shutil.copytree

    # Any: copytree passes its own arguments on to itself.
    def late(source: Any, *rest: Any, **options: Any) -> Any:
        if Path(source).name == "objects":
            time.sleep(5 * GRACE_SECONDS)
        return copytree(source, *rest, **options)

    monkeypatch.setattr(shutil, "copytree", late)
    deployed.crash()
    [answer] = deployed.client.query("slow", output_fields=["count(*)"], consistency_level="Strong")
    assert answer["count(*)"] == ROWS * FLUSHES
    deployed.close()
