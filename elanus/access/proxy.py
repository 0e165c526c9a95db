"""The proxy's operations in terms of `model`: what every front (gRPC, REST, in-process) calls."""

from elanus.access import requests as q
from elanus.model.nouns import Collection, Database


class Proxy:
    """Stateless; safe to call from many threads. Raises `model.errors`. (Interface; being written.)"""

    # databases
    def create_database(self, name: str, properties: dict[str, str]) -> None: raise NotImplementedError
    def drop_database(self, name: str) -> None: raise NotImplementedError
    def databases(self) -> list[Database]: raise NotImplementedError
    def database(self, name: str) -> Database: raise NotImplementedError
    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> None: raise NotImplementedError

    # collections; `name` may be an alias
    def create_collection(self, request: q.CreateCollection) -> None: raise NotImplementedError
    def drop_collection(self, database: str, name: str) -> None: raise NotImplementedError
    def collection(self, database: str, name: str = "", id: int = 0) -> Collection: raise NotImplementedError
    def collections(self, database: str) -> list[Collection]: raise NotImplementedError
    def aliases_of(self, collection: Collection) -> list[str]: raise NotImplementedError
    def row_count(self, database: str, name: str, partition: str = "") -> int: raise NotImplementedError

    # partitions
    def create_partition(self, database: str, collection: str, name: str) -> None: raise NotImplementedError
    def drop_partition(self, database: str, collection: str, name: str) -> None: raise NotImplementedError

    # indexes; field or index name "" = any
    def create_index(self, database: str, collection: str, field: str, name: str, params: dict[str, str]) -> None: raise NotImplementedError
    def indexes(self, database: str, collection: str, field: str = "", name: str = "") -> list[q.IndexState]: raise NotImplementedError
    def drop_index(self, database: str, collection: str, field: str, name: str) -> None: raise NotImplementedError

    # loading; partitions [] = the whole collection
    def load(self, database: str, collection: str, partitions: list[str], replicas: int, fields: list[str], refresh: bool) -> None: raise NotImplementedError
    def release(self, database: str, collection: str, partitions: list[str]) -> None: raise NotImplementedError
    def load_progress(self, database: str, collection: str, partitions: list[str]) -> q.LoadProgress: raise NotImplementedError
    def loaded_partitions(self, database: str, collection: str) -> dict[str, int]:
        """Loaded partition names and their percentage."""
        raise NotImplementedError

    # data
    def insert(self, request: q.Write) -> q.Written: raise NotImplementedError
    def upsert(self, request: q.Write) -> q.Written: raise NotImplementedError
    def delete(self, request: q.Delete) -> q.Written: raise NotImplementedError
    def search(self, request: q.Search) -> q.SearchResult: raise NotImplementedError
    def query(self, request: q.Query) -> q.QueryResult: raise NotImplementedError
    def flush(self, database: str, collections: list[str]) -> dict[str, q.Flushed]: raise NotImplementedError
    def flush_state(self, database: str, collection: str, ts: int) -> bool: raise NotImplementedError

    # service
    def allocate_timestamp(self) -> int: raise NotImplementedError
    def health(self) -> list[str]:
        """Reasons why the service is not healthy; [] when it is."""
        raise NotImplementedError
