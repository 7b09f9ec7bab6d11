"""The key that checkpoints and bundles are signed with: one for the life of a database."""

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import signing_keys


def load(session: Session) -> str | None:
    """Return the private half of the key, encrypted; None if there is none yet."""
    return session.execute(select(signing_keys.c.private_key)).scalar()


def add(session: Session, key_id: str, private_key: str, at: datetime) -> None:
    """Keep the key; its private half is encrypted."""
    session.execute(insert(signing_keys).values(key_id=key_id, private_key=private_key, at=to_ms(at)))


def sealed(session: Session) -> dict[str, str]:
    """Return the private half of the key by its id, encrypted."""
    return {row.key_id: row.private_key for row in session.execute(select(signing_keys))}


def reseal(session: Session, key_id: str, stored: str, anew: str) -> bool:
    """Keep the key's private half encrypted anew; say whether it was still stored as it is told here."""
    its = (signing_keys.c.key_id == key_id, signing_keys.c.private_key == stored)
    changed = session.execute(update(signing_keys).where(*its).values(private_key=anew))
    return bool(changed.rowcount)  # type: ignore[attr-defined]
