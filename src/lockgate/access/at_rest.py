"""Secrets at rest: what is kept in the database and nobody may read there is encrypted with LOCKGATE_SECRET_KEY."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from lockgate.errors import BadInput

LONG_ENOUGH = 24


class AtRest:
    """Encrypts and decrypts secrets for one purpose (Fernet, with a key derived by HKDF).

    Args:
        secret_key: `LOCKGATE_SECRET_KEY`.
        purpose: What the secrets are for: those of one purpose can't be taken for those of another.

    Raises:
        BadInput: if the key is short enough to be guessed.
    """

    def __init__(self, secret_key: str, purpose: str) -> None:
        if len(secret_key) < LONG_ENOUGH:
            raise BadInput(
                f"LOCKGATE_SECRET_KEY has fewer than {LONG_ENOUGH} characters and could be guessed. Use a long random "
                "one, such as `openssl rand -hex 32` makes."
            )
        derived = HKDF(SHA256(), 32, salt=None, info=f"lockgate {purpose}".encode()).derive(secret_key.encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(derived))

    @property
    def cipher(self) -> Fernet:
        """What encrypts and decrypts, for who knows how to."""
        return self._fernet

    def encrypt(self, secret: bytes) -> str:
        """Return a secret as the database may hold it."""
        return self._fernet.encrypt(secret).decode()

    def decrypt(self, stored: str) -> bytes:
        """Return the secret again.

        Raises:
            BadInput: if it was encrypted with another key.
        """
        try:
            return self._fernet.decrypt(stored)
        except InvalidToken:
            raise BadInput(
                "LOCKGATE_SECRET_KEY is not the one that the secrets in this database were encrypted with. Start with "
                'that one again. If it is lost: docs/howto/prove-the-audit-log.md, "If the secret key is lost".'
            ) from None
