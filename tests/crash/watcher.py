"""A client that reads while others write: keys that are only upserted are there once at every moment."""

import random
import threading
from dataclasses import dataclass
from typing import Any

import grpc
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

from elanus.model.types import ConsistencyLevel
from tests.crash.writers import NAME, RPC_SECONDS

LEVELS = (ConsistencyLevel.STRONG, ConsistencyLevel.BOUNDED, ConsistencyLevel.EVENTUALLY)


@dataclass
class Watcher:
    keys: range
    random: random.Random
    reads: int = 0
    failure: BaseException | None = None

    def run(self, address: str, killed: threading.Event) -> None:
        """Counts until a request fails. What it sees that cannot be is kept in `failure`."""
        with grpc.insecure_channel(address) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            # After a start, Eventually may answer from before the keys were written.
            level = ConsistencyLevel.STRONG
            try:
                while True:
                    count = self._count(stub, level)
                    assert count == len(self.keys), f"{level.name}: {count} rows of {len(self.keys)} keys"
                    self.reads += 1
                    level = self.random.choice(LEVELS)
            except grpc.RpcError as error:
                if not killed.is_set():
                    self.failure = error
            except AssertionError as error:
                self.failure = error

    # Any: messages of pymilvus have no types.
    def _count(self, stub: Any, level: ConsistencyLevel) -> int:
        answer = stub.Query(
            milvus_pb2.QueryRequest(
                collection_name=NAME,
                expr=f"{self.keys.start} <= id < {self.keys.stop}",
                output_fields=["count(*)"],
                consistency_level=int(level),
            ),
            timeout=RPC_SECONDS,
        )
        assert not answer.status.code, answer.status.reason
        [column] = answer.fields_data
        [count] = column.scalars.long_data.data
        return int(count)
