"""elanus as a library: pymilvus' clients on a directory, served in this process.

    from elanus import lite

    with lite.connect("./demo") as client:
        client.create_collection("notes", dimension=384)

The instance of a directory opens with the first client in this process that uses it, and closes with the last
one or when the interpreter exits. Clients of one process share it; another process is refused with an error
that names the one that has it.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymilvus import AsyncMilvusClient, MilvusClient

__all__ = ["async_connect", "connect", "install", "uninstall", "uri"]

# pymilvus, grpc and the engine are imported by the functions, so that importing this costs nothing.


def connect(
    path: str | os.PathLike[str],
    *,
    db_name: str = "",
    timeout: float | None = None,
    **settings: bool | int | float | str,
) -> "MilvusClient":
    """A `pymilvus.MilvusClient` on the data directory `path`; a context manager.

    The directory is created if it does not exist. `timeout`: seconds for connecting. `settings`: keys of the
    configuration, in force from the opening of the directory on. Raises DirectoryInUseError if another
    process has the directory open, InvalidParameter if this one has it open with other settings, ImportError
    if pymilvus is missing.
    """
    from elanus.lite.binding import bind
    from elanus.lite.embedded import embedded, resolve

    bind()
    from elanus.lite.clients import LiteClient

    directory = resolve(path)
    embedded.configure(directory, settings)
    return LiteClient(directory, db_name=db_name, timeout=timeout)


def async_connect(
    path: str | os.PathLike[str],
    *,
    db_name: str = "",
    timeout: float | None = None,
    **settings: bool | int | float | str,
) -> "AsyncMilvusClient":
    """A `pymilvus.AsyncMilvusClient` on the data directory `path`; an asynchronous context manager.

    Opens the directory at once, on this thread; arguments and errors are those of `connect`.
    """
    from elanus.lite.binding import bind
    from elanus.lite.embedded import embedded, resolve

    bind()
    from elanus.lite.clients import open_async_client

    directory = resolve(path)
    embedded.configure(directory, settings)
    return open_async_client(directory, db_name=db_name, timeout=timeout)


def uri(path: str | os.PathLike[str], **settings: bool | int | float | str) -> str:
    """The address of a data directory in this process, for `connections.connect(uri=lite.uri(path))`.

    The directory is opened when a connection to it is made, and closed with the last connection. `settings`
    and errors are those of `connect`.
    """
    from elanus.lite.binding import bind
    from elanus.lite.embedded import embedded, resolve
    from elanus.lite.target import target_of

    bind()
    directory = resolve(path)
    embedded.configure(directory, settings)
    return target_of(directory)


def install() -> None:
    """Let pymilvus' own `MilvusClient("./demo.db")`, hence LangChain and LlamaIndex, open elanus.

    `./demo.db` becomes a directory. It applies to this process, in place of milvus-lite if that is installed,
    until `uninstall`. Raises ImportError if pymilvus is missing.
    """
    from elanus.lite import shim
    from elanus.lite.binding import bind

    bind()
    shim.install()


def uninstall() -> None:
    """Give `.db` paths back to milvus-lite. Clients that are open go on with elanus."""
    from elanus.lite import shim

    shim.uninstall()
