"""Calls that are made once however often they are repeated, and how they were answered."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from lockgate.database.engine import ClockMs, now, to_ms
from lockgate.database.tables import calls

#: For how long a call can be repeated.
KEPT = timedelta(days=1)
#: How many calls that are too old are forgotten with each new one.
_FORGOTTEN_AT_ONCE = 100

_KEPT_MS = int(KEPT.total_seconds() * 1000)


@dataclass(frozen=True)
class AnsweredCall:
    """A call and its answer. `key`, `call` and `answer` are as the table has them."""

    key: str
    call: str
    status: int
    answer: bytes


def find(session: Session, key: str) -> AnsweredCall | None:
    """Return the call that had a key within the last day."""
    statement = select(calls.c.key, calls.c.call, calls.c.status, calls.c.answer)
    row = session.execute(statement.where(calls.c.key == key, calls.c.at >= ClockMs() - _KEPT_MS)).first()
    return AnsweredCall(*row) if row is not None else None


def add(session: Session, answered: AnsweredCall) -> None:
    """Keep a call and its answer, and forget old ones.

    Waits for a transaction that keeps the same key until that one has ended.

    Raises:
        IntegrityError: if a call has the key already.
    """
    at = now(session)
    too_old = calls.c.at < to_ms(at - KEPT)
    # Other transactions forget too: what they have in hand is left to them.
    some = select(calls.c.key).where(too_old).limit(_FORGOTTEN_AT_ONCE).with_for_update(skip_locked=True)
    session.execute(delete(calls).where(too_old, or_(calls.c.key == answered.key, calls.c.key.in_(some))))
    session.execute(insert(calls).values(**vars(answered), at=to_ms(at)))
