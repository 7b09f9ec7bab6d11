"""Secrets at rest: what is kept in the database and nobody may read there is encrypted with LOCKGATE_SECRET_KEY."""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.errors import BadInput

LONG_ENOUGH = 24


def keys_of(secret_key: str) -> tuple[str, ...]:
    """Return the keys that LOCKGATE_SECRET_KEY holds, separated by commas: the first encrypts, all decrypt.

    Raises:
        BadInput: if one of them is malformed, or short enough to be guessed.
    """
    keys = tuple(secret_key.split(","))
    if any(len(key) < LONG_ENOUGH for key in keys):
        which = "has a key of" if len(keys) > 1 else "has"
        raise BadInput(
            f"LOCKGATE_SECRET_KEY {which} fewer than {LONG_ENOUGH} characters, which could be guessed. Use a long "
            "random one, such as `openssl rand -hex 32` makes; several are separated by a comma, the newest first."
        )
    if len(keys) > 1 and any(key != key.strip(" ") for key in keys):
        raise BadInput("LOCKGATE_SECRET_KEY has blanks beside a comma. Write its keys without: NEW,OLD.")
    if len(set(keys)) < len(keys):
        raise BadInput("LOCKGATE_SECRET_KEY has the same key twice. Write each once: NEW,OLD.")
    return keys


class AtRest:
    """Encrypts and decrypts secrets for one purpose (Fernet, with keys derived by HKDF).

    Args:
        secret_key: `LOCKGATE_SECRET_KEY`.
        purpose: What the secrets are for: those of one purpose can't be taken for those of another.

    Raises:
        BadInput: if one of its keys is malformed, or short enough to be guessed.
    """

    def __init__(self, secret_key: str, purpose: str) -> None:
        self._ciphers = [_cipher(key, purpose) for key in keys_of(secret_key)]

    @property
    def cipher(self) -> MultiFernet:
        """What encrypts and decrypts, for who knows how to."""
        return MultiFernet(self._ciphers)

    def encrypt(self, secret: bytes) -> str:
        """Return a secret as the database may hold it."""
        return self.cipher.encrypt(secret).decode()

    def decrypt(self, stored: str) -> bytes:
        """Return the secret again.

        Raises:
            BadInput: if it was encrypted with another key.
        """
        try:
            return self.cipher.decrypt(stored)
        except InvalidToken:
            raise BadInput(
                "LOCKGATE_SECRET_KEY is not the one that the secrets in this database were encrypted with. Start with "
                'that one again. If it is lost: docs/howto/prove-the-audit-log.md, "If the secret key is lost".'
            ) from None

    def opens(self, stored: str) -> bool:
        """Say whether a secret was encrypted with one of the keys."""
        return _opens(self.cipher, stored)

    def is_newest(self, stored: str) -> bool:
        """Say whether a secret was encrypted with the first key."""
        return _opens(self._ciphers[0], stored)

    def anew(self, stored: str) -> str:
        """Return a secret encrypted with the first key.

        Raises:
            BadInput: if it was encrypted with another key than all of them.
        """
        return self.encrypt(self.decrypt(stored))


def _cipher(key: str, purpose: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=f"lockgate {purpose}".encode()).derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def _opens(cipher: Fernet | MultiFernet, stored: str) -> bool:
    try:
        cipher.decrypt(stored)
    except InvalidToken:
        return False
    return True
