"""The signals that ask a process to end."""

import signal
import socket
from types import FrameType


class EndSignals:
    """SIGTERM and Ctrl-C, from the construction on; only the main thread can make one.

    The kernel may hand a signal to any thread, and Python runs its handler when the main thread next moves:
    one that waits for a lock does not. The byte that Python writes at once, in whatever thread, wakes it.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        signal.signal(signal.SIGTERM, _nothing_more)
        signal.signal(signal.SIGINT, _nothing_more)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)

    def wait(self) -> signal.Signals:
        """Blocks until one has come."""
        return signal.Signals(self._reader.recv(1)[0])


def _nothing_more(number: int, frame: FrameType | None) -> None:
    """The byte says it all."""
