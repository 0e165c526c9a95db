"""The process that a system lives in, or whose client it is. Does what the harness says, one call at a time.

usage: python -m benchmarks.host SYSTEM FILE_DESCRIPTOR

Ends, and with it the server it started, when the harness does, also in the middle of a call.
"""

import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.model import Unsupported
from benchmarks.system import System
from benchmarks.systems import system_class

WATCH_SECONDS = 1.0

# Any below: arguments and results of whatever method is called.


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    system = system_class(sys.argv[1])()
    threading.Thread(target=end_with, args=(os.getppid(), system), daemon=True).start()
    connection: Connection[Any, Any] = Connection(int(sys.argv[2]))
    try:
        while True:
            method, arguments = connection.recv()
            try:
                answer: tuple[str, Any] = ("done", getattr(system, method)(*arguments))
            except Unsupported as error:
                answer = ("unsupported", str(error))
            except Exception as error:  # noqa: BLE001 - it belongs to the harness
                traceback.print_exc()
                answer = ("failed", f"{type(error).__name__}: {error}")
            connection.send(answer)
    except (EOFError, OSError):
        system.kill()


def end_with(harness: int, system: System) -> None:
    while os.getppid() == harness:
        time.sleep(WATCH_SECONDS)
    system.kill()
    os.killpg(0, signal.SIGKILL)  # its clients too


if __name__ == "__main__":
    main()
