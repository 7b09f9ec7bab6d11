"""Emergencies: what was moved past the gate, and the review that must follow."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.orm import Session, aliased

from lockgate.access.sight import Sight
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.requests import Approved
from lockgate.database.tables import break_glass, models, principals, versions
from lockgate.database.visible import is_seen
from lockgate.evidence.record import Evidence, canonical
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Verdict


@dataclass(frozen=True)
class Emergency:
    """One time that the glass was broken."""

    id: int
    decision_id: int
    model_id: str
    model: str
    version_id: str
    version: int
    target: Target
    by_id: int
    by: str
    reason: str
    ticket: str
    #: What was missing at the moment, a sentence each.
    unmet: tuple[str, ...]
    at: datetime
    review_by: datetime
    reviewed_at: datetime | None
    reviewer: str | None
    verdict: str | None
    comment: str

    def is_overdue(self, now: datetime) -> bool:
        """Say whether nobody has reviewed it in time."""
        return self.verdict is None and now >= self.review_by


@dataclass(frozen=True)
class NewEmergency:
    """An emergency before it has a number."""

    decision_id: int
    model_id: str
    version_id: str
    target: Target
    by_id: int
    reason: str
    ticket: str
    unmet: tuple[str, ...]
    evidence: Evidence
    at: datetime
    review_by: datetime


def add(session: Session, new: NewEmergency) -> int:
    """Put an emergency on record; return its number."""
    statement = insert(break_glass).values(
        decision_id=new.decision_id,
        model_id=new.model_id,
        version_id=new.version_id,
        target=str(new.target),
        by_id=new.by_id,
        reason=new.reason,
        ticket=new.ticket,
        unmet=canonical(list(new.unmet)),
        evidence=canonical(new.evidence.to_json()),
        at=to_ms(new.at),
        review_by=to_ms(new.review_by),
        comment="",
    )
    return int(session.execute(statement.returning(break_glass.c.id)).scalar_one())


def review(session: Session, emergency_id: int, reviewer_id: int, verdict: str, comment: str, now: datetime) -> None:
    """Put on record what a second person says of it."""
    session.execute(
        update(break_glass)
        .where(break_glass.c.id == emergency_id)
        .values(reviewer_id=reviewer_id, verdict=verdict, comment=comment, reviewed_at=to_ms(now))
    )


def find(session: Session, workspace: str, emergency_id: int) -> Emergency | None:
    """Return an emergency of a workspace by its number."""
    found = _found(session, models.c.workspace == workspace, break_glass.c.id == emergency_id)
    return found[0] if found else None


def search(session: Session, workspace: str, limit: int, unreviewed: bool, sight: Sight | None) -> list[Emergency]:
    """Return emergencies of the models that somebody may see, newest first; all, or those that nobody has reviewed."""
    conditions = [models.c.workspace == workspace, *is_seen(session, models.c.name, sight)]
    if unreviewed:
        conditions.append(break_glass.c.verdict.is_(None))
    return _found(session, *conditions)[::-1][:limit]


def evidence(session: Session, emergency_id: int) -> Evidence:
    """Return the evidence about the version at the moment when the glass was broken."""
    text = session.execute(select(break_glass.c.evidence).where(break_glass.c.id == emergency_id)).scalar_one()
    return Evidence.from_json(json.loads(text))


def approved_evidence(session: Session, version_id: str, target: Target) -> Approved | None:
    """Return the evidence of the last time that a version came to a target so, and a second person approved it."""
    row = session.execute(
        select(break_glass.c.decision_id, break_glass.c.evidence)
        .where(
            break_glass.c.version_id == version_id,
            break_glass.c.target == str(target),
            break_glass.c.verdict == Verdict.APPROVE,
        )
        .order_by(break_glass.c.decision_id.desc())
        .limit(1)
    ).first()
    return Approved(row.decision_id, Evidence.from_json(json.loads(row.evidence))) if row else None


def set_evidence(session: Session, emergency_id: int, new: Evidence) -> None:
    """Keep what the evidence is when the files have been hashed."""
    session.execute(
        update(break_glass).where(break_glass.c.id == emergency_id).values(evidence=canonical(new.to_json()))
    )


def of_model(session: Session, model_id: str) -> list[Emergency]:
    """Return the emergencies of a model, oldest first."""
    return _found(session, break_glass.c.model_id == model_id)


def _found(session: Session, *conditions: ColumnElement[bool]) -> list[Emergency]:
    reviewer = aliased(principals)
    rows = session.execute(
        select(
            *(column for column in break_glass.c if column.name != "evidence"),
            models.c.name.label("model"),
            versions.c.number,
            principals.c.name.label("by"),
            reviewer.c.name.label("reviewer"),
        )
        .join(models, break_glass.c.model_id == models.c.id)
        .join(versions, break_glass.c.version_id == versions.c.id)
        .join(principals, break_glass.c.by_id == principals.c.id)
        .outerjoin(reviewer, break_glass.c.reviewer_id == reviewer.c.id)
        # Also of versions that were deleted since: that makes no review unnecessary.
        .where(*conditions, models.c.deleted_at.is_(None))
        .order_by(break_glass.c.id)
    )
    return [
        Emergency(
            id=row.id,
            decision_id=row.decision_id,
            model_id=row.model_id,
            model=row.model,
            version_id=row.version_id,
            version=row.number,
            target=Target.stored(row.target),
            by_id=row.by_id,
            by=row.by,
            reason=row.reason,
            ticket=row.ticket,
            unmet=tuple(json.loads(row.unmet)),
            at=from_ms(row.at),
            review_by=from_ms(row.review_by),
            reviewed_at=from_ms(row.reviewed_at) if row.reviewed_at is not None else None,
            reviewer=row.reviewer,
            verdict=row.verdict,
            comment=row.comment,
        )
        for row in rows
    ]
