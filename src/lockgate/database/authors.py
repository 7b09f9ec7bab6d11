"""Who made and changed what stands behind versions, as Lockgate saw it."""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, literal, select, tuple_, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lockgate.database.engine import ClockMs
from lockgate.database.tables import authors, principals, versions

MAX_OBJECT = 500

# Composed once: that takes longer than asking.
_MAKERS = union_all(
    select(principals.c.name, literal(False).label("registered")).where(
        principals.c.id.in_(
            select(authors.c.principal_id).where(
                tuple_(authors.c.kind, authors.c.object).in_(bindparam("things", expanding=True))
            )
        )
    ),
    select(principals.c.name, literal(True))
    .join(versions, versions.c.registrar_id == principals.c.id)
    .where(versions.c.id == bindparam("version")),
)


@dataclass(frozen=True)
class Makers:
    """Names of those who shaped a version."""

    #: Who registered it; empty if that is not known.
    registrar: str
    #: Who had a hand in what is behind it, in the order of their names.
    authors: tuple[str, ...]


def add(session: Session, kind: str, thing: str, principal_id: int) -> None:
    """Record that a principal had a hand in something; once is enough.

    Args:
        session: The transaction.
        kind: `run`, `model` (a logged model) or `artifacts` (a folder).
        thing: Its id or path.
        principal_id: Who.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(authors).values(
        kind=kind, object=thing[:MAX_OBJECT], principal_id=principal_id, first_at=ClockMs()
    )
    session.execute(statement.on_conflict_do_nothing())


def makers(session: Session, version_id: str, things: Iterable[tuple[str, str]]) -> Makers:
    """Return who shaped a version.

    Args:
        session: The session.
        version_id: The version.
        things: A kind and an id of each thing that is behind it.
    """
    known = [(kind, thing[:MAX_OBJECT]) for kind, thing in things if thing]
    rows = session.execute(_MAKERS, {"things": known, "version": version_id}).all()
    return Makers(
        registrar=next((row.name for row in rows if row.registered), ""),
        authors=tuple(sorted(row.name for row in rows if not row.registered)),
    )
