"""Every request to both systems, and what they answered differently."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.differential.answers import Refusal
from tests.differential.intended import reason_for
from tests.differential.requests import Request, System

# Any below: an answer is whatever pymilvus makes of one.
TOLD_LENGTH = 600
UNAVAILABLE = 2
"""What pymilvus says of a server that it cannot reach."""


@dataclass(frozen=True)
class Difference:
    """`reason`: why it is meant; None where nobody said so."""

    area: str
    request: str
    ours: Any
    theirs: Any
    reason: str | None

    def text(self) -> str:
        told = (f"  {name:<7}{str(answer)[:TOLD_LENGTH]}" for name, answer in self._answers())
        return "\n".join([f"[{self.area}] {self.request}", *told])

    def _answers(self) -> tuple[tuple[str, Any], ...]:
        return (("elanus", self.ours), ("Milvus", self.theirs))


def replay(walk: Iterator[Request], elanus: System, milvus: System, asked: Counter[str]) -> list[Difference]:
    found = []
    for request in walk:
        ours, theirs = elanus.answer(request), milvus.answer(request)
        if gone(theirs):
            raise SystemExit(f"Milvus 2.3.5 did not survive [{request.area}] {request}: leave that out")
        asked[request.area] += 1
        if not agree(request, ours, theirs):
            reason = reason_for(request, ours, theirs)
            found.append(Difference(request.area, str(request), ours, theirs, reason))
    return found


def gone(answer: Any) -> bool:
    return isinstance(answer, Refusal) and answer.code in ("UNAVAILABLE", UNAVAILABLE)


def agree(request: Request, ours: Any, theirs: Any) -> bool:
    if isinstance(ours, Refusal) and isinstance(theirs, Refusal):
        return ours.code == theirs.code
    if isinstance(ours, Refusal) or isinstance(theirs, Refusal):
        return False
    return request.same(ours, theirs)
