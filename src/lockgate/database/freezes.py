"""One-off freeze windows, beside the weekly ones of the policy."""

from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.orm import Session

from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import freezes, principals
from lockgate.promotions.target import Target


@dataclass(frozen=True)
class Freeze:
    """A time in which nothing is promoted to the targets of some models."""

    id: int
    pattern: str
    #: None: all protected targets.
    target: Target | None
    starts_at: datetime
    ends_at: datetime
    reason: str
    by: str
    by_id: int
    lifted_at: datetime | None

    def covers(self, model: str, target: Target) -> bool:
        """Say whether the freeze is about a target of a model."""
        return fnmatchcase(model, self.pattern) and self.target in (None, target)


@dataclass(frozen=True)
class NewFreeze:
    """A freeze before it has a number."""

    workspace: str
    pattern: str
    target: Target | None
    starts_at: datetime
    ends_at: datetime
    reason: str
    by_id: int
    at: datetime


def add(session: Session, new: NewFreeze) -> int:
    """Put a freeze on record; return its number."""
    statement = insert(freezes).values(
        workspace=new.workspace,
        pattern=new.pattern,
        target=None if new.target is None else str(new.target),
        starts_at=to_ms(new.starts_at),
        ends_at=to_ms(new.ends_at),
        reason=new.reason,
        by_id=new.by_id,
        at=to_ms(new.at),
    )
    return int(session.execute(statement.returning(freezes.c.id)).scalar_one())


def lift(session: Session, freeze_id: int, by_id: int, now: datetime) -> None:
    """End a freeze before its time."""
    session.execute(update(freezes).where(freezes.c.id == freeze_id).values(lifted_at=to_ms(now), lifted_by_id=by_id))


def find(session: Session, workspace: str, freeze_id: int) -> Freeze | None:
    """Return a freeze of a workspace by its number."""
    found = _found(session, freezes.c.workspace == workspace, freezes.c.id == freeze_id)
    return found[0] if found else None


def coming_and_in_force(session: Session, workspace: str, now: datetime) -> list[Freeze]:
    """Return the freezes that are not over and not lifted."""
    return _found(
        session, freezes.c.workspace == workspace, freezes.c.ends_at > to_ms(now), freezes.c.lifted_at.is_(None)
    )


def in_force(session: Session, workspace: str, model: str, target: Target, now: datetime) -> list[Freeze]:
    """Return the freezes that bind a target of a model now."""
    return [
        freeze
        for freeze in coming_and_in_force(session, workspace, now)
        if freeze.starts_at <= now and freeze.covers(model, target)
    ]


def _found(session: Session, *conditions: ColumnElement[bool]) -> list[Freeze]:
    rows = session.execute(
        select(freezes, principals.c.name.label("by"))
        .join(principals, freezes.c.by_id == principals.c.id)
        .where(*conditions)
        .order_by(freezes.c.starts_at)
    )
    return [
        Freeze(
            id=row.id,
            pattern=row.pattern,
            target=Target.stored(row.target) if row.target is not None else None,
            starts_at=from_ms(row.starts_at),
            ends_at=from_ms(row.ends_at),
            reason=row.reason,
            by=row.by,
            by_id=row.by_id,
            lifted_at=from_ms(row.lifted_at) if row.lifted_at is not None else None,
        )
        for row in rows
    ]
