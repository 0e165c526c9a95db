"""What filters matched in sealed segments, kept for the next read with the same filter.

The values of a sealed segment never change, so a filter's rows there are the same for ever; which of them are
visible is asked anew by every read.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from elanus.engine.visibility import Mask

if TYPE_CHECKING:
    from elanus.expr.plan import Plan


class _Kept(NamedTuple):
    plan: "Plan"
    """Held, so that no other plan takes its identity."""
    mask: Mask


class FilterCache:
    """Masks of at most `limit_bytes` together, the longest unused ones go. Safe to use from many threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], _Kept] = OrderedDict()
        self.bytes = 0

    def matching(self, segment: str, plan: "Plan", evaluate: Callable[[], Mask]) -> Mask:
        """(rows,) what `evaluate` returns, or did for this very plan object and segment. Read-only."""
        key = (segment, id(plan))
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found.mask
        mask = evaluate()
        mask.flags.writeable = False
        if mask.nbytes <= self._limit:
            with self._lock:
                self._drop(key)
                self._kept[key] = _Kept(plan, mask)
                self.bytes += mask.nbytes
                while self.bytes > self._limit:
                    self._drop(next(iter(self._kept)))
        return mask

    def forget(self, segment: str) -> None:
        with self._lock:
            for key in [k for k in self._kept if k[0] == segment]:
                self._drop(key)

    def _drop(self, key: tuple[str, int]) -> None:
        dropped = self._kept.pop(key, None)
        if dropped is not None:
            self.bytes -= dropped.mask.nbytes
