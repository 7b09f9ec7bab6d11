"""Up to which entry each witness has checkpoints, who is giving it one now, and what was wrong with it last."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

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
    #: Whether it contradicted the log, or could not be asked, the last time.
    is_in_trouble: bool = False


#: Of a witness that was never given anything.
NOTHING = Kept(0, 0, 0)


def load(session: Session, uri: str) -> Kept:
    """Return what a witness was given last."""
    row = session.execute(select(witnesses).where(witnesses.c.witness == _digest(uri))).first()
    return Kept(row.number, row.at, row.claimed_until, bool(row.trouble)) if row is not None else NOTHING


def claim(session: Session, uri: str, seen: Kept, until: datetime) -> bool:
    """Take a witness for oneself for a while; says whether nobody else was first.

    Args:
        session: The transaction.
        uri: The witness.
        seen: What was known of it when one decided to.
        until: When somebody else may.
    """
    statement = (
        update(witnesses)
        .where(
            witnesses.c.witness == _digest(uri),
            witnesses.c.number == seen.number,
            witnesses.c.claimed_until == seen.claimed_until_ms,
        )
        .values(claimed_until=to_ms(until))
    )
    if session.execute(statement).rowcount:  # type: ignore[attr-defined]
        return True
    if seen != NOTHING or load(session, uri) != NOTHING:
        return False
    # Of two who insert it the database refuses one.
    session.execute(insert(witnesses).values({**_unset(uri), "claimed_until": to_ms(until)}))
    return True


def note(session: Session, uri: str, number: int, at: datetime) -> None:
    """Note that a witness has a checkpoint of an entry."""
    _set(session, uri, {"number": number, "at": to_ms(at), "claimed_until": 0, "trouble": ""})


def forget_beyond(session: Session, number: int) -> None:
    """Forget what witnesses were given of entries that the log has no more."""
    session.execute(update(witnesses).where(witnesses.c.number > number).values(number=number))


def set_trouble(session: Session, uri: str, trouble: str) -> None:
    """Note how a witness contradicts the log or can't be asked; empty if nothing is wrong."""
    _set(session, uri, {"trouble": trouble})


def troubles(session: Session, uris: Sequence[str]) -> dict[str, str]:
    """Return what is wrong, by witness; only of those with which something is."""
    of = {_digest(uri): uri for uri in uris}
    rows = session.execute(select(witnesses).where(witnesses.c.witness.in_(of), witnesses.c.trouble != ""))
    return {of[row.witness]: row.trouble for row in rows}


def _set(session: Session, uri: str, values: dict[str, Any]) -> None:
    statement = update(witnesses).where(witnesses.c.witness == _digest(uri)).values(values)
    if session.execute(statement).rowcount == 0:  # type: ignore[attr-defined]
        session.execute(insert(witnesses).values({**_unset(uri), **values}))


def _unset(uri: str) -> dict[str, Any]:
    return {"witness": _digest(uri), "number": 0, "at": 0, "claimed_until": 0, "trouble": ""}


def _digest(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()
