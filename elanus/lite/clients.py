"""pymilvus' two clients, each with an embedded instance behind it."""

import asyncio
import itertools
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymilvus import AsyncMilvusClient, MilvusClient

from elanus.lite.binding import close_channels
from elanus.lite.embedded import Lease, embedded
from elanus.lite.target import target_of

try:
    from pymilvus.client import connection_manager as _connection_manager
except ImportError:  # pymilvus before 2.6: every client has its own connection
    _connection_manager = None

_numbers = itertools.count()


def _own_address(path: Path) -> str:
    """An address that no other client has: clients of one address would share a connection."""
    return target_of(path, next(_numbers))


def _own_connection() -> dict[str, Any]:
    """What makes pymilvus close a client's connection with the client."""
    return {} if _connection_manager is None else {"dedicated": True}


class LiteClient(MilvusClient):  # type: ignore[misc]  # pymilvus ships no types
    """A `MilvusClient` on a directory. A context manager; the directory's last client closes it."""

    def __init__(self, path: Path, **arguments: Any) -> None:
        self._address = _own_address(path)
        try:
            super().__init__(self._address, **_own_connection(), **arguments)
        except BaseException:
            close_channels(self._address)
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            close_channels(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncLiteClient(AsyncMilvusClient):  # type: ignore[misc]  # pymilvus ships no types
    """An `AsyncMilvusClient` on a directory. An asynchronous context manager; holds `lease` until closed."""

    def __init__(self, path: Path, lease: Lease, **arguments: Any) -> None:
        self._address = _own_address(path)
        self._lease = lease
        super().__init__(self._address, **_own_connection(), **arguments)

    async def close(self) -> None:
        try:
            await super().close()
        finally:
            await asyncio.to_thread(self._release)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _release(self) -> None:
        close_channels(self._address)
        self._lease.release()


def open_async_client(path: Path, **arguments: Any) -> AsyncLiteClient:
    """Open the directory, then make the client. Raises what opening raises."""
    lease = embedded.acquire(path)
    try:
        return AsyncLiteClient(path, lease, **arguments)
    except BaseException:
        lease.release()
        raise
