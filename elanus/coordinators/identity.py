"""The identity coordinator: users, roles, grants and groups of privileges, as documents of the catalogue."""

from collections.abc import Iterable

import msgspec

from elanus.coordinators.catalog_writer import CatalogWriter, now
from elanus.coordinators.passwords import check_stored, hashed, matches
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter
from elanus.model.nouns import Grant, Noun, PrivilegeGroup, Role, User
from elanus.model.privileges import BUILT_IN_GROUPS, PRIVILEGES, check_known, level_of
from elanus.roles.identity import IdentityBackup
from elanus.storage import codec, keys
from elanus.storage.meta import Absent, Compare

ROOT = "root"
ADMIN, PUBLIC = "admin", "public"
BUILT_IN_ROLES = (ADMIN, PUBLIC)


class IdentityLimits(msgspec.Struct, frozen=True, kw_only=True):
    max_users: int
    max_roles: int


class LocalIdentityCoordinator:
    """`roles.IdentityCoordinator` in this process."""

    def __init__(self, writer: CatalogWriter, root_password: str, limits: IdentityLimits) -> None:
        self._writer = writer
        self._catalog = writer.catalog
        self._root_password = root_password
        self._limits = limits

    def start(self) -> None:
        """Makes the built-in user and roles where the data is new."""
        with self._writer.lock:
            puts: dict[str, bytes] = {}
            if self._catalog.user(ROOT) is None:
                user = User(name=ROOT, password=hashed(self._root_password), created_ts=now())
                puts[keys.user(ROOT)] = codec.encode(user)
            for name in BUILT_IN_ROLES:
                if self._catalog.role(name) is None:
                    puts[keys.role(name)] = codec.encode(Role(name=name, created_ts=now()))
            if puts:
                self._writer.change([Absent(key) for key in puts], puts)

    # users

    def create_user(self, name: str, password: str, description: str) -> None:
        stored = hashed(password)
        with self._writer.lock:
            self._check_new_user(name)
            self._check_room("users", len(self._catalog.users()), self._limits.max_users)
            user = User(name=name, password=stored, description=description, created_ts=now())
            self._writer.change([Absent(keys.user(name))], {keys.user(name): codec.encode(user)})

    def update_password(self, name: str, old: str, new: str) -> None:
        with self._writer.lock:
            user = self._user(name)
            if not matches(old, user.password):
                raise ElanusError(
                    f"the old password of user {name!r} is not the one given",
                    Code.PRIVILEGE_NOT_AUTHENTICATED,
                )
            self._put(keys.user(name), msgspec.structs.replace(user, password=hashed(new)))

    def drop_user(self, name: str) -> None:
        if name == ROOT:
            raise ElanusError(f"the user {ROOT!r} cannot be dropped", Code.PRIVILEGE_NOT_PERMITTED)
        with self._writer.lock:
            if self._catalog.user(name) is not None:
                self._writer.change([], {}, [keys.user(name)])

    # roles

    def create_role(self, name: str, description: str) -> None:
        with self._writer.lock:
            self._check_new_role(name)
            made = len(self._catalog.roles()) - len(BUILT_IN_ROLES)
            self._check_room("roles", made, self._limits.max_roles)
            role = Role(name=name, description=description, created_ts=now())
            self._writer.change([Absent(keys.role(name))], {keys.role(name): codec.encode(role)})

    def drop_role(self, name: str, force: bool) -> None:
        if name in BUILT_IN_ROLES:
            raise ElanusError(
                f"the role {name!r} is built in and cannot be dropped", Code.PRIVILEGE_NOT_PERMITTED
            )
        with self._writer.lock:
            role = self._role(name)
            if role.grants and not force:
                raise InvalidParameter(
                    f"role {name!r} has {len(role.grants)} grants; revoke them or drop it with force_drop"
                )
            users = {
                keys.user(u.name): codec.encode(_without_role(u, name))
                for u in self._catalog.users()
                if name in u.roles
            }
            self._writer.change([], users, [keys.role(name)])

    def assign_role(self, user: str, role: str) -> None:
        with self._writer.lock:
            found = self._user(user)
            self._role(role)
            if role not in found.roles:
                self._put(keys.user(user), msgspec.structs.replace(found, roles=(*found.roles, role)))

    def withdraw_role(self, user: str, role: str) -> None:
        with self._writer.lock:
            found = self._user(user)
            self._role(role)
            if role in found.roles:
                self._put(keys.user(user), _without_role(found, role))

    # grants

    def grant(self, role: str, grant: Grant) -> None:
        with self._writer.lock:
            found = self._role(role)
            check_known(grant.privilege, self._groups())
            if not any(grant.same(g) for g in found.grants):
                self._put(keys.role(role), msgspec.structs.replace(found, grants=(*found.grants, grant)))

    def revoke(self, role: str, grant: Grant) -> None:
        with self._writer.lock:
            found = self._role(role)
            left = tuple(g for g in found.grants if not grant.same(g))
            if left != found.grants:
                self._put(keys.role(role), msgspec.structs.replace(found, grants=left))

    # groups of privileges

    def create_group(self, name: str) -> None:
        with self._writer.lock:
            self._check_new_group(name)
            group = PrivilegeGroup(name=name)
            key = keys.privilege_group(name)
            self._writer.change([Absent(key)], {key: codec.encode(group)})

    def drop_group(self, name: str) -> None:
        """Nothing where there is no such group, as in Milvus."""
        with self._writer.lock:
            if name in BUILT_IN_GROUPS:
                raise InvalidParameter(f"the privilege group {name!r} is built in and cannot be dropped")
            holders = [r.name for r in self._catalog.roles() if any(g.privilege == name for g in r.grants)]
            if holders:
                raise InvalidParameter(
                    f"the privilege group {name!r} is granted to {', '.join(holders)}; revoke it first"
                )
            if self._catalog.privilege_group(name) is not None:
                self._writer.change([], {}, [keys.privilege_group(name)])

    def add_to_group(self, name: str, privileges: list[str]) -> None:
        with self._writer.lock:
            group = self._group(name)
            wanted = tuple(dict.fromkeys((*group.privileges, *privileges)))
            self._check_levels(name, wanted)
            self._put(keys.privilege_group(name), msgspec.structs.replace(group, privileges=wanted))

    def remove_from_group(self, name: str, privileges: list[str]) -> None:
        with self._writer.lock:
            group = self._group(name)
            left = tuple(p for p in group.privileges if p not in privileges)
            self._put(keys.privilege_group(name), msgspec.structs.replace(group, privileges=left))

    def _check_levels(self, name: str, privileges: Iterable[str]) -> None:
        levels: dict[str, str] = {}
        for privilege in privileges:
            if privilege not in PRIVILEGES:
                raise InvalidParameter(
                    f"{privilege!r} is not a privilege; the privilege group {name!r} can only hold privileges"
                )
            levels.setdefault(str(level_of(privilege)), privilege)
        if len(levels) > 1:
            found = ", ".join(f"{privilege} ({level})" for level, privilege in levels.items())
            raise InvalidParameter(
                f"the privileges of group {name!r} would be of several levels: {found}; choose one"
            )

    # backup

    def backup(self) -> IdentityBackup:
        return IdentityBackup(
            users=tuple(self._catalog.users()),
            roles=tuple(self._catalog.roles()),
            groups=tuple(self._catalog.privilege_groups()),
        )

    def restore(self, backup: IdentityBackup) -> None:
        with self._writer.lock:
            users = [u for u in backup.users if u.name != ROOT]
            roles = [r for r in backup.roles if r.name not in BUILT_IN_ROLES]
            for user in users:
                self._check_new_user(user.name)
                check_stored(user.password)
            for role in roles:
                self._check_new_role(role.name)
            for group in backup.groups:
                self._check_new_group(group.name)
                self._check_levels(group.name, group.privileges)
            self._check_restored(users, backup)
            self._check_room("users", len(self._catalog.users()) + len(users) - 1, self._limits.max_users)
            made = len(self._catalog.roles()) - len(BUILT_IN_ROLES)
            self._check_room("roles", made + len(roles) - 1, self._limits.max_roles)
            puts = {keys.user(u.name): codec.encode(u) for u in users}
            puts |= {keys.role(r.name): codec.encode(r) for r in roles}
            puts |= {keys.privilege_group(g.name): codec.encode(g) for g in backup.groups}
            self._writer.change([Absent(key) for key in puts], puts | self._built_in_grants(backup))

    def _check_restored(self, users: list[User], backup: IdentityBackup) -> None:
        """What the backup refers to is in it or here."""
        roles = {r.name for r in (*backup.roles, *self._catalog.roles())}
        for user in users:
            for role in user.roles:
                if role not in roles:
                    raise _no_role(role)
        groups = frozenset(g.name for g in backup.groups) | self._groups()
        for restored in backup.roles:
            for grant in restored.grants:
                check_known(grant.privilege, groups)

    def _built_in_grants(self, backup: IdentityBackup) -> dict[str, bytes]:
        """Grants of admin and public are added to what these have."""
        puts = {}
        for restored in (r for r in backup.roles if r.name in BUILT_IN_ROLES and r.grants):
            here = self._role(restored.name)
            fresh = tuple(g for g in restored.grants if not any(g.same(h) for h in here.grants))
            both = msgspec.structs.replace(here, grants=(*here.grants, *fresh))
            puts[keys.role(here.name)] = codec.encode(both)
        return puts

    # shared

    def _put(self, key: str, noun: Noun) -> None:
        compares: list[Compare | Absent] = [Compare(key, self._catalog.revision_of(key))]
        self._writer.change(compares, {key: codec.encode(noun)})

    def _check_room(self, what: str, count: int, most: int) -> None:
        if count >= most:
            raise InvalidParameter(f"there are {count} {what}, at most {most} are allowed; drop one first")

    def _check_new_user(self, name: str) -> None:
        if self._catalog.user(name) is not None:
            raise InvalidParameter(f"user {name!r} exists already")

    def _check_new_role(self, name: str) -> None:
        if self._catalog.role(name) is not None:
            raise InvalidParameter(f"role {name!r} exists already")

    def _check_new_group(self, name: str) -> None:
        if name in BUILT_IN_GROUPS or name in PRIVILEGES or self._catalog.privilege_group(name) is not None:
            raise InvalidParameter(
                f"a privilege or privilege group {name!r} exists already; choose another name"
            )

    def _user(self, name: str) -> User:
        found = self._catalog.user(name)
        if found is None:
            raise InvalidParameter(f"user {name!r} does not exist")
        return found

    def _role(self, name: str) -> Role:
        found = self._catalog.role(name)
        if found is None:
            raise _no_role(name)
        return found

    def _group(self, name: str) -> PrivilegeGroup:
        if name in BUILT_IN_GROUPS:
            raise InvalidParameter(f"the privilege group {name!r} is built in and cannot be altered")
        found = self._catalog.privilege_group(name)
        if found is None:
            raise InvalidParameter(f"there is no privilege group {name!r}; create it first")
        return found

    def _groups(self) -> frozenset[str]:
        return frozenset(g.name for g in self._catalog.privilege_groups())


def _without_role(user: User, role: str) -> User:
    return msgspec.structs.replace(user, roles=tuple(r for r in user.roles if r != role))


def _no_role(name: str) -> InvalidParameter:
    return InvalidParameter(f"role {name!r} does not exist; create it first")
