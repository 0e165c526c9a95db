"""What coordinators ask of a proxy."""

from typing import Protocol


class ProxyControl(Protocol):
    def confirm(self, revision: int, timeout_seconds: float) -> None:
        """Returns once the proxy follows the catalogue's `revision` and every write that it began under an
        older one has ended (rule 13). Raises DeadlineExceeded."""
