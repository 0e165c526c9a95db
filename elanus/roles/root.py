"""The root coordinator: names, schemas, ids, DDL."""

from typing import Protocol

from elanus.model.nouns import Collection, Database, Partition
from elanus.model.schema import Schema
from elanus.model.types import ConsistencyLevel


class RootCoordinator(Protocol):
    """Every method returns when all live proxies follow the change (rule 13)."""

    def create_database(self, name: str, properties: dict[str, str]) -> Database: ...
    def alter_database(self, name: str, properties: dict[str, str], delete_keys: list[str]) -> Database: ...
    def drop_database(self, name: str) -> None: ...

    def create_collection(
        self,
        database: str,
        name: str,
        schema: Schema,
        shards: int,
        partitions: list[str],
        consistency_level: ConsistencyLevel,
        properties: dict[str, str],
    ) -> Collection:
        """The existing collection where it is the same in every respect (as Milvus does), else an error."""

    def drop_collection(self, database: str, name: str) -> None: ...
    def create_partition(self, collection_id: int, name: str) -> Partition: ...
    def drop_partition(self, collection_id: int, name: str) -> None: ...
