"""Passwords at rest."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elanus.coordinators.passwords import check_stored, hashed, matches
from elanus.model.errors import InvalidParameter


@settings(max_examples=5, deadline=None)
@given(st.text(min_size=1, max_size=72), st.text(max_size=72))
def test_only_the_password_itself_matches_its_hash(password: str, other: str) -> None:
    stored = hashed(password)
    assert matches(password, stored)
    assert matches(other, stored) == (other == password)


def test_equal_passwords_have_different_hashes() -> None:
    first, second = hashed("Passw0rd"), hashed("Passw0rd")
    assert first != second
    assert "Passw0rd" not in first


def test_a_hash_says_how_it_was_made_and_stays_readable() -> None:
    stored = hashed("Milvus", salt=b"0123456789abcdef")
    assert stored.startswith("scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$")
    assert stored == hashed("Milvus", salt=b"0123456789abcdef")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "Milvus",
        "$2a$10$abc",
        "scrypt$16384$8$1$MDEy",
        "scrypt$99999999$8$1$MDEy$MDEy",
        "scrypt$x$8$1$a$b",
    ],
)
def test_a_restored_hash_that_could_not_be_read_is_refused(stored: str) -> None:
    with pytest.raises(InvalidParameter, match="stored password"):
        check_stored(stored)
