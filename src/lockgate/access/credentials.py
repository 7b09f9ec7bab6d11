"""Tokens and passwords: how they are made, hashed and compared. Neither is ever stored or logged in the clear."""

import functools
import hashlib
import hmac
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

#: What every token starts with, so that secret scanners recognise a leaked one.
TOKEN_PREFIX = "lockgate_"  # noqa: S105

_hasher = PasswordHasher()
# Verifying a password costs tens of milliseconds and basic authentication sends it with every call, so a
# process remembers which password matched which hash, as a keyed digest. The hash itself is read from the
# database on each call: a changed or removed password binds at once.
_process_key = secrets.token_bytes(32)
_verified: dict[str, bytes] = {}
_REMEMBERED_PASSWORDS = 1024


def new_token() -> str:
    """Return a new random token: the prefix and 256 bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_digest(token: str) -> str:
    """Return what is stored of a token. Its 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def password_hash(password: str) -> str:
    """Return the argon2id hash of a password."""
    return _hasher.hash(password)


def password_matches(stored_hash: str, password: str) -> bool:
    """Say whether a password is the one that was hashed."""
    if remembers(stored_hash, password):
        return True
    try:
        _hasher.verify(stored_hash, password)
    except (Argon2Error, InvalidHashError):
        return False
    if len(_verified) >= _REMEMBERED_PASSWORDS:
        _verified.clear()
    _verified[stored_hash] = _keyed(password)
    return True


def remembers(stored_hash: str, password: str) -> bool:
    """Say whether this process has found the password to be the one that was hashed; that takes no time."""
    known = _verified.get(stored_hash)
    return known is not None and hmac.compare_digest(known, _keyed(password))


def is_outdated(stored_hash: str) -> bool:
    """Say whether a hash was made otherwise than is done now, such as with less effort."""
    return _hasher.check_needs_rehash(stored_hash)


@functools.cache
def nobodys_hash() -> str:
    """Return what to compare with when there is no such principal: a wrong name takes as long as a wrong password."""
    return password_hash(secrets.token_urlsafe(16))


def _keyed(password: str) -> bytes:
    return hmac.new(_process_key, password.encode(), hashlib.sha256).digest()
