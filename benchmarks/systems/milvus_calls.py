"""The calls of a system that speaks the Milvus protocol: raw gRPC, requests built before they are timed."""

import time
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from benchmarks import threads
from benchmarks.model import COLUMNS, LEVELS, Collection, Load, Rows, Sample, Unsupported, Vectors, columns
from benchmarks.system import System
from benchmarks.threads import Search
from benchmarks.wire import messages

# Any below: the generated messages carry no types, nor do channels.

WAIT_SECONDS = 3600.0
CALL_SECONDS = 600.0
POLL_SECONDS = 0.02
STATUS_ANSWERS = {"CreateCollection", "CreateIndex", "LoadCollection", "DropCollection"}
"""Calls whose answer is a Status, not something that has one."""


class MilvusCalls(System):
    """Whoever opens it sets `channel`."""

    levels: ClassVar[tuple[str, ...]] = LEVELS
    channel: Any
    session_ts = 1

    @abstractmethod
    def client(self) -> Any:
        """A pymilvus.MilvusClient."""

    def version(self) -> str:
        from pymilvus.grpc_gen import milvus_pb2

        return str(
            self.checked("GetVersion", milvus_pb2.GetVersionRequest(), milvus_pb2.GetVersionResponse).version
        )

    def checked(self, method: str, request: Any, answer: Any) -> Any:
        """The answer, parsed. Raises RuntimeError for a status that is an error."""
        call = self.channel.unary_unary(
            messages.SERVICE + method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        got = call(request, timeout=CALL_SECONDS)
        messages.check(got if method in STATUS_ANSWERS else got.status)
        return got

    def create(self, collection: Collection) -> None:
        from pymilvus.grpc_gen import common_pb2

        self.collection = collection
        try:
            self.checked("CreateCollection", messages.create_collection(collection), common_pb2.Status)
        except RuntimeError as error:
            if collection.json:
                raise Unsupported(f"a JSON column: {error}") from error
            raise

    def insert(self, rows: Rows) -> float:
        from pymilvus.grpc_gen import milvus_pb2

        request = messages.insert(self.collection, rows.ids(), rows.vectors()).SerializeToString()
        call = self.channel.unary_unary(messages.SERVICE + "Insert")
        begun = time.perf_counter()
        answer = call(request, timeout=CALL_SECONDS)
        seconds = time.perf_counter() - begun
        result = milvus_pb2.MutationResult.FromString(answer)
        messages.check(result.status)
        self.session_ts = max(self.session_ts, result.timestamp)
        return seconds

    def insert_plain(self, rows: Rows) -> float:
        ids, vectors = rows.ids(), rows.vectors()
        values = columns(ids) if self.collection.scalars else {}
        names = ("id", "vector", *(COLUMNS if self.collection.scalars else ()))
        of_rows = zip(ids.tolist(), vectors, *(values[name].tolist() for name in values), strict=True)
        entities: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in of_rows]
        if self.collection.json:
            for entity in entities:
                entity["meta"] = {name: entity[name] for name in COLUMNS}
        client = self.client()
        begun = time.perf_counter()
        client.insert(self.collection.name, entities)
        return time.perf_counter() - begun

    def flush(self) -> float:
        from pymilvus.grpc_gen import milvus_pb2

        name = self.collection.name
        begun = time.perf_counter()
        flushed = self.checked(
            "Flush", milvus_pb2.FlushRequest(collection_names=[name]), milvus_pb2.FlushResponse
        )
        segments = list(flushed.coll_segIDs[name].data)
        at = flushed.coll_flush_ts.get(name, 0)
        state = milvus_pb2.GetFlushStateRequest(segmentIDs=segments, flush_ts=at, collection_name=name)
        wait(lambda: self.checked("GetFlushState", state, milvus_pb2.GetFlushStateResponse).flushed)
        return time.perf_counter() - begun

    def index(self) -> float:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        begun = time.perf_counter()
        self.create_index()
        describe = milvus_pb2.DescribeIndexRequest(collection_name=self.collection.name, field_name="vector")

        def built() -> bool:
            found = self.checked("DescribeIndex", describe, milvus_pb2.DescribeIndexResponse)
            description = found.index_descriptions[0]
            if description.state == common_pb2.IndexState.Failed:
                raise RuntimeError(f"the index build failed: {description.index_state_fail_reason}")
            finished = description.state == common_pb2.IndexState.Finished
            return bool(finished and description.indexed_rows >= description.total_rows)

        wait(built)
        return time.perf_counter() - begun

    def create_index(self) -> None:
        """Also where it is there already: then of the rows that came since."""
        from pymilvus.grpc_gen import common_pb2

        self.checked("CreateIndex", messages.create_index(self.collection), common_pb2.Status)

    def load(self) -> float:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        name = self.collection.name
        begun = time.perf_counter()
        request = milvus_pb2.LoadCollectionRequest(collection_name=name, replica_number=1)
        self.checked("LoadCollection", request, common_pb2.Status)
        progress = milvus_pb2.GetLoadingProgressRequest(collection_name=name)
        answer = milvus_pb2.GetLoadingProgressResponse
        wait(lambda: self.checked("GetLoadingProgress", progress, answer).progress >= 100)
        return time.perf_counter() - begun

    def drop(self) -> None:
        from pymilvus.grpc_gen import common_pb2, milvus_pb2

        request = milvus_pb2.DropCollectionRequest(collection_name=self.collection.name)
        self.checked("DropCollection", request, common_pb2.Status)

    def request(self, query: Vectors, load: Load, level: str) -> bytes:
        made = messages.search(
            self.collection, query, load.k, load.ef, level, self.session_ts, load.filter
        ).SerializeToString()
        assert isinstance(made, bytes)
        return made

    def searcher(self, load: Load) -> Search:
        call = self.channel.unary_unary(messages.SERVICE + "Search")

        def search(query: Vectors) -> list[int]:
            answer = call(self.request(query, load, load.levels[0]), timeout=CALL_SECONDS)
            return messages.search_ids(answer)

        return search

    def search(self, load: Load) -> Sample:
        if load.plain:
            return self.plain_search(load)
        return threads.search(load, [self.searcher(load)] * load.clients, self.insert)

    def plain_search(self, load: Load) -> Sample:
        """pymilvus' MilvusClient in threads of one process, as an application would."""
        client = self.client()
        parameters = {
            "metric_type": self.collection.metric,
            "params": messages.search_parameters(self.collection, load.ef),
        }

        def search(query: Vectors) -> list[int]:
            found = client.search(
                self.collection.name,
                data=[query],
                anns_field="vector",
                limit=load.k,
                search_params=parameters,
                consistency_level=load.levels[0],
                filter=load.filter.expression() if load.filter else "",
            )
            return [hit["id"] for hit in found[0]]

        return threads.search(load, [search] * load.clients, self.insert)


def wait(done: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + WAIT_SECONDS
    while not done():
        if time.perf_counter() > deadline:
            raise RuntimeError(f"it was not done within {WAIT_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)
