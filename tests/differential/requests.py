"""One call that every system is asked, and what of its answer must agree."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from pymilvus import MilvusClient, MilvusException

from tests.differential.answers import Hit, Refusal, alike, same_hits

# Any below: requests and answers are pymilvus' own, which has no types.
TIMEOUT_SECONDS = 60.0
TEXT_LENGTH = 220


@dataclass(frozen=True)
class Request:
    """`call`: a method of MilvusClient; with `message`, an RPC that pymilvus itself would not send."""

    area: str
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)
    view: Callable[[Any], Any] = lambda answer: answer
    same: Callable[[Any, Any], bool] = alike
    message: Any = None
    title: str = ""

    def __str__(self) -> str:
        if self.title:
            return f"{self.call}: {self.title}"
        told = ", ".join(f"{k}={v!r}" for k, v in self.arguments.items() if k not in ("data", "schema"))
        return f"{self.call}({told})"[:TEXT_LENGTH]


class System:
    """A server under its name, spoken to by pymilvus."""

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self._client = MilvusClient(uri, timeout=TIMEOUT_SECONDS)

    def answer(self, request: Request) -> Any:
        try:
            if request.message is not None:
                return self._raw(request)
            call = getattr(self._client, request.call)
            return request.view(call(timeout=TIMEOUT_SECONDS, **request.arguments))
        except MilvusException as error:
            return Refusal(error.code, error.message)
        except grpc.RpcError as error:
            return Refusal(error.code().name, error.details())

    def _raw(self, request: Request) -> Any:
        stub = self._client._get_connection()._stub
        answer = getattr(stub, request.call)(request.message, timeout=TIMEOUT_SECONDS)
        status = getattr(answer, "status", answer)
        if status.code or status.error_code:
            return Refusal(status.code, status.reason)
        return request.view(answer)

    def close(self) -> None:
        self._client.close()


def nothing(answer: Any) -> None:
    """For calls of which only the success matters."""


def hits(answer: Any) -> list[list[Hit]]:
    return [[Hit(hit.id, hit.distance, dict(hit["entity"])) for hit in query] for query in answer]


def rows(answer: Any) -> list[Any]:
    """Of a query without an order."""
    return sorted((dict(row) for row in answer), key=lambda row: str(row.get("id", row.get("pk", ""))))


DESCRIBED = (
    "aliases",
    "auto_id",
    "collection_name",
    "consistency_level",
    "description",
    "enable_dynamic_field",
    "num_partitions",
    "num_shards",
)


def description(answer: Any) -> Any:
    """Without ids, times and what 2.3.5 has no word for."""
    told = {key: answer.get(key) for key in DESCRIBED}
    told["aliases"] = sorted(told["aliases"])
    told["fields"] = [
        {key: value for key, value in fields.items() if key != "field_id"} for fields in answer["fields"]
    ]
    told["properties"] = dict(answer.get("properties") or {})
    return told


INDEX_COUNTS = ("total_rows", "indexed_rows", "pending_index_rows", "state", "index_id")


def index(answer: Any) -> Any:
    if answer is None:
        return None
    return {key: value for key, value in answer.items() if key not in INDEX_COUNTS}


def search(area: str, **arguments: Any) -> Request:
    return Request(area, "search", arguments, hits, same_hits)


def query(area: str, **arguments: Any) -> Request:
    return Request(area, "query", arguments, rows)
