"""Stands where pymilvus looks for milvus-lite, so that `MilvusClient("./demo.db")` opens elanus."""

import os
import sys
import threading
from types import ModuleType

from elanus.lite.embedded import resolve
from elanus.lite.target import target_of

_PACKAGE = "milvus_lite"
_MODULE = "milvus_lite.server_manager"
_lock = threading.Lock()
_hidden: dict[str, ModuleType | None] | None = None


class ServerManager:
    """The part of milvus-lite's that pymilvus calls."""

    def start_and_get_uri(self, path: str | os.PathLike[str], args: object = None) -> str:
        return target_of(resolve(path))


def install() -> None:
    """Put the shim into `sys.modules`, over milvus-lite if it is there. Idempotent."""
    global _hidden  # what sys.modules held is as global as sys.modules
    with _lock:
        if _hidden is not None:
            return
        package, module = ModuleType(_PACKAGE), ModuleType(_MODULE)
        package.__path__ = []
        package.server_manager = module  # type: ignore[attr-defined]  # a module made here
        module.server_manager_instance = ServerManager()  # type: ignore[attr-defined]  # a module made here
        _hidden = {name: sys.modules.get(name) for name in (_PACKAGE, _MODULE)}
        sys.modules.update({_PACKAGE: package, _MODULE: module})


def uninstall() -> None:
    """Take the shim out and put back what it hid. Idempotent."""
    global _hidden
    with _lock:
        for name, module in (_hidden or {}).items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        _hidden = None
