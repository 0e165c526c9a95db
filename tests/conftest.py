"""What all tests share."""

import signal
import socket
from collections.abc import Callable

import pytest
from hypothesis import settings

# The machines that run this are shared and slow at times: a test is right or wrong, not late.
settings.register_profile("elanus", deadline=None, print_blob=True)
settings.load_profile("elanus")

# A shell that runs the suite in the background has it ignore the interrupts that tests send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Gives ports of 127.0.0.1 that nobody listens on at this moment."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    return find
