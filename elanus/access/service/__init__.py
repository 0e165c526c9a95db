"""The Milvus gRPC service: one table of handlers for TCP, unix sockets and the in-process channel."""

from elanus.access.service.executors import Executors
from elanus.access.service.system import Identity
from elanus.access.service.table import handlers

__all__ = ["Executors", "Identity", "handlers"]
