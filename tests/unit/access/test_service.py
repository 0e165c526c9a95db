"""The service over a real channel: errors as answers, databases, deadlines, threads."""

import logging
import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest

from elanus.access import calls
from elanus.access.protocol import messages
from elanus.access.translate.schemas import from_schema
from elanus.model.codes import Code
from elanus.model.errors import DeadlineExceeded, DiskFullError
from elanus.model.schema import Field, Schema
from elanus.model.types import DataType
from tests.unit.access.conftest import Ask
from tests.unit.access.fake import FakeProxy

SCHEMA = Schema(
    fields=(
        Field(id=100, name="pk", type=DataType.INT64, primary=True),
        Field(id=101, name="v", type=DataType.FLOAT_VECTOR, dim=2),
    )
)
SEARCH = "/milvus.proto.milvus.MilvusService/Search"


def create(ask: Ask, name: str = "c", **more: Any) -> Any:
    schema = from_schema(SCHEMA, name).SerializeToString()
    return ask("CreateCollection", collection_name=name, schema=schema, consistency_level=2, **more)


def columns(keys: list[int]) -> list[Any]:
    key = messages.FieldData(type=5, field_name="pk")
    key.scalars.long_data.data.extend(keys)
    vector = messages.FieldData(type=101, field_name="v")
    vector.vectors.dim = 2
    vector.vectors.float_vector.data.append(np.array([[k, 1] for k in keys], "<f4").tobytes())
    return [key, vector]


def placeholder(*vectors: list[float]) -> bytes:
    values = [np.array(v, "<f4").tobytes() for v in vectors]
    group = messages.PlaceholderGroup(placeholders=[{"tag": "$0", "type": 101, "values": values}])
    data: bytes = group.SerializeToString()
    return data


def search(ask: Ask, name: str = "c", **more: Any) -> Any:
    pairs = [{"key": "topk", "value": "2"}]
    more = {"placeholder_group": placeholder([0, 1]), "search_params": pairs} | more
    return ask("Search", collection_name=name, **more)


def loaded(ask: Ask) -> None:
    create(ask)
    ask("Insert", collection_name="c", fields_data=columns([3, 1, 2]), num_rows=3)
    pairs = [{"key": "metric_type", "value": "L2"}, {"key": "index_type", "value": "AUTOINDEX"}]
    ask("CreateIndex", collection_name="c", field_name="v", extra_params=pairs)
    ask("LoadCollection", collection_name="c")


def test_a_missing_collection_is_code_100_with_its_legacy_code(ask: Ask) -> None:
    for name, more in (("DescribeCollection", {}), ("DropCollection", {}), ("Query", {"expr": "pk > 1"})):
        answer = ask(name, collection_name="nope", **more)
        status: Any = getattr(answer, "status", answer)
        assert (status.code, status.error_code) == (100, 4), name
        assert "nope" in status.reason
        assert status.reason == status.detail


def test_an_input_error_says_so_and_a_success_says_nothing(ask: Ask) -> None:
    wrong = create(ask, "bad name")
    assert (wrong.code, wrong.error_code, wrong.retriable) == (1100, 5, False)
    assert dict(wrong.extra_info) == {"is_input_error": "true"}
    right = create(ask)
    assert (right.code, right.error_code, dict(right.extra_info)) == (0, 0, {})


CALLS = ["GetVersion", "Connect", "AllocTimestamp", "ListDatabases", "ShowCollections", "CheckHealth"]


@pytest.mark.parametrize("name", CALLS)
def test_a_success_has_a_status_too(ask: Ask, name: str) -> None:
    assert ask(name).HasField("status")


def test_a_missing_index_is_code_700(ask: Ask) -> None:
    create(ask)
    for name in ("DescribeIndex", "GetIndexState", "GetIndexBuildProgress", "GetIndexStatistics"):
        status = ask(name, collection_name="c").status
        assert (status.code, status.error_code) == (700, 25), name


def test_a_retriable_error_says_that_it_is(ask: Ask, proxy: FakeProxy, monkeypatch: Any) -> None:
    def full(*_: Any) -> None:
        raise DiskFullError("the disk is full", Code.SERVICE_RATE_LIMIT)

    monkeypatch.setattr(proxy, "drop_collection", full)
    status = ask("DropCollection", collection_name="c")
    assert (status.code, status.error_code, status.retriable) == (8, 49, True)


def test_an_unforeseen_error_is_logged_with_the_request_and_not_told(
    ask: Ask, proxy: FakeProxy, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(proxy, "drop_collection", broken)
    with caplog.at_level(logging.ERROR):
        status = ask("DropCollection", collection_name="c", metadata=[("client-request-id", "req-7")])
    assert (status.code, status.error_code) == (5, 1)
    assert "req-7" in status.reason
    assert "secret" not in status.reason
    assert "req-7" in caplog.text
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "name", ["CreateSnapshot", "LoadBalance", "HybridSearch", "ClientHeartbeat", "Import"]
)
def test_a_call_that_is_not_built_is_unimplemented_by_name(ask: Ask, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(name)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == f"{name} is not implemented by elanus 0.1.0"


def test_streaming_calls_are_unimplemented_too(channel: grpc.Channel) -> None:
    service = "/milvus.proto.milvus.MilvusService/"
    for stream in (
        channel.unary_stream(f"{service}DumpMessages")(b""),
        channel.stream_stream(f"{service}CreateReplicateStream")(iter(())),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_request_are_an_invalid_argument(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SEARCH)(b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "SearchRequest" in caught.value.details()


def test_the_database_is_the_requests_or_the_metadatas_or_default(ask: Ask) -> None:
    for name in ("one", "two"):
        ask("CreateDatabase", db_name=name)
    create(ask, "c1", metadata=[("dbname", "one")])
    create(ask, "c2", metadata=[("dbname", "one")], db_name="two")
    create(ask, "c3")
    for database, names in (("one", ["c1"]), ("two", ["c2"]), ("default", ["c3"])):
        assert list(ask("ShowCollections", db_name=database).collection_names) == names
    assert list(ask("ShowCollections", metadata=[("dbname", "two")]).collection_names) == ["c2"]
    assert ask("Connect", metadata=[("dbname", "nope")]).status.code == 800


def test_connections_get_different_identifiers(ask: Ask) -> None:
    first, second = ask("Connect"), ask("Connect")
    assert first.identifier != second.identifier
    assert first.server_info.build_tags == ask("GetVersion").version
    assert first.server_info.deploy_mode == "STANDALONE"


def test_a_deadline_that_passes_ends_the_call(ask: Ask, proxy: FakeProxy, monkeypatch: Any) -> None:
    ended = threading.Event()

    def slow(*_: Any) -> None:
        try:
            while True:
                calls.check()
                time.sleep(0.01)
        except DeadlineExceeded:
            ended.set()
            raise

    monkeypatch.setattr(proxy, "drop_collection", slow)
    with pytest.raises(grpc.RpcError) as caught:
        ask("DropCollection", collection_name="c", timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert ended.wait(5)


def test_reads_writes_and_control_calls_have_their_own_threads(
    ask: Ask, proxy: FakeProxy, monkeypatch: Any
) -> None:
    loaded(ask)
    seen = {}
    for name in ("search", "insert", "collections"):
        original = getattr(proxy, name)

        def noted(*args: Any, name: str = name, original: Any = original) -> Any:
            seen[name] = threading.current_thread().name
            return original(*args)

        monkeypatch.setattr(proxy, name, noted)
    search(ask)
    ask("Insert", collection_name="c", fields_data=columns([9]), num_rows=1)
    ask("ShowCollections")
    lanes = {name: thread.split("_")[0] for name, thread in seen.items()}
    assert lanes == {"search": "elanus-read", "insert": "elanus-write", "collections": "elanus-control"}


def test_control_calls_are_answered_while_every_writer_is_stuck(
    ask: Ask, channel: grpc.Channel, proxy: FakeProxy, monkeypatch: Any
) -> None:
    create(ask)
    release = threading.Event()
    monkeypatch.setattr(proxy, "insert", lambda request: release.wait(10))
    data = messages.InsertRequest(collection_name="c", fields_data=columns([1]), num_rows=1)
    insert = channel.unary_unary("/milvus.proto.milvus.MilvusService/Insert")
    stuck = [insert.future(data.SerializeToString()) for _ in range(6)]
    try:
        assert ask("GetVersion", timeout=2).status.code == 0
    finally:
        release.set()
        for call in stuck:
            call.exception(10)


def test_a_search_answers_scores_keys_fields_and_its_timestamp(ask: Ask) -> None:
    loaded(ask)
    found = search(ask, output_fields=["v"], nq=2, placeholder_group=placeholder([1, 1], [3, 1]))
    data = found.results
    assert (data.num_queries, data.top_k, list(data.topks)) == (2, 2, [2, 2])
    assert list(data.ids.int_id.data) == [1, 2, 3, 2]
    assert np.frombuffer(b"".join(data.scores), "<f4").tolist() == [0, 1, 0, 1]
    assert data.primary_field_name == "pk"
    assert list(data.output_fields) == ["v"]
    assert np.frombuffer(b"".join(data.fields_data[0].vectors.float_vector.data), "<f4")[0] == 1
    assert found.session_ts > 0


def test_a_search_for_what_is_not_built_is_refused_by_name(ask: Ask) -> None:
    loaded(ask)
    for more, expected in (
        ({"sub_reqs": [{"nq": 1}]}, "sub-requests"),
        ({"function_score": {"functions": [{"name": "f"}]}}, "function score"),
        ({"namespace": "n"}, "namespaces"),
        ({"placeholder_group": b""}, "no query vectors"),
        ({"nq": 7}, "nq is 7, but 1"),
    ):
        status = search(ask, **more).status
        assert status.code in (10, 1100, 1101)
        assert expected in status.reason


def test_later_pages_of_an_iterator_read_at_the_time_of_the_first(ask: Ask, proxy: FakeProxy) -> None:
    loaded(ask)
    iterator = [{"key": "iterator", "value": "True"}, {"key": "limit", "value": "1"}]
    first = ask("Query", collection_name="c", expr="pk > 0", query_params=iterator)
    assert proxy.last_query is not None
    assert (proxy.last_query.at_ts, proxy.last_query.iterator) == (0, True)
    ask(
        "Query",
        collection_name="c",
        expr="pk > 1",
        query_params=iterator,
        guarantee_timestamp=first.session_ts,
    )
    assert proxy.last_query.at_ts == first.session_ts
    ask("Query", collection_name="c", expr="pk > 1", guarantee_timestamp=first.session_ts)
    assert proxy.last_query.at_ts == 0


def test_loading_is_seen_in_every_call_that_shows_it(ask: Ask) -> None:
    create(ask)
    assert ask("GetLoadState", collection_name="c").state == 1
    assert ask("GetLoadState", collection_name="nope").state == 0
    assert ask("GetLoadingProgress", collection_name="c").status.code == 101
    assert list(ask("ShowCollections", type=1).collection_names) == []
    assert search(ask).status.code == 101
    ask("LoadCollection", collection_name="c")
    assert ask("GetLoadState", collection_name="c").state == 3
    assert ask("GetLoadingProgress", collection_name="c").progress == 100
    shown = ask("ShowCollections", type=1)
    assert (list(shown.collection_names), list(shown.inMemory_percentages)) == (["c"], [100])
    assert list(ask("ShowPartitions", collection_name="c", type=1).inMemory_percentages) == [100]
    ask("ReleaseCollection", collection_name="c")
    assert ask("GetLoadState", collection_name="c").state == 1


def test_a_collection_is_described_by_name_and_by_id(ask: Ask) -> None:
    create(ask, shards_num=2, properties=[{"key": "collection.ttl.seconds", "value": "5"}])
    by_name = ask("DescribeCollection", collection_name="c")
    assert by_name == ask("DescribeCollection", collectionID=by_name.collectionID)
    assert by_name.shards_num == len(by_name.virtual_channel_names) == 2
    assert by_name.virtual_channel_names[1].endswith(f"_{by_name.collectionID}v1")
    assert by_name.created_utc_timestamp == by_name.created_timestamp >> 18
    assert (by_name.consistency_level, by_name.properties[0].value) == (2, "5")
    assert by_name.schema.name == "c"


def test_a_name_that_the_schema_contradicts_is_refused(ask: Ask) -> None:
    schema = from_schema(SCHEMA, "one").SerializeToString()
    refused = ask("CreateCollection", collection_name="two", schema=schema)
    assert (refused.code, "'two'" in refused.reason, "'one'" in refused.reason) == (1100, True, True)


@pytest.mark.parametrize("limit", ["-1", "0"])
def test_a_query_asks_for_one_row_at_least_or_for_no_limit(ask: Ask, limit: str) -> None:
    loaded(ask)
    asked = {"collection_name": "c", "expr": "pk > 0"}
    refused = ask("Query", **asked, query_params=[{"key": "limit", "value": limit}])
    assert (refused.status.code, limit in refused.status.reason) == (1100, True)
    assert ask("Query", **asked).status.code == 0


def test_an_unhealthy_server_says_why(ask: Ask, proxy: FakeProxy) -> None:
    assert ask("CheckHealth").isHealthy
    assert ask("GetComponentStates").state.state_code == 1
    proxy.unhealthy = ["the disk is full"]
    answer = ask("CheckHealth")
    assert (answer.status.code, answer.isHealthy, list(answer.reasons)) == (0, False, ["the disk is full"])
    assert ask("GetComponentStates").state.state_code == 2


def test_a_flush_lists_segments_and_its_state_is_asked_by_time_or_by_segment(ask: Ask) -> None:
    create(ask)
    flushed = ask("Flush", collection_names=["c"])
    assert list(flushed.coll_segIDs["c"].data) == [7]
    ts = flushed.coll_flush_ts["c"]
    assert ask("GetFlushState", collection_name="c", flush_ts=ts, segmentIDs=[7]).flushed
    assert ask("GetFlushState", segmentIDs=[7]).flushed
    assert ask("GetFlushState").status.code == 1101
    assert ask("Flush").status.code == 1100


def test_descriptions_of_users_and_roles_have_limits(ask: Ask) -> None:
    long = "x" * 1025
    user = ask("CreateCredential", username="a", password="c2VjcmV0", description=long)
    role = ask("CreateRole", entity=messages.RoleEntity(name="a", description=long))
    for answer in (user, role):
        assert answer.code == Code.PARAMETER_INVALID
        assert "1025 bytes; at most 1024" in answer.reason
