"""Roles: create, drop, who has them, what is granted to them; groups of privileges; backup of all that."""

import base64
import binascii
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.errors import InvalidParameter, MissingParameter
from elanus.model.limits import Limits
from elanus.model.nouns import Grant, PrivilegeGroup, Role, User
from elanus.model.privileges import ANY, object_type
from elanus.roles.identity import IdentityBackup

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.

_ROOT = "root"
"""Who grants where nobody logged in."""
_GRANT, _REVOKE = 0, 1
"""`OperatePrivilegeType`; the other operations count alike."""


class Roles:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._identities = proxy.identities
        self._coordinator = proxy.identities.coordinator
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        check_name("role", request.entity.name, self._limits)
        description = len(request.entity.description.encode())
        if description > self._limits.role_description_length:
            raise InvalidParameter(
                f"the description of role {request.entity.name!r} has {description} bytes; "
                f"at most {self._limits.role_description_length} are allowed"
            )
        self._coordinator.create_role(request.entity.name, request.entity.description)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        check_name("role", request.role_name, self._limits)
        self._coordinator.drop_role(request.role_name, request.force_drop)
        return success()

    def operate_user(self, call: Call, request: Any) -> Any:
        check_name("user", request.username, self._limits)
        check_name("role", request.role_name, self._limits)
        operate = _choose(request.type, self._coordinator.assign_role, self._coordinator.withdraw_role)
        operate(request.username, request.role_name)
        return success()

    def select(self, call: Call, request: Any) -> Any:
        """All where no role is named; none where that one does not exist."""
        if request.HasField("role"):
            check_name("role", request.role.name, self._limits)
            one = self._identities.role(request.role.name)
            found = [one] if one else []
        else:
            found = self._identities.roles()
        return messages.SelectRoleResponse(
            results=[
                messages.RoleResult(
                    role=_role(r),
                    users=[messages.UserEntity(name=u.name) for u in self._identities.users_of(r.name)]
                    if request.include_user_info
                    else [],
                )
                for r in found
            ]
        )

    # grants

    def operate_privilege(self, call: Call, request: Any) -> Any:
        entity = request.entity
        check_name("role", entity.role.name, self._limits)
        kind = object_type(entity.object.name)
        self._identities.check_grant(_named(entity.grantor.privilege.name), kind)
        if entity.object_name != ANY:
            check_name("object", entity.object_name, self._limits)
        grant = Grant(
            object=kind,
            object_name=entity.object_name,
            privilege=entity.grantor.privilege.name,
            database=entity.db_name or call.database,
            grantor=_user(call),
        )
        self._operate(request.type, entity.role.name, grant)
        return success()

    def operate_privilege_v2(self, call: Call, request: Any) -> Any:
        check_name("role", request.role.name, self._limits)
        if request.collection_name not in ("", ANY):
            check_name("collection", request.collection_name, self._limits)
        if request.db_name not in ("", ANY):
            check_name("database", request.db_name, self._limits)
        grant = self._identities.grant_by_name(
            _named(request.grantor.privilege.name), request.collection_name, call.database, _user(call)
        )
        self._operate(request.type, request.role.name, grant)
        return success()

    def _operate(self, type: int, role: str, grant: Grant) -> None:
        _choose(type, self._coordinator.grant, self._coordinator.revoke)(role, grant)

    def select_grant(self, call: Call, request: Any) -> Any:
        """What a role may, in a database or any; of one object where that is named."""
        entity = request.entity
        check_name("role", entity.role.name, self._limits)
        role = self._identities.role(entity.role.name)
        if role is None:
            raise InvalidParameter(f"role {entity.role.name!r} does not exist; create it first")
        database = entity.db_name or call.database
        kind = object_type(entity.object.name) if entity.object.name else None
        return messages.SelectGrantResponse(
            entities=[
                _grant(role.name, g)
                for g in role.grants
                if ANY in (database, g.database) or g.database == database
                if kind is None or (g.object == kind and g.object_name == entity.object_name)
            ]
        )

    # groups of privileges

    def create_group(self, call: Call, request: Any) -> Any:
        check_name("privilege group", request.group_name, self._limits)
        self._coordinator.create_group(request.group_name)
        return success()

    def drop_group(self, call: Call, request: Any) -> Any:
        check_name("privilege group", request.group_name, self._limits)
        self._coordinator.drop_group(request.group_name)
        return success()

    def operate_group(self, call: Call, request: Any) -> Any:
        check_name("privilege group", request.group_name, self._limits)
        operate = _choose(request.type, self._coordinator.add_to_group, self._coordinator.remove_from_group)
        operate(request.group_name, [_named(p.name) for p in request.privileges])
        return success()

    def list_groups(self, call: Call, request: Any) -> Any:
        return messages.ListPrivilegeGroupsResponse(
            privilege_groups=[_group(g) for g in self._identities.groups()]
        )

    # backup

    def backup(self, call: Call, request: Any) -> Any:
        saved = self._coordinator.backup()
        meta = messages.RBACMeta(
            users=[
                messages.UserInfo(
                    user=u.name,
                    password=u.password,
                    roles=[messages.RoleEntity(name=r) for r in u.roles],
                )
                for u in saved.users
            ],
            roles=[_role(r) for r in saved.roles],
            grants=[_grant(r.name, g) for r in saved.roles for g in r.grants],
            privilege_groups=[_group(g) for g in saved.groups],
        )
        return messages.BackupRBACMetaResponse(RBAC_meta=meta)

    def restore(self, call: Call, request: Any) -> Any:
        self._coordinator.restore(self._backup_of(request.RBAC_meta))
        return success()

    def _backup_of(self, meta: Any) -> IdentityBackup:
        grants: dict[str, list[Grant]] = {role.name: [] for role in meta.roles}
        for entity in meta.grants:
            grants.setdefault(entity.role.name, []).append(
                Grant(
                    object=object_type(entity.object.name),
                    object_name=entity.object_name,
                    privilege=entity.grantor.privilege.name,
                    database=entity.db_name,
                    grantor=entity.grantor.user.name,
                )
            )
        described = {role.name: role.description for role in meta.roles}
        for name in grants:
            check_name("role", name, self._limits)
        for user in meta.users:
            check_name("user", user.user, self._limits)
        for group in meta.privilege_groups:
            check_name("privilege group", group.group_name, self._limits)
        return IdentityBackup(
            users=tuple(
                User(name=u.user, password=u.password, roles=tuple(r.name for r in u.roles))
                for u in meta.users
            ),
            roles=tuple(
                Role(name=name, description=described.get(name, ""), grants=tuple(found))
                for name, found in grants.items()
            ),
            groups=tuple(
                PrivilegeGroup(name=g.group_name, privileges=tuple(p.name for p in g.privileges))
                for g in meta.privilege_groups
            ),
        )


def _choose(type: int, first: Callable[..., None], second: Callable[..., None]) -> Callable[..., None]:
    """Raises InvalidParameter where the operation is neither."""
    if type not in (_GRANT, _REVOKE):
        raise InvalidParameter(f"the operation is {type}; it must be 0 (add) or 1 (remove)")
    return first if type == _GRANT else second


def _named(privilege: str) -> str:
    if not privilege:
        raise MissingParameter("the privilege is empty; name one, such as Search")
    return privilege


def _user(call: Call) -> str:
    """Who makes the call; its right to is judged elsewhere."""
    token = call.metadata.get("authorization", "")
    try:
        name, colon, _ = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return _ROOT
    return name if colon and name else _ROOT


def _role(role: Role) -> Any:
    return messages.RoleEntity(name=role.name, description=role.description)


def _group(group: PrivilegeGroup) -> Any:
    return messages.PrivilegeGroupInfo(
        group_name=group.name, privileges=[messages.PrivilegeEntity(name=p) for p in group.privileges]
    )


def _grant(role: str, grant: Grant) -> Any:
    return messages.GrantEntity(
        role=messages.RoleEntity(name=role),
        object=messages.ObjectEntity(name=grant.object),
        object_name=grant.object_name,
        grantor=messages.GrantorEntity(
            user=messages.UserEntity(name=grant.grantor),
            privilege=messages.PrivilegeEntity(name=grant.privilege),
        ),
        db_name=grant.database,
    )
