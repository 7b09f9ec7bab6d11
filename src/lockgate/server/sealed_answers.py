"""Answers as they are kept for calls that are repeated: encrypted with the key that the caller chose.

Answers hold secrets, such as a new token, and the database holds no secret that it could be opened with: of the key it
has only a digest.
"""

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


def digest_of(principal_id: int, key: str) -> str:
    """Return what stands for a principal's key in the database."""
    return hashlib.sha256(f"{principal_id}:{key}".encode()).hexdigest()


def sealed(key: str, answer: bytes) -> bytes:
    """Return an answer encrypted."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(_secret(key)).encrypt(nonce, answer, None)


def opened(key: str, kept: bytes) -> bytes:
    """Return an answer that was encrypted with the same key."""
    return AESGCM(_secret(key)).decrypt(kept[:_NONCE], kept[_NONCE:], None)


def _secret(key: str) -> bytes:
    return hmac.digest(b"lockgate answer", key.encode(), "sha256")
