"""Holds: versions that may not be promoted until somebody lifts it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import holds, models, principals, versions
from lockgate.database.visible import is_seen
from lockgate.promotions.target import Target


@dataclass(frozen=True)
class Hold:
    """A hold on a version."""

    id: int
    model: str
    version_id: str
    version: int
    #: None: every target.
    target: Target | None
    reason: str
    by: str
    at: datetime
    lifted_at: datetime | None
    #: The rollback or break-glass that it came with.
    decision_id: int | None

    def binds(self, target: Target) -> bool:
        """Say whether the hold keeps the version from a target."""
        return self.target in (None, target)


def add(
    session: Session,
    model_id: str,
    version_id: str,
    target: Target | None,
    reason: str,
    by_id: int,
    now: datetime,
    decision_id: int | None = None,
) -> int:
    """Put a version on hold; return the hold's number."""
    statement = insert(holds).values(
        model_id=model_id,
        version_id=version_id,
        target=None if target is None else str(target),
        reason=reason,
        by_id=by_id,
        at=to_ms(now),
        decision_id=decision_id,
        lift_comment="",
    )
    return int(session.execute(statement.returning(holds.c.id)).scalar_one())


def lift(session: Session, hold_id: int, by_id: int, comment: str, now: datetime) -> None:
    """Lift a hold."""
    session.execute(
        update(holds)
        .where(holds.c.id == hold_id)
        .values(lifted_at=to_ms(now), lifted_by_id=by_id, lift_comment=comment)
    )


def find(session: Session, workspace: str, hold_id: int) -> Hold | None:
    """Return a hold of a workspace by its number."""
    return next(iter(_found(session, holds.c.id == hold_id, models.c.workspace == workspace)), None)


def in_force(session: Session, workspace: str, sight: Sight | None) -> list[Hold]:
    """Return the holds that nobody has lifted, of the models that somebody may see, oldest first."""
    seen = is_seen(session, models.c.name, sight)
    return _found(session, holds.c.lifted_at.is_(None), models.c.workspace == workspace, *seen)


def held_versions(session: Session, model_id: str, target: Target) -> set[str]:
    """Return the ids of a model's versions that a hold keeps from a target."""
    held = select(holds.c.version_id).where(
        holds.c.model_id == model_id,
        holds.c.lifted_at.is_(None),
        or_(holds.c.target.is_(None), holds.c.target == str(target)),
    )
    return set(session.execute(held).scalars())


def on_version(session: Session, version_id: str) -> list[Hold]:
    """Return the holds on a version that nobody has lifted."""
    return _found(session, holds.c.version_id == version_id, holds.c.lifted_at.is_(None))


def _found(session: Session, *conditions: ColumnElement[bool]) -> list[Hold]:
    rows = session.execute(
        select(holds, models.c.name.label("model"), versions.c.number, principals.c.name.label("by"))
        .join(models, holds.c.model_id == models.c.id)
        .join(versions, holds.c.version_id == versions.c.id)
        .join(principals, holds.c.by_id == principals.c.id)
        .where(*conditions, models.c.deleted_at.is_(None), versions.c.deleted_at.is_(None))
        .order_by(holds.c.id)
    )
    return [
        Hold(
            row.id,
            row.model,
            row.version_id,
            row.number,
            Target.stored(row.target) if row.target is not None else None,
            row.reason,
            row.by,
            from_ms(row.at),
            from_ms(row.lifted_at) if row.lifted_at is not None else None,
            row.decision_id,
        )
        for row in rows
    ]
