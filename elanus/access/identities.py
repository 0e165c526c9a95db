"""Users and roles as a proxy sees them: reads from the catalogue, changes by the identity coordinator."""

from dataclasses import dataclass

from elanus.model.nouns import Grant, PrivilegeGroup, Role, User
from elanus.model.privileges import ANY, ObjectType, check_on_object, object_of
from elanus.roles.identity import IdentityCoordinator
from elanus.storage.catalog import Catalog


@dataclass(frozen=True)
class Identities:
    catalog: Catalog
    coordinator: IdentityCoordinator

    def users(self) -> list[User]:
        return self.catalog.users()

    def user(self, name: str) -> User | None:
        return self.catalog.user(name)

    def roles(self) -> list[Role]:
        return self.catalog.roles()

    def role(self, name: str) -> Role | None:
        return self.catalog.role(name)

    def groups(self) -> list[PrivilegeGroup]:
        return self.catalog.privilege_groups()

    def users_of(self, role: str) -> list[User]:
        return [u for u in self.catalog.users() if role in u.roles]

    def check_grant(self, privilege: str, kind: ObjectType) -> None:
        """Raises InvalidParameter where the privilege cannot be granted on such an object."""
        check_on_object(privilege, kind, frozenset(g.name for g in self.groups()))

    def grant_by_name(self, privilege: str, collection: str, database: str, grantor: str) -> Grant:
        """A grant of the second protocol version, whose object type follows from the privilege."""
        return Grant(
            object=str(object_of(privilege)),
            object_name=collection or ANY,
            privilege=privilege,
            database=database,
            grantor=grantor,
        )
