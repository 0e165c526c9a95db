"""Whether somebody still waits for what a thread is doing: long work asks now and then and stops if not."""

from collections.abc import Callable
from contextvars import ContextVar, Token

Check = Callable[[], None]
"""Raises DeadlineExceeded when the caller's time is over or the caller has gone."""

_check: ContextVar[Check | None] = ContextVar("elanus_patience", default=None)


def check() -> None:
    """Raises DeadlineExceeded where nobody waits any more. Nothing for work that nobody asked for."""
    asked = _check.get()
    if asked is not None:
        asked()


def begin(asked: Check) -> Token[Check | None]:
    """From here on this thread works for whom `asked` tells about, until `end`."""
    return _check.set(asked)


def end(token: Token[Check | None]) -> None:
    _check.reset(token)
