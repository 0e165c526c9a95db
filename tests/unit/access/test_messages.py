"""The protocol's messages in their own pool."""

import subprocess
import sys

import numpy as np
import pytest

from elanus.access.protocol import messages


def test_every_rpc_of_both_services_is_known() -> None:
    names = {name.rpartition("/")[2] for name in messages.methods()}
    assert len(messages.methods()) == 148
    assert {"Search", "Insert", "ClientHeartbeat", "CreateSnapshot", "CreateReplicateStream"} <= names


def test_messages_and_enums_are_found_by_name() -> None:
    assert messages.SearchRequest(nq=3).nq == 3
    assert messages.IndexState.Value("Finished") == 3
    with pytest.raises(AttributeError, match="NoSuchThing"):
        messages.NoSuchThing  # noqa: B018 - the access is what is tested


def test_floats_travel_as_blocks_of_bytes_and_clients_read_them_as_floats() -> None:
    schema_pb2 = pytest.importorskip("pymilvus.grpc_gen.schema_pb2")
    values = np.array([0.5, -1.25, 3e20], dtype="<f4")
    ours = messages.SearchResultData(scores=[values.tobytes()]).SerializeToString()
    assert list(schema_pb2.SearchResultData.FromString(ours).scores) == values.tolist()
    theirs = schema_pb2.FloatArray(data=values.tolist()).SerializeToString()
    assert b"".join(messages.FloatArray.FromString(theirs).data) == values.tobytes()


def test_the_server_side_needs_no_pymilvus_and_no_pandas() -> None:
    code = (
        "import sys; from elanus.access.service import handlers; "
        "from elanus.access.protocol import messages; "
        "messages.methods(); sys.exit(int(any(m in sys.modules for m in ('pymilvus', 'pandas'))))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
