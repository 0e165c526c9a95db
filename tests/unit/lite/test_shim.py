"""`install` takes milvus-lite's place in pymilvus for as long as it is asked to, and nothing else's."""

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from elanus.lite import binding, shim
from elanus.lite.target import path_of


@pytest.fixture(autouse=True)
def shim_out() -> Iterator[None]:
    yield
    shim.uninstall()


def server_manager() -> Any:
    """What pymilvus imports to open a `.db` path."""
    return import_module("milvus_lite.server_manager").server_manager_instance


def test_a_db_path_becomes_an_address_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shim.install()
    shim.install()
    assert path_of(server_manager().start_and_get_uri("./demo.db")) == tmp_path.resolve() / "demo.db"


def test_uninstalling_puts_back_a_milvus_lite_that_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("milvus_lite"), ModuleType("milvus_lite.server_manager")
    monkeypatch.setitem(sys.modules, "milvus_lite", package)
    monkeypatch.setitem(sys.modules, "milvus_lite.server_manager", module)
    shim.install()
    assert sys.modules["milvus_lite.server_manager"] is not module
    shim.uninstall()
    shim.uninstall()
    assert sys.modules["milvus_lite"] is package
    assert sys.modules["milvus_lite.server_manager"] is module


def test_uninstalling_leaves_nothing_where_nothing_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "milvus_lite", raising=False)
    monkeypatch.delitem(sys.modules, "milvus_lite.server_manager", raising=False)
    shim.install()
    shim.uninstall()
    assert not {"milvus_lite", "milvus_lite.server_manager"} & sys.modules.keys()


def test_other_addresses_get_the_channel_of_grpc_as_it_is_at_that_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pymilvus")
    binding.bind()
    binding.bind()
    handlers = import_module("pymilvus.client.grpc_handler")
    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(grpc, "insecure_channel", lambda *args, **kwargs: seen.append((args, kwargs)))
    handlers.grpc.insecure_channel("localhost:19530", options=[("a", 1)])
    assert seen == [(("localhost:19530",), {"options": [("a", 1)]})]
    assert handlers.grpc.RpcError is grpc.RpcError
    assert grpc.insecure_channel is not handlers.grpc.insecure_channel


def test_asyncio_channels_to_other_addresses_are_those_of_grpc(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pymilvus")
    binding.bind()
    handlers = import_module("pymilvus.client.async_grpc_handler")
    monkeypatch.setattr(grpc.aio, "insecure_channel", lambda target, **_: f"real {target}")
    assert handlers.grpc.aio.insecure_channel("localhost:19530") == "real localhost:19530"
    assert handlers.grpc.aio.AioRpcError is grpc.aio.AioRpcError


def test_without_pymilvus_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from elanus import lite

    monkeypatch.setitem(sys.modules, "pymilvus", None)
    for use in (lite.connect, lite.async_connect, lite.uri):
        with pytest.raises(ImportError, match="pip install pymilvus"):
            use("/nowhere")
    with pytest.raises(ImportError, match="pip install pymilvus"):
        lite.install()
