"""The object store in memory, for tests and for what need not last."""

from obstore.store import MemoryStore

from elanus.storage.objects.obstore import ObstoreObjectStore


class MemoryObjectStore(ObstoreObjectStore):
    """An `ObjectStore` that ends with the process."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())
