"""Keeps Ctrl-C out of what must not be left half done."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def uninterrupted(action: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """The result of `action`, which Ctrl-C does not stop: it stops only the waiting for it.

    Python raises KeyboardInterrupt in whatever the main thread executes, so from there the action is given to
    a thread. Where the waiting was stopped, `undo` gets the result that nobody took.
    """
    if threading.current_thread() is not threading.main_thread():
        return action()
    outcome: Future[T] = Future()

    def work() -> None:
        try:
            outcome.set_result(action())
        except BaseException as error:  # noqa: BLE001  # it belongs to the thread that waits
            outcome.set_exception(error)

    try:
        threading.Thread(target=work, name="elanus-lite").start()
        return outcome.result()
    except KeyboardInterrupt:
        outcome.add_done_callback(lambda done: _undo(done, undo))
        raise


def _undo(done: "Future[T]", undo: Callable[[T], None] | None) -> None:
    if undo is not None and done.exception() is None:
        undo(done.result())
