"""Users, roles, grants and groups, on a real meta store and catalogue."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from elanus.coordinators.catalog_writer import CatalogWriter
from elanus.coordinators.identity import IdentityLimits, LocalIdentityCoordinator
from elanus.coordinators.passwords import hashed, matches
from elanus.coordinators.term import Term
from elanus.model.codes import Code
from elanus.model.errors import ElanusError, InvalidParameter
from elanus.model.nouns import Grant, PrivilegeGroup, Role, User
from elanus.roles.identity import IdentityBackup
from elanus.storage.catalog import Catalog
from elanus.storage.meta.sqlite import SqliteMetaStore

SEARCH = Grant(object="Collection", object_name="*", privilege="Search", database="default", grantor="root")


class Stage:
    """A meta store with an identity coordinator on it."""

    def __init__(self, path: Path) -> None:
        self.meta = SqliteMetaStore(path / "meta.db")
        self.catalog = Catalog(self.meta)
        term = Term.begin(self.meta, "rootcoord", 1, ttl_seconds=60, stop=threading.Event())
        self.revisions: list[int] = []
        writer = CatalogWriter(term, self.catalog, lambda: [self], 5)
        self.identity = LocalIdentityCoordinator(writer, "Milvus", IdentityLimits(max_users=4, max_roles=3))
        self.identity.start()

    def confirm(self, revision: int, timeout_seconds: float) -> None:
        """As a proxy."""
        self.revisions.append(revision)

    def user(self, name: str) -> User:
        found = self.catalog.user(name)
        assert found is not None
        return found

    def role(self, name: str) -> Role:
        found = self.catalog.role(name)
        assert found is not None
        return found


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.catalog.close()
    made.meta.close()


def test_a_new_deployment_has_root_with_its_password_and_the_built_in_roles(stage: Stage) -> None:
    assert [u.name for u in stage.catalog.users()] == ["root"]
    assert matches("Milvus", stage.user("root").password)
    assert [r.name for r in stage.catalog.roles()] == ["admin", "public"]


def test_a_second_start_changes_nothing(stage: Stage) -> None:
    stage.identity.update_password("root", "Milvus", "another one")
    before = stage.user("root")
    stage.identity.start()
    assert stage.user("root") == before


def test_every_change_waits_for_the_proxies(stage: Stage) -> None:
    stage.revisions.clear()
    stage.identity.create_role("reader", "")
    stage.identity.grant("reader", SEARCH)
    stage.identity.create_user("ann", "Passw0rd", "")
    stage.identity.assign_role("ann", "reader")
    assert len(stage.revisions) == 4
    assert stage.revisions[-1] == stage.catalog.revision


def test_only_who_knows_the_old_password_sets_a_new_one(stage: Stage) -> None:
    stage.identity.create_user("ann", "Passw0rd", "")
    with pytest.raises(ElanusError) as caught:
        stage.identity.update_password("ann", "wrong", "N3wone")
    assert caught.value.code is Code.PRIVILEGE_NOT_AUTHENTICATED
    stage.identity.update_password("ann", "Passw0rd", "N3wone")
    assert matches("N3wone", stage.user("ann").password)


def test_names_are_taken_once(stage: Stage) -> None:
    stage.identity.create_user("ann", "Passw0rd", "")
    stage.identity.create_role("reader", "")
    stage.identity.create_group("readers")
    calls: list[Callable[[], None]] = [
        lambda: stage.identity.create_user("ann", "Passw0rd", ""),
        lambda: stage.identity.create_role("reader", ""),
        lambda: stage.identity.create_group("readers"),
        lambda: stage.identity.create_group("CollectionReadOnly"),
        lambda: stage.identity.create_group("Search"),
    ]
    for again in calls:
        with pytest.raises(InvalidParameter, match="exists already"):
            again()


def test_there_are_no_more_users_and_roles_than_allowed(stage: Stage) -> None:
    for number in range(3):
        stage.identity.create_user(f"u{number}", "Passw0rd", "")
        stage.identity.create_role(f"r{number}", "")
    with pytest.raises(InvalidParameter, match="at most 4"):
        stage.identity.create_user("more", "Passw0rd", "")
    with pytest.raises(InvalidParameter, match="at most 3"):
        stage.identity.create_role("more", "")


def test_what_is_built_in_stays(stage: Stage) -> None:
    calls: list[Callable[[], None]] = [
        lambda: stage.identity.drop_user("root"),
        lambda: stage.identity.drop_role("admin", True),
        lambda: stage.identity.drop_role("public", True),
    ]
    for drop in calls:
        with pytest.raises(ElanusError) as caught:
            drop()
        assert caught.value.code is Code.PRIVILEGE_NOT_PERMITTED
    with pytest.raises(InvalidParameter, match="built in"):
        stage.identity.drop_group("ClusterAdmin")
    with pytest.raises(InvalidParameter, match="built in"):
        stage.identity.add_to_group("ClusterAdmin", ["Search"])


def test_a_role_with_grants_is_dropped_by_force_and_taken_from_its_users(stage: Stage) -> None:
    stage.identity.create_user("ann", "Passw0rd", "")
    for name in ("reader", "writer"):
        stage.identity.create_role(name, "")
        stage.identity.assign_role("ann", name)
    stage.identity.grant("reader", SEARCH)
    with pytest.raises(InvalidParameter, match="force_drop"):
        stage.identity.drop_role("reader", False)
    stage.identity.drop_role("reader", True)
    assert stage.user("ann").roles == ("writer",)
    assert stage.catalog.role("reader") is None


def test_a_grant_is_there_once_whoever_grants_it_and_gone_when_it_is_revoked(stage: Stage) -> None:
    stage.identity.create_role("reader", "")
    stage.identity.grant("reader", SEARCH)
    other = Grant(object="Collection", object_name="*", privilege="Search", database="default", grantor="ann")
    stage.identity.grant("reader", other)
    assert stage.role("reader").grants == (SEARCH,)
    stage.identity.revoke("reader", other)
    stage.identity.revoke("reader", other)
    assert stage.role("reader").grants == ()


def test_who_does_not_exist_gets_nothing(stage: Stage) -> None:
    stage.identity.create_user("ann", "Passw0rd", "")
    calls: list[Callable[[], None]] = [
        lambda: stage.identity.assign_role("ann", "nobody"),
        lambda: stage.identity.assign_role("nobody", "admin"),
        lambda: stage.identity.grant("nobody", SEARCH),
        lambda: stage.identity.drop_role("nobody", False),
        lambda: stage.identity.update_password("nobody", "a", "b"),
        lambda: stage.identity.add_to_group("nobody", ["Search"]),
    ]
    for call in calls:
        with pytest.raises(InvalidParameter, match="nobody"):
            call()
    stage.identity.drop_user("nobody")


def test_a_group_holds_privileges_of_one_level(stage: Stage) -> None:
    stage.identity.create_group("mine")
    stage.identity.add_to_group("mine", ["Search", "Query", "Search"])
    with pytest.raises(InvalidParameter, match=r"Search \(Collection\), CreateDatabase \(Cluster\)"):
        stage.identity.add_to_group("mine", ["CreateDatabase"])
    with pytest.raises(InvalidParameter, match="not a privilege"):
        stage.identity.add_to_group("mine", ["CollectionAdmin"])
    stage.identity.remove_from_group("mine", ["Search", "Load"])
    assert stage.catalog.privilege_groups() == [PrivilegeGroup(name="mine", privileges=("Query",))]


def test_a_group_that_is_granted_is_not_dropped(stage: Stage) -> None:
    stage.identity.create_group("mine")
    stage.identity.create_role("reader", "")
    grant = Grant(object="Global", object_name="*", privilege="mine", database="*")
    stage.identity.grant("reader", grant)
    with pytest.raises(InvalidParameter, match="reader"):
        stage.identity.drop_group("mine")
    stage.identity.revoke("reader", grant)
    stage.identity.drop_group("mine")
    with pytest.raises(InvalidParameter, match="no privilege"):
        stage.identity.grant("reader", grant)


def test_a_backup_is_restored_elsewhere_with_passwords_roles_and_grants(stage: Stage, tmp_path: Path) -> None:
    stage.identity.create_user("ann", "Passw0rd", "")
    stage.identity.create_role("reader", "reads")
    stage.identity.create_group("mine")
    stage.identity.add_to_group("mine", ["Search"])
    stage.identity.grant("reader", SEARCH)
    stage.identity.grant("public", SEARCH)
    stage.identity.assign_role("ann", "reader")
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other")
    other.identity.restore(stage.identity.backup())
    assert other.user("ann") == stage.user("ann")
    assert other.role("reader") == stage.role("reader")
    assert other.role("public").grants == (SEARCH,)
    assert other.catalog.privilege_groups() == stage.catalog.privilege_groups()
    with pytest.raises(InvalidParameter, match="exists already"):
        other.identity.restore(stage.identity.backup())


def test_a_backup_that_does_not_fit_changes_nothing(stage: Stage) -> None:
    fits = User(name="ann", password=hashed("Passw0rd"))
    for wrong in (
        IdentityBackup(users=(fits, User(name="bob", password="plain")), roles=(), groups=()),
        IdentityBackup(
            users=(fits, User(name="bob", password=fits.password, roles=("no",))), roles=(), groups=()
        ),
        IdentityBackup(users=(fits,), roles=(Role(name="admin2", grants=(_of("Nope"),)),), groups=()),
        IdentityBackup(users=(fits,), roles=(), groups=(PrivilegeGroup(name="g", privileges=("Nope",)),)),
    ):
        with pytest.raises(InvalidParameter):
            stage.identity.restore(wrong)
        assert [u.name for u in stage.catalog.users()] == ["root"]
        assert [r.name for r in stage.catalog.roles()] == ["admin", "public"]


def _of(privilege: str) -> Grant:
    return Grant(object="Global", object_name="*", privilege=privilege, database="*")
