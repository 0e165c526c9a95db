"""The wall clock of this process, which can be put forward."""

import time

_now, _now_ns = time.time, time.time_ns


class Clock:
    """Takes the place of `time.time` and `time.time_ns`, for everyone, while it is `installed`."""

    def __init__(self) -> None:
        self.ahead = 0
        """Seconds."""

    def time(self) -> float:
        return _now() + self.ahead

    def time_ns(self) -> int:
        return _now_ns() + self.ahead * 1_000_000_000

    def install(self) -> None:
        time.time, time.time_ns = self.time, self.time_ns

    def uninstall(self) -> None:
        time.time, time.time_ns = _now, _now_ns
