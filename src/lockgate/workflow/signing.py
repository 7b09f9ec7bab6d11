"""The key that this server signs with: made once, and kept in the database, encrypted with LOCKGATE_SECRET_KEY.

On SQLite there is a secret key even if nobody has set one: in a file beside the database, for its owner only.
"""

import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Engine

from lockgate.access.at_rest import AtRest
from lockgate.audit.entry import AuditEntry
from lockgate.audit.envelope import Signer
from lockgate.database import signing_keys
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.errors import Conflict
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction

_VARIABLE = "LOCKGATE_SECRET_KEY"


def signer(engine: Engine, environment: Mapping[str, str] = os.environ) -> Signer:
    """Return what this server signs with; the first time it is made, and that is put on record.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if the secret key is another one than before.
    """
    at_rest = AtRest(_secret_key(engine, environment), "signing key")
    with reading(engine) as session:
        stored = signing_keys.load(session)
    return _signer(at_rest.decrypt(stored)) if stored is not None else _made(engine, at_rest)


def _made(engine: Engine, at_rest: AtRest) -> Signer:
    with transaction(engine) as session:
        take_turn(session, "signing key")
        stored = signing_keys.load(session)
        if stored is not None:
            return _signer(at_rest.decrypt(stored))
        made = Signer(Ed25519PrivateKey.generate())
        at = now(session)
        signing_keys.add(session, made.key_id, at_rest.encrypt(made.key.private_bytes_raw()), at)
        after = {"key_id": made.key_id, "public_key": made.public_key}
        record(session, AuditEntry(EventType.SIGNING_KEY_MADE, "lockgate", None, "", after=after), at)
        return made


def _signer(private_key: bytes) -> Signer:
    return Signer(Ed25519PrivateKey.from_private_bytes(private_key))


def _secret_key(engine: Engine, environment: Mapping[str, str]) -> str:
    told = environment.get(_VARIABLE)
    if told:
        return told
    if engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:"):
        return _beside(Path(str(engine.url.database)))
    raise Conflict(
        f"This server signs nothing, because {_VARIABLE} is not set. Set it to a long random secret (such as "
        "`openssl rand -hex 32` makes), the same for all instances, and keep a copy: what was encrypted with it can't "
        "be read without it."
    )


def _beside(database: Path) -> str:
    """Return the secret key in the file beside a SQLite database; it is made if it is missing."""
    path = database.with_name(database.name + ".secret-key")
    if not path.exists():
        # Whole at once, whoever else makes it at the same moment.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name) as file:  # readable by its owner only
            file.write(secrets.token_hex(32))
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text(encoding="ascii").strip()
