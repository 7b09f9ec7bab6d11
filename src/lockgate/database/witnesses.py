"""Up to which entry each witness has checkpoints, and who is giving it one now."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import witnesses


@dataclass(frozen=True)
class Kept:
    """What a witness was given last."""

    number: int
    at_ms: int
    claimed_until_ms: int


#: Of a witness that was never given anything.
NOTHING = Kept(0, 0, 0)


def load(session: Session, uri: str) -> Kept:
    """Return what a witness was given last."""
    row = session.execute(select(witnesses).where(witnesses.c.witness == _digest(uri))).first()
    return Kept(row.number, row.at, row.claimed_until) if row is not None else NOTHING


def claim(session: Session, uri: str, seen: Kept, until: datetime) -> bool:
    """Take a witness for oneself for a while; says whether nobody else was first.

    Args:
        session: The transaction.
        uri: The witness.
        seen: What was known of it when one decided to.
        until: When somebody else may.
    """
    if seen == NOTHING:
        if load(session, uri) != NOTHING:
            return False
        session.execute(insert(witnesses).values(witness=_digest(uri), number=0, at=0, claimed_until=to_ms(until)))
        return True
    statement = (
        update(witnesses)
        .where(witnesses.c.witness == _digest(uri), witnesses.c.claimed_until == seen.claimed_until_ms)
        .values(claimed_until=to_ms(until))
    )
    return bool(session.execute(statement).rowcount)  # type: ignore[attr-defined]


def note(session: Session, uri: str, number: int, at: datetime) -> None:
    """Note that a witness has a checkpoint of an entry."""
    values = {"number": number, "at": to_ms(at), "claimed_until": 0}
    statement = update(witnesses).where(witnesses.c.witness == _digest(uri)).values(values)
    if session.execute(statement).rowcount == 0:  # type: ignore[attr-defined]
        session.execute(insert(witnesses).values(witness=_digest(uri), **values))


def _digest(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()
