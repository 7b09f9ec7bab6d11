"""The key that this server signs with: made once, and kept in the database, encrypted with LOCKGATE_SECRET_KEY."""

import os
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from lockgate.access.at_rest import AtRest
from lockgate.audit.entry import AuditEntry
from lockgate.audit.envelope import Signer
from lockgate.database import signing_keys
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.database.secret_key import secret_key
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction


def at_rest(engine: Engine, environment: Mapping[str, str] = os.environ) -> AtRest:
    """Return what the key is encrypted with.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if the secret key is malformed.
    """
    return AtRest(secret_key(engine, environment), "signing key")


def signer(engine: Engine, environment: Mapping[str, str] = os.environ) -> Signer:
    """Return what this server signs with; the first time it is made, and that is put on record.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if the secret key is another one than before.
    """
    encrypted = at_rest(engine, environment)
    with reading(engine) as session:
        stored = signing_keys.load(session)
    return _signer(encrypted.decrypt(stored)) if stored is not None else _made(engine, encrypted)


def _made(engine: Engine, encrypted: AtRest) -> Signer:
    with transaction(engine) as session:
        take_turn(session, "signing key")
        stored = signing_keys.load(session)
        if stored is not None:
            return _signer(encrypted.decrypt(stored))
        made = Signer(Ed25519PrivateKey.generate())
        at = now(session)
        signing_keys.add(session, made.key_id, encrypted.encrypt(made.key.private_bytes_raw()), at)
        after = {"key_id": made.key_id, "public_key": made.public_key}
        record(session, AuditEntry(EventType.SIGNING_KEY_MADE, "lockgate", None, "", after=after), at)
        return made


def _signer(private_key: bytes) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(private_key))
