"""Three-valued truth of many rows."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class Truth(NamedTuple):
    """(n,) bool each. `true` is False wherever `known` is; `known` None: no row is NULL."""

    true: Bools
    known: Bools | None

    @property
    def is_false(self) -> bool:
        """FALSE in every row: `and` needs no more."""
        return not self.true.any() and (self.known is None or bool(self.known.all()))

    @property
    def is_true(self) -> bool:
        """TRUE in every row: `or` needs no more."""
        return bool(self.true.all())


def truth(true: Bools, known: Bools | None = None) -> Truth:
    """Clears `true` where the row is NULL."""
    return Truth(true if known is None else true & known, known)


def constant(value: bool, rows: int) -> Truth:
    return Truth(np.full(rows, value), None)


def negate(given: Truth) -> Truth:
    return Truth(~given.true if given.known is None else given.known & ~given.true, given.known)


def conjunction(left: Truth, right: Truth) -> Truth:
    """FALSE where either is FALSE, NULL where else either is NULL."""
    true = left.true & right.true
    if left.known is None and right.known is None:
        return Truth(true, None)
    return Truth(true, true | negate(left).true | negate(right).true)


def disjunction(left: Truth, right: Truth) -> Truth:
    """TRUE where either is TRUE, NULL where else either is NULL."""
    true = left.true | right.true
    if left.known is None and right.known is None:
        return Truth(true, None)
    return Truth(true, true | (negate(left).true & negate(right).true))
