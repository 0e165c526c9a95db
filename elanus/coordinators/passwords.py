"""Passwords as they are stored: scrypt (RFC 7914) with a salt, its parameters beside the hash."""

import base64
import hashlib
import hmac
import secrets

from elanus.model.errors import InvalidParameter

_SCHEME = "scrypt"
COST, BLOCK, PARALLEL = 1 << 14, 8, 1
"""16 MB and some 50 ms a try."""
_SALT_BYTES = 16
_MEMORY = 64 << 20
_PARTS = 6


def hashed(password: str, salt: bytes | None = None) -> str:
    """`scrypt$cost$block$parallel$salt$hash`, salt and hash in base64."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return "$".join(
        [
            _SCHEME,
            f"{COST}",
            f"{BLOCK}",
            f"{PARALLEL}",
            *(base64.b64encode(b).decode() for b in (salt, digest)),
        ]
    )


def matches(password: str, stored: str) -> bool:
    """Whether `stored` is the hash of `password`, in a time that does not tell where they differ."""
    _, cost, block, parallel, salt, digest = stored.split("$")
    tried = _scrypt(password, base64.b64decode(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(tried, base64.b64decode(digest))


def check_stored(stored: str) -> None:
    """A hash that came with a backup. Raises InvalidParameter for one that `matches` could not read."""
    parts = stored.split("$")
    try:
        if len(parts) != _PARTS or parts[0] != _SCHEME:
            raise ValueError(stored)
        if int(parts[1]) * int(parts[2]) * int(parts[3]) > COST * BLOCK * PARALLEL:
            raise ValueError(stored)
        for part in parts[4:]:
            base64.b64decode(part, validate=True)
        matches("", stored)
    except ValueError:
        raise InvalidParameter(
            "a stored password is not scrypt$cost$block$parallel$salt$hash, as this server's backups have it"
        ) from None


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=parallel, maxmem=_MEMORY)
