"""Who made and changed what stands behind versions, as Lockgate saw it."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import authors

MAX_OBJECT = 500


def add(session: Session, kind: str, thing: str, principal_id: int, now: datetime) -> None:
    """Record that a principal had a hand in something; once is enough.

    Args:
        session: The transaction.
        kind: `run`, `model` (a logged model) or `artifacts` (a folder).
        thing: Its id or path.
        principal_id: Who.
        now: When.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(authors).values(
        kind=kind, object=thing[:MAX_OBJECT], principal_id=principal_id, first_at=to_ms(now)
    )
    session.execute(statement.on_conflict_do_nothing())


def of(session: Session, things: Iterable[tuple[str, str]]) -> set[int]:
    """Return the ids of all principals that had a hand in any of these (kind, id) things."""
    wanted = [(authors.c.kind == kind) & (authors.c.object == thing[:MAX_OBJECT]) for kind, thing in things if thing]
    if not wanted:
        return set()
    return set(session.execute(select(authors.c.principal_id).where(or_(*wanted))).scalars())
