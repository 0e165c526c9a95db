"""Users, roles, grants and groups of privileges."""

from typing import Protocol

import msgspec

from elanus.model.nouns import Grant, PrivilegeGroup, Role, User


class IdentityBackup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there is of users and roles, passwords as their hashes."""

    users: tuple[User, ...]
    roles: tuple[Role, ...]
    groups: tuple[PrivilegeGroup, ...]


class IdentityCoordinator(Protocol):
    """Every method that changes something returns when all live proxies follow (rule 13)."""

    def create_user(self, name: str, password: str, description: str) -> None: ...
    def update_password(self, name: str, old: str, new: str) -> None: ...

    def drop_user(self, name: str) -> None:
        """Nothing where there is no such user, as in Milvus."""

    def create_role(self, name: str, description: str) -> None: ...

    def drop_role(self, name: str, force: bool) -> None:
        """Only a forced one drops a role that has grants."""

    def assign_role(self, user: str, role: str) -> None: ...
    def withdraw_role(self, user: str, role: str) -> None: ...
    def grant(self, role: str, grant: Grant) -> None: ...
    def revoke(self, role: str, grant: Grant) -> None: ...
    def create_group(self, name: str) -> None: ...
    def drop_group(self, name: str) -> None: ...
    def add_to_group(self, name: str, privileges: list[str]) -> None: ...
    def remove_from_group(self, name: str, privileges: list[str]) -> None: ...
    def backup(self) -> IdentityBackup: ...

    def restore(self, backup: IdentityBackup) -> None:
        """All or nothing; what is in it must not exist yet."""
