"""Signed envelopes: DSSE (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md) with Ed25519 keys."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from lockgate.canonical import canonical
from lockgate.errors import BadInput

_END = b"-----END PUBLIC KEY-----"


@dataclass(frozen=True)
class Signer:
    """A private key, and the name that its signatures carry."""

    key: Ed25519PrivateKey

    @property
    def key_id(self) -> str:
        """The name of the key."""
        return key_id(self.key.public_key())

    @property
    def public_key(self) -> str:
        """The public half, in PEM."""
        return pem(self.key.public_key())


def key_id(key: Ed25519PublicKey) -> str:
    """Return the name of a public key: the SHA-256 of its DER form, as `openssl` gives it."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def pem(key: Ed25519PublicKey) -> str:
    """Return a public key in PEM."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_keys(text: bytes) -> list[Ed25519PublicKey]:
    """Read public keys from PEM, one after the other.

    Raises:
        BadInput: if there is none, or one of another kind.
    """
    found = []
    for block in text.split(_END)[:-1]:
        try:
            key = load_pem_public_key(block.strip() + b"\n" + _END + b"\n")
        except ValueError:
            raise BadInput("This is no public key in PEM. `lockgate audit key` prints the server's.") from None
        if not isinstance(key, Ed25519PublicKey):
            raise BadInput("This is a public key of another kind than Ed25519, which Lockgate signs with.")
        found.append(key)
    if not found:
        raise BadInput("There is no public key in PEM. `lockgate audit key` prints the server's.")
    return found


def sign(signer: Signer, payload_type: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return an envelope around a payload, signed."""
    body = canonical(payload).encode()
    signature = signer.key.sign(_covered(payload_type, body))
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(body).decode(),
        "signatures": [{"keyid": signer.key_id, "sig": base64.b64encode(signature).decode()}],
    }


def open_envelope(envelope: Any, payload_type: str, keys: Sequence[Ed25519PublicKey] | None) -> dict[str, Any]:
    """Return the payload of an envelope that one of some keys signed.

    Args:
        envelope: The envelope, as JSON holds it.
        payload_type: What it must hold.
        keys: The keys that are believed; None to take the payload unproven.

    Raises:
        BadInput: if it is no such envelope, or none of the keys signed it.
    """
    try:
        body = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in envelope["signatures"]]
        found_type = envelope["payloadType"]
        payload = json.loads(body)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise BadInput("This is no signed envelope of Lockgate's: its form is broken.") from None
    if found_type != payload_type or not isinstance(payload, dict):
        raise BadInput(f"This envelope holds {str(found_type)[:100]!r}, not {payload_type!r}.")
    if keys is not None and not any(
        _signed(key, one, _covered(payload_type, body)) for key in keys for one in signatures
    ):
        raise BadInput(
            "The signature is not of the given key: what was signed was changed, or somebody else signed it."
        )
    return payload


def _signed(key: Ed25519PublicKey, signature: bytes, covered: bytes) -> bool:
    try:
        key.verify(signature, covered)
    except InvalidSignature:
        return False
    return True


def _covered(payload_type: str, body: bytes) -> bytes:
    """Return what a signature covers: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body)
