"""Clients that know what must be there: each owns its keys and has at most one request under way."""

import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
from pymilvus import DataType, MilvusClient
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc, schema_pb2

from elanus.model.hashing import channel_of

NAME = "things"
DIM = 8
KEYS = 300
"""Of each writer: few, so that the same key is written again and again."""
RANGE = 1_000_000
BATCH = 25
SHARDS = 2
RPC_SECONDS = 30
KINDS = ("insert", "upsert", "upsert", "delete", "delete where")

State = dict[int, int]
"""Key -> version, of the keys that are there."""


# Any: pymilvus has no types.
def create(client: Any) -> None:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("version", DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=200)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=DIM)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="L2", params={"M": 8, "efConstruction": 40})
    client.create_collection(
        NAME, schema=schema, index_params=index, num_shards=SHARDS, consistency_level="Strong"
    )


def content(key: int, version: int) -> dict[str, Any]:
    """Every field follows from key and version: a row put together from two would be seen."""
    return {
        "id": key,
        "version": version,
        "text": f"{key}:{version}:" + "x" * (version % 60),
        "vector": vector(key, version),
        "extra": key * 7 + version,
    }


def vector(key: int, version: int) -> list[float]:
    rng = np.random.default_rng([key, version])
    return [float(x) for x in rng.integers(-1000, 1000, DIM) / 8]


@dataclass
class Unanswered:
    """A request that ended in an error: whole or not at all, in each channel."""

    kind: str
    after: dict[int, int | None]
    """What its keys hold if it was done; None: deleted."""


@dataclass
class Writer:
    number: int
    random: random.Random
    kinds: tuple[str, ...] = KINDS
    state: State = field(default_factory=dict)
    version: int = 0
    unanswered: Unanswered | None = None
    acknowledged: int = 0
    failure: BaseException | None = None

    def run(self, address: str, killed: threading.Event) -> None:
        """Writes until a request fails. A failure that is not the kill's is kept in `failure`."""
        try:
            with grpc.insecure_channel(address) as channel:
                stub = milvus_pb2_grpc.MilvusServiceStub(channel)
                while self._step(stub):
                    pass
        except BaseException as error:  # noqa: BLE001  # shown by the test, which runs on another thread
            self.failure = error
        if not killed.is_set() and self.failure is None:
            self.failure = AssertionError(f"a {self.unanswered} failed while the server was up")

    def fill(self, address: str) -> None:
        """Writes all keys once."""
        with grpc.insecure_channel(address) as channel:
            request = write_request(list(self.keys), 0, upsert=True)
            answer = milvus_pb2_grpc.MilvusServiceStub(channel).Upsert(request, timeout=RPC_SECONDS)
        assert not answer.status.code, answer.status.reason
        self.state = dict.fromkeys(self.keys, 0)

    @property
    def keys(self) -> range:
        return range(self.number * RANGE, self.number * RANGE + KEYS)

    def settle(self, found: State) -> None:
        """Takes over what is there, after it has been checked."""
        self.state = {key: v for key, v in found.items() if key // RANGE == self.number}
        self.unanswered = None

    def _step(self, stub: Any) -> bool:
        """One request. False once one failed."""
        kind, request, after = self._choose()
        call = {"insert": stub.Insert, "upsert": stub.Upsert}.get(kind, stub.Delete)
        try:
            answer = call(request, timeout=RPC_SECONDS)
        except grpc.RpcError:
            self.unanswered = Unanswered(kind, after)
            return False
        if answer.status.code:
            raise AssertionError(f"{kind} was refused: {answer.status.reason}")
        for key, version in after.items():
            if version is None:
                self.state.pop(key, None)
            else:
                self.state[key] = version
        self.acknowledged += 1
        return True

    def _choose(self) -> tuple[str, Any, dict[int, int | None]]:
        self.version += 1
        some = self.random.sample(self.keys, self.random.randint(1, BATCH))
        absent = [k for k in some if k not in self.state]
        kind = self.random.choice(self.kinds)
        if kind == "insert" and absent:
            return (
                kind,
                write_request(absent, self.version, upsert=False),
                dict.fromkeys(absent, self.version),
            )
        if kind == "delete":
            text = f"id in {some}"
            return kind, milvus_pb2.DeleteRequest(collection_name=NAME, expr=text), dict.fromkeys(some)
        if kind == "delete where":
            low = min(some)
            text = f"{low} <= id < {low + BATCH} and version % 2 == 0 and version >= 0"
            request = milvus_pb2.DeleteRequest(collection_name=NAME, expr=text)
            hit = [k for k in range(low, low + BATCH) if self.state.get(k, 1) % 2 == 0]
            return kind, request, dict.fromkeys(hit)
        return "upsert", write_request(some, self.version, upsert=True), dict.fromkeys(some, self.version)


def write_request(keys: list[int], version: int, *, upsert: bool) -> Any:
    rows = [content(key, version) for key in keys]
    extras = [json.dumps({"extra": row["extra"]}).encode() for row in rows]
    flat = [x for row in rows for x in row["vector"]]
    columns = [
        scalar("id", DataType.INT64, long_data=schema_pb2.LongArray(data=keys)),
        scalar("version", DataType.INT64, long_data=schema_pb2.LongArray(data=[version] * len(keys))),
        scalar("text", DataType.VARCHAR, string_data=schema_pb2.StringArray(data=[r["text"] for r in rows])),
        schema_pb2.FieldData(
            type=int(DataType.FLOAT_VECTOR),
            field_name="vector",
            vectors=schema_pb2.VectorField(dim=DIM, float_vector=schema_pb2.FloatArray(data=flat)),
        ),
        scalar("$meta", DataType.JSON, json_data=schema_pb2.JSONArray(data=extras)),
    ]
    columns[-1].is_dynamic = True
    kind = milvus_pb2.UpsertRequest if upsert else milvus_pb2.InsertRequest
    return kind(collection_name=NAME, num_rows=len(keys), fields_data=columns)


def scalar(name: str, data_type: DataType, **data: Any) -> Any:
    return schema_pb2.FieldData(type=int(data_type), field_name=name, scalars=schema_pb2.ScalarField(**data))


def check(client: Any, writers: list[Writer]) -> State:
    """What is there, after everything about it has been checked."""
    rows = client.query(NAME, "version >= 0", ["*"], consistency_level="Strong")
    found = {row["id"]: row["version"] for row in rows}
    for row in rows:
        got = {**row, "vector": [float(x) for x in row["vector"]]}
        assert got == content(row["id"], row["version"]), f"half-written: {got}"
    [answer] = client.query(NAME, "", ["count(*)"], consistency_level="Strong")
    assert answer["count(*)"] == len(found), "a key is there in two versions"
    for writer in writers:
        check_state(writer, {k: v for k, v in found.items() if k // RANGE == writer.number})
    assert all(any(k // RANGE == w.number for w in writers) for k in found)
    check_search(client, found)
    return found


def check_state(writer: Writer, found: State) -> None:
    unanswered = writer.unanswered.after if writer.unanswered else {}
    keys = found.keys() | writer.state.keys()
    wrong = {k: (writer.state.get(k), found.get(k)) for k in keys if writer.state.get(k) != found.get(k)}
    surprising = {k: v for k, v in wrong.items() if k not in unanswered or unanswered[k] != v[1]}
    assert not surprising, f"key: (acknowledged, found): {surprising}; unanswered: {writer.unanswered}"
    if wrong:
        check_whole(writer.state, found, unanswered)


def check_whole(before: State, found: State, after: dict[int, int | None]) -> None:
    """An unanswered request is one record in each channel: there for all its keys, or for none."""
    changed = [k for k in after if before.get(k) != after[k]]
    channels = channel_of(pa.array(changed, pa.int64()), SHARDS)
    for number in range(SHARDS):
        mine = [k for k, c in zip(changed, channels, strict=True) if c == number]
        done = {k: found.get(k) == after[k] for k in mine}
        assert len(set(done.values())) <= 1, f"channel {number} has a part of a request: {done}"


def check_search(client: Any, found: State) -> None:
    sample = random.sample(sorted(found), min(20, len(found)))
    if not sample:
        return
    vectors = [vector(key, found[key]) for key in sample]
    answers = client.search(
        NAME,
        vectors,
        limit=5,
        output_fields=["*"],
        search_params={"params": {"ef": 200}},
        consistency_level="Strong",
    )
    for key, hits in zip(sample, answers, strict=True):
        assert hits[0]["id"] == key
        assert hits[0]["distance"] == 0
        for hit in hits:
            assert hit["entity"]["version"] == found.get(hit["id"]), f"{hit} is not there any more"
