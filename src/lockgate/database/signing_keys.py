"""The keys that checkpoints and bundles are signed with."""

from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import signing_keys


def newest(session: Session) -> str | None:
    """Return the private half of the newest key, encrypted; None if there is none."""
    statement = select(signing_keys.c.private_key).order_by(signing_keys.c.at.desc()).limit(1)
    return session.execute(statement).scalar()


def add(session: Session, key_id: str, private_key: str, at: datetime) -> None:
    """Keep a new key; its private half is encrypted."""
    session.execute(insert(signing_keys).values(key_id=key_id, private_key=private_key, at=to_ms(at)))
