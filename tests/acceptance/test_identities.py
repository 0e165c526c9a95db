"""Users, roles, grants and groups of privileges, through MilvusClient."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("pymilvus")

from pymilvus import MilvusException


def code_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> int:
    with pytest.raises(MilvusException) as caught:
        call(*arguments, **named)
    return int(caught.value.code)


def grants(client: Any, role: str) -> list[tuple[str, str, str, str]]:
    found = client.describe_role(role)["privileges"]
    return [(g["object_type"], g["object_name"], g["db_name"], g["privilege"]) for g in found]


def test_users_come_and_go(client: Any) -> None:
    assert client.list_users() == ["root"]
    client.create_user("ann", "Passw0rd!")
    assert client.list_users() == ["ann", "root"]
    client.update_password("ann", "Passw0rd!", "N3wPassword")
    assert code_of(client.update_password, "ann", "Passw0rd!", "other0ne") == 1400
    client.drop_user("ann")
    client.drop_user("ann")
    assert client.describe_user("ann") == {}
    assert code_of(client.drop_user, "root") == 1401


@pytest.mark.parametrize(
    ("name", "password"),
    [("1x", "Passw0rd"), ("a b", "Passw0rd"), ("x" * 33, "Passw0rd"), ("x", "short"), ("x", "y" * 73)],
)
def test_names_and_passwords_have_limits(client: Any, name: str, password: str) -> None:
    assert code_of(client.create_user, name, password) == 1100


def test_roles_are_given_and_taken(client: Any) -> None:
    assert client.list_roles() == ["admin", "public"]
    client.create_user("ann", "Passw0rd!")
    client.create_role("reader")
    client.grant_role("ann", "reader")
    client.grant_role("ann", "reader")
    assert client.describe_user("ann")["roles"] == ("reader",)
    client.revoke_role("ann", "reader")
    assert client.describe_user("ann")["roles"] == ()
    assert code_of(client.grant_role, "ann", "nobody") == 1100
    assert code_of(client.create_role, "1x") == 1100
    assert code_of(client.drop_role, "admin") == 1401
    client.drop_role("reader")
    assert client.list_roles() == ["admin", "public"]


def test_privileges_are_granted_by_object_and_by_name(client: Any) -> None:
    client.create_role("reader")
    client.grant_privilege("reader", "Collection", "Search", "notes")
    client.grant_privilege_v2("reader", "CollectionReadOnly", "notes", "default")
    client.grant_privilege_v2("reader", "Insert", "*", "*")
    assert grants(client, "reader") == [
        ("Collection", "notes", "default", "Search"),
        ("Global", "notes", "default", "CollectionReadOnly"),
        ("Collection", "*", "*", "Insert"),
    ]
    assert code_of(client.drop_role, "reader") == 1100
    client.revoke_privilege("reader", "Collection", "Search", "notes")
    client.revoke_privilege_v2("reader", "Insert", "*", "*")
    assert len(grants(client, "reader")) == 1
    assert code_of(client.grant_privilege, "reader", "Collection", "Serach", "*") == 1100
    assert code_of(client.grant_privilege, "reader", "User", "Search", "*") == 1100
    assert code_of(client.grant_privilege, "reader", "Table", "Search", "*") == 1100
    client.drop_role("reader", force_drop=True)


def test_groups_of_privileges_are_granted_like_one(client: Any) -> None:
    client.create_role("reader")
    client.create_privilege_group("mine")
    client.add_privileges_to_group("mine", ["Search", "Query"])
    client.remove_privileges_from_group("mine", ["Query"])
    assert client.list_privilege_groups() == [{"privilege_group": "mine", "privileges": ("Search",)}]
    client.grant_privilege_v2("reader", "mine", "*", "*")
    assert code_of(client.drop_privilege_group, "mine") == 1100
    assert code_of(client.add_privileges_to_group, "mine", ["CreateDatabase"]) == 1100
    assert code_of(client.create_privilege_group, "1x") == 1402
    client.revoke_privilege_v2("reader", "mine", "*", "*")
    client.drop_privilege_group("mine")
    assert client.list_privilege_groups() == []


def test_users_and_roles_outlast_a_restart(client: Any, tmp_path: Any) -> None:
    from elanus import lite

    client.create_user("ann", "Passw0rd!")
    client.create_role("reader")
    client.grant_role("ann", "reader")
    client.grant_privilege("reader", "Collection", "Search", "*")
    client.close()
    with lite.connect(tmp_path / "data") as again:
        assert again.describe_user("ann")["roles"] == ("reader",)
        assert grants(again, "reader") == [("Collection", "*", "default", "Search")]
        again.update_password("ann", "Passw0rd!", "N3wPassword")
