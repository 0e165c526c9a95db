"""Answers of a system as plain data, and when two of them say the same."""

from dataclasses import dataclass
from typing import Any

# Any below: an answer is whatever pymilvus makes of one.
RELATIVE = 1e-4


@dataclass(frozen=True)
class Refusal:
    """`code`: of the protocol; a gRPC status by its name."""

    code: int | str
    message: str

    def __str__(self) -> str:
        return f"refused, {self.code}: {self.message}"


@dataclass(frozen=True)
class Hit:
    key: Any
    distance: float
    entity: Any


def alike(left: Any, right: Any) -> bool:
    """The same shape and values; numbers to a relative 1e-4."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return close(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(alike(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(alike, left, right))
    return type(left) is type(right) and bool(left == right)


def close(left: float, right: float) -> bool:
    return abs(left - right) <= RELATIVE * max(1.0, abs(left), abs(right))


def same_hits(left: Any, right: Any) -> bool:
    """Per query: equal distances, rank by rank; the same rows, except among the last equals."""
    if not (isinstance(left, list) and isinstance(right, list)):
        return alike(left, right)
    return len(left) == len(right) and all(map(_same_ranks, left, right))


def _same_ranks(left: list[Hit], right: list[Hit]) -> bool:
    if not alike([hit.distance for hit in left], [hit.distance for hit in right]):
        return False
    if not left:
        return True
    last = left[-1].distance
    certain = [
        {hit.key: hit.entity for hit in hits if not close(hit.distance, last)} for hits in (left, right)
    ]
    if not alike(*certain):
        return False
    others = {hit.key: hit.entity for hit in right}
    return all(alike(hit.entity, others[hit.key]) for hit in left if hit.key in others)
