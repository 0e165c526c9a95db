"""Users: create, change their password, drop, list, and what roles they have."""

import base64
import binascii
from typing import TYPE_CHECKING, Any

from elanus.access.calls import Call
from elanus.access.protocol import messages
from elanus.access.translate.statuses import success
from elanus.access.validation import check_name
from elanus.model.errors import InvalidParameter
from elanus.model.limits import Limits
from elanus.model.nouns import User

if TYPE_CHECKING:
    from elanus.access.proxy import Proxy

# Any below: protobuf messages of the private pool have no static types.


class Users:
    def __init__(self, proxy: "Proxy", limits: Limits) -> None:
        self._identities = proxy.identities
        self._limits = limits

    def create(self, call: Call, request: Any) -> Any:
        check_name("user", request.username, self._limits)
        description = len(request.description.encode())
        if description > self._limits.user_description_length:
            raise InvalidParameter(
                f"the description of user {request.username!r} has {description} bytes; "
                f"at most {self._limits.user_description_length} are allowed"
            )
        password = self._new_password(request.password)
        self._identities.coordinator.create_user(request.username, password, request.description)
        return success()

    def update(self, call: Call, request: Any) -> Any:
        old = _decoded(request.oldPassword)
        new = self._new_password(request.newPassword)
        self._identities.coordinator.update_password(request.username, old, new)
        return success()

    def drop(self, call: Call, request: Any) -> Any:
        self._identities.coordinator.drop_user(request.username)
        return success()

    def list(self, call: Call, request: Any) -> Any:
        return messages.ListCredUsersResponse(usernames=[u.name for u in self._identities.users()])

    def select(self, call: Call, request: Any) -> Any:
        """Everybody where no user is named; nobody where that one does not exist."""
        if request.HasField("user"):
            check_name("user", request.user.name, self._limits)
            one = self._identities.user(request.user.name)
            found = [one] if one else []
        else:
            found = self._identities.users()
        return messages.SelectUserResponse(results=[_result(u, request.include_role_info) for u in found])

    def _new_password(self, encoded: str) -> str:
        password = _decoded(encoded)
        least, most = self._limits.shortest_password, self._limits.longest_password
        if not least <= len(password.encode()) <= most:
            raise InvalidParameter(
                f"the password has {len(password.encode())} bytes; it must have at least {least} "
                f"and at most {most}"
            )
        return password


def _decoded(encoded: str) -> str:
    """Passwords travel in base64."""
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidParameter("the password is not UTF-8 text in base64, as the protocol wants it") from None


def _result(user: User, with_roles: bool) -> Any:
    return messages.UserResult(
        user=messages.UserEntity(name=user.name),
        roles=[messages.RoleEntity(name=r) for r in user.roles] if with_roles else [],
        description=user.description,
    )
