"""What asks a process to end is heard whichever thread the kernel hands it to."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, threading, time
from elanus.runtime.signals import EndSignals

end = EndSignals()

def send():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.{name})

threading.Thread(target=send).start()
print(end.wait().name)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_that_another_thread_receives_wakes_the_main_thread(name: str) -> None:
    command = [sys.executable, "-c", WAITS.format(name=name)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=20).stdout == f"{name}\n"


def test_a_signal_that_came_before_the_wait_is_not_lost() -> None:
    program = "import signal\nfrom elanus.runtime.signals import EndSignals\nend = EndSignals()\n"
    program += "signal.raise_signal(signal.SIGTERM)\nprint(end.wait().value)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert ran.stdout == f"{signal.SIGTERM.value}\n"
