"""Deleted rows of a segment, and the mask of those that are visible at a timestamp."""

from threading import Lock

import numpy as np
import numpy.typing as npt

from elanus.engine.keys import Rows

Mask = npt.NDArray[np.bool_]
Times = npt.NDArray[np.uint64]


class DeletedRows:
    """Smallest delete timestamp of each deleted row. One writer, many readers.

    Two forms of the same: `_times` by row answers whether a delete is news; `_rows`, `_stamps` in the order
    of the timestamps make a mask for any T from a neighbouring one by touching only what differs. A mask that
    was handed out never changes.
    """

    def __init__(self, times: Times | None = None) -> None:
        """`times`: (rows,) uint64 delete timestamps, 0 where the row lives."""
        self._times = np.empty(0, np.uint64) if times is None else times
        self._rows = np.empty(0, np.int64)
        self._stamps = np.empty(0, np.uint64)
        self._used = 0
        self._in_order = times is None
        self._cache: tuple[int, Mask] = (0, np.empty(0, np.bool_))
        self._lock = Lock()

    def add(self, rows: Rows, ts: Times, total: int) -> None:
        """Rows (with repetitions) deleted at `ts`; the segment has `total` rows. Idempotent."""
        if not len(rows):
            return
        order = np.lexsort((ts, rows))
        rows, ts = rows[order], ts[order]
        if len(rows) > 1:
            first = np.concatenate([[True], rows[1:] != rows[:-1]])
            rows, ts = rows[first], ts[first]
        with self._lock:
            self._reserve(total)
            old = self._times[rows]
            news = (old == 0) | (ts < old)
            if not news.any():
                return
            rows, ts = rows[news], ts[news]
            self._times[rows] = ts
            latest = self._stamps[self._used - 1] if self._used else np.uint64(0)
            if self._in_order and not old[news].any() and bool(ts.min() >= latest):
                order = np.argsort(ts, kind="stable")
                self._append(rows[order], ts[order])
            else:
                self._in_order = False

    def mask(self, at_ts: int, start: int, stop: int) -> Mask | None:
        """(stop - start,) True where the row is not deleted at `at_ts`; None where none is. Read-only."""
        if not self._used and self._in_order:
            return None
        with self._lock:
            if not self._in_order:
                self._sort()
            stamps, rows = self._stamps[: self._used], self._rows
            count = int(np.searchsorted(stamps, np.uint64(at_ts), side="right"))
            if not count:
                return None
            cached_count, cached = self._cache
            if cached_count != count or len(cached) < stop:
                mask = np.ones(max(stop, len(self._times), len(cached)), np.bool_)
                mask[: len(cached)] = cached
                mask[rows[cached_count:count]] = False
                mask[rows[count:cached_count]] = True
                mask.flags.writeable = False
                if count >= cached_count:
                    self._cache = (count, mask)
                cached = mask
            return cached[start:stop]

    def times(self, total: int) -> Times:
        """(total,) delete timestamp of each row, 0 where it lives; a copy."""
        with self._lock:
            times = np.zeros(total, np.uint64)
            known = min(total, len(self._times))
            times[:known] = self._times[:known]
            return times

    def without_first(self, rows: int) -> "DeletedRows":
        """The same for a segment that has lost its first `rows` rows."""
        with self._lock:
            return DeletedRows(self._times[rows:].copy()) if len(self._times) > rows else DeletedRows()

    def _reserve(self, total: int) -> None:
        if total > len(self._times):
            # Zeroed memory is not touched, so a segment pays only for the pages in which it has deletes.
            grown = np.zeros(max(total, 2 * len(self._times)), np.uint64)
            grown[: len(self._times)] = self._times
            self._times = grown

    def _append(self, rows: Rows, stamps: Times) -> None:
        needed = self._used + len(rows)
        if needed > len(self._rows):
            capacity = max(needed, 2 * len(self._rows))
            self._rows = np.concatenate([self._rows[: self._used], np.empty(capacity - self._used, np.int64)])
            self._stamps = np.concatenate(
                [self._stamps[: self._used], np.empty(capacity - self._used, np.uint64)]
            )
        self._rows[self._used : needed] = rows
        self._stamps[self._used : needed] = stamps
        self._used = needed

    def _sort(self) -> None:
        rows = np.flatnonzero(self._times)
        stamps = self._times[rows]
        order = np.argsort(stamps, kind="stable")
        self._rows, self._stamps, self._used = rows[order], stamps[order], len(rows)
        self._in_order = True
        self._cache = (0, np.empty(0, np.bool_))
