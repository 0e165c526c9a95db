"""What operators ask: replicas, segments, the machine, everything flushed."""

import json
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus.grpc_gen import common_pb2 as pb_common
from pymilvus.grpc_gen import milvus_pb2 as pb

ROWS = 50


def make(client: Any, *names: str) -> None:
    for name in names or ("a",):
        client.create_collection(name, dimension=2, consistency_level="Strong")
        client.insert(name, [{"id": i, "vector": [float(i), 1.0]} for i in range(ROWS)])


def stub(client: Any) -> Any:
    return client._get_connection()._stub


def test_a_loaded_collection_has_a_replica_and_a_released_one_has_none(client: Any) -> None:
    make(client)
    request = pb.GetReplicasRequest(collection_name="a", with_shard_nodes=True)
    [replica] = stub(client).GetReplicas(request).replicas
    described = client.describe_collection("a")
    assert replica.collectionID == described["collection_id"]
    assert list(replica.node_ids) == [1]
    assert len(replica.partition_ids) == 1
    assert [s.leaderID for s in replica.shard_replicas] == [1]
    client.release_collection("a")
    assert stub(client).GetReplicas(request).status.code == 400


def test_sealed_segments_are_listed_sorted_with_all_their_rows(client: Any) -> None:
    make(client)
    assert client.list_persistent_segments("a") == []
    client.flush("a")
    [segment] = client.list_persistent_segments("a")
    assert (segment.num_rows, segment.is_sorted, str(segment.state)) == (ROWS, True, "Flushed")
    assert segment.level == pb_common.SegmentLevel.L1
    only_growing = pb.GetPersistentSegmentInfoRequest(collectionName="a", states=[2])
    assert list(stub(client).GetPersistentSegmentInfo(only_growing).infos) == []


def test_served_segments_hold_growing_rows_and_sealed_ones(client: Any) -> None:
    make(client)
    client.query("a", "id == 1")
    assert [(s.num_rows, str(s.state)) for s in client.list_loaded_segments("a")] == [(ROWS, "Growing")]
    client.release_collection("a")
    assert client.list_loaded_segments("a") == []
    client.flush("a")
    client.load_collection("a")
    client.insert("a", [{"id": 1000, "vector": [0.0, 1.0]}])
    client.query("a", "id == 1000")
    found = {str(s.state): s.num_rows for s in client.list_loaded_segments("a")}
    assert found == {"Sealed": ROWS, "Growing": 1}


def test_everything_is_flushed_at_once(client: Any) -> None:
    make(client, "a", "b")
    client.create_database("other")
    client.use_database("other")
    make(client, "c")
    flushed = stub(client).FlushAll(pb.FlushAllRequest())
    assert flushed.status.code == 0
    state = pb.GetFlushAllStateRequest(flush_all_ts=flushed.flush_all_ts)
    for _ in range(100):
        if stub(client).GetFlushAllState(state).flushed:
            break
    assert stub(client).GetFlushAllState(state).flushed
    assert [s.num_rows for s in client.list_persistent_segments("c")] == [ROWS]
    client.use_database("default")
    assert [s.num_rows for name in "ab" for s in client.list_persistent_segments(name)] == [ROWS] * 2


def test_collections_are_described_in_batches_with_an_error_for_what_is_missing(client: Any) -> None:
    make(client, "a", "b")
    request = pb.BatchDescribeCollectionRequest(collection_name=["b", "none", "a"])
    answer = stub(client).BatchDescribeCollection(request)
    assert answer.status.code == 0
    assert [(r.collection_name, r.status.code) for r in answer.responses] == [("b", 0), ("", 100), ("a", 0)]


def test_the_machine_is_described_under_every_role(client: Any) -> None:
    request = pb.GetMetricsRequest(request=json.dumps({"metric_type": "system_info"}))
    info = json.loads(stub(client).GetMetrics(request).response)
    roles = [n["infos"]["type"] for n in info["nodes_info"]]
    assert {"proxy", "rootcoord", "datanode", "querynode"} <= set(roles)
    machine = info["nodes_info"][0]["infos"]["hardware_infos"]
    assert machine["cpu_core_count"] >= 1
    assert 0 < machine["memory_usage"] < machine["memory"]
    assert 0 < machine["disk_usage"] < machine["disk"]
    other = pb.GetMetricsRequest(request=json.dumps({"metric_type": "weather"}))
    assert stub(client).GetMetrics(other).status.code == 1200
    assert stub(client).GetMetrics(pb.GetMetricsRequest(request="{")).status.code == 1100
