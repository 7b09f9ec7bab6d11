"""Decisions, and who held each target from when to when."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, Select, insert, select
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.identities import Model
from lockgate.database.tables import decisions, holders, models, principals, versions
from lockgate.database.visible import is_seen
from lockgate.decisions.verdict import DecisionKind
from lockgate.promotions.target import Target


@dataclass(frozen=True)
class NewDecision:
    """A decision as it falls."""

    kind: DecisionKind
    model_id: str
    target: Target
    version_id: str | None
    previous_version_id: str | None
    request_id: int | None
    policy_version: int
    evidence_digest: str
    by_id: int
    reason: str
    at: datetime


@dataclass(frozen=True)
class CarriedOut:
    """The decision by which a request was carried out."""

    decision_id: int
    at: datetime


@dataclass(frozen=True)
class Tenure:
    """A version's time in a target."""

    target: Target
    version_id: str
    version: int
    version_deleted: bool
    since: datetime
    until: datetime | None
    #: What kind of decision brought it there; or `direct` (no rule protected the target), `adopted` (moved before
    #: Lockgate) or `behind` (moved past the server; only the database saw it).
    how: str
    by: str | None
    request_id: int | None
    reason: str
    decision_id: int | None = None
    evidence_digest: str = ""
    approvers: tuple[str, ...] = ()
    #: Whether its model was deleted since: another one may have the name now.
    model_deleted: bool = False

    def lasted(self, at: datetime) -> bool:
        """Say whether the target held the version at a moment."""
        return self.since <= at and (self.until is None or at < self.until)


# Composed once: that takes longer than asking.
_DECISION = insert(decisions).returning(decisions.c.id)
_ADOPT = insert(holders)


def add_decision(session: Session, new: NewDecision) -> int:
    """Record a decision; return its id."""
    decided = {
        "kind": new.kind,
        "model_id": new.model_id,
        "target": str(new.target),
        "version_id": new.version_id,
        "previous_version_id": new.previous_version_id,
        "request_id": new.request_id,
        "policy_version": new.policy_version,
        "evidence_digest": new.evidence_digest,
        "by_id": new.by_id,
        "reason": new.reason,
        "at": to_ms(new.at),
    }
    return int(session.execute(_DECISION, decided).scalar_one())


def carried_out(session: Session, request_ids: Collection[int]) -> dict[int, CarriedOut]:
    """Return the decisions by which requests were carried out, by request."""
    if not request_ids:
        return {}
    rows = session.execute(
        select(decisions.c.request_id, decisions.c.id, decisions.c.at).where(decisions.c.request_id.in_(request_ids))
    )
    return {row.request_id: CarriedOut(row.id, from_ms(row.at)) for row in rows}


def adopt(session: Session, model_id: str, target: Target, version_id: str, since: datetime) -> None:
    """Record that a target was found to hold a version. All that moves from then on, the database itself records."""
    found = {"model_id": model_id, "target": str(target), "version_id": version_id, "since": to_ms(since)}
    session.execute(_ADOPT, found)


def holding_since(session: Session, version_id: str) -> dict[Target, datetime]:
    """Return since when a version has held each of its targets."""
    rows = session.execute(
        select(holders.c.target, holders.c.since).where(holders.c.version_id == version_id, holders.c.until.is_(None))
    )
    return {Target.stored(row.target): from_ms(row.since) for row in rows}


def tenures(session: Session, model_id: str, target: Target | None = None) -> list[Tenure]:
    """Return who held a model's targets, oldest first."""
    statement = _select_tenures().where(holders.c.model_id == model_id).order_by(holders.c.id)
    if target is not None:
        statement = statement.where(holders.c.target == str(target))
    return [_tenure(row) for row in session.execute(statement)]


def tenures_of(session: Session, model_ids: Iterable[str]) -> dict[str, list[Tenure]]:
    """Return who held the targets of models, oldest first, by model id."""
    statement = _select_tenures().where(holders.c.model_id.in_(list(model_ids))).order_by(holders.c.id)
    found: dict[str, list[Tenure]] = {}
    for row in session.execute(statement):
        found.setdefault(row.model_id, []).append(_tenure(row))
    return found


def held_now(session: Session, workspace: str, names: Collection[str]) -> dict[tuple[str, int], list[Tenure]]:
    """Return what the versions of living models hold now, by the model's name and the version's number.

    Args:
        session: Reads.
        workspace: The models' workspace.
        names: The models.
    """
    statement = (
        _select_tenures()
        .add_columns(models.c.name.label("model"))
        .join(models, holders.c.model_id == models.c.id)
        .where(models.c.workspace == workspace, models.c.deleted_at.is_(None), models.c.name.in_(sorted(names)))
        .where(holders.c.until.is_(None))
        .order_by(holders.c.target)
    )
    found: dict[tuple[str, int], list[Tenure]] = {}
    for row in session.execute(statement):
        found.setdefault((row.model, row.number), []).append(_tenure(row))
    return found


def held_before(tenures: Iterable[Tenure], at: datetime) -> list[Tenure]:
    """Return the tenures that lasted just before a moment: what ended by what happened then is among them."""
    return [held for held in tenures if held.since < at and (held.until is None or held.until >= at)]


@dataclass(frozen=True)
class Move:
    """A time that a target came to hold a version."""

    id: int
    model: Model
    model_deleted: bool
    tenure: Tenure


def moves(
    session: Session, workspace: str, model: str | None, since: datetime | None, sight: Sight | None, limit: int
) -> list[Move]:
    """Return the moves in a workspace of models that somebody may see, newest first."""
    statement = (
        _select_tenures()
        .add_columns(models.c.name.label("model"), models.c.created_at, models.c.deleted_at)
        .join(models, holders.c.model_id == models.c.id)
        .where(models.c.workspace == workspace, *is_seen(session, models.c.name, sight))
        .order_by(holders.c.id.desc())
        .limit(limit)
    )
    if model is not None:
        statement = statement.where(models.c.name == model)
    if since is not None:
        statement = statement.where(holders.c.since >= to_ms(since))
    return [
        Move(
            row.id,
            Model(row.model_id, workspace, row.model, row.created_at),
            row.deleted_at is not None,
            _tenure(row),
        )
        for row in session.execute(statement)
    ]


def _select_tenures() -> Select[tuple[object, ...]]:
    return (
        select(
            *holders.c,
            versions.c.number,
            versions.c.deleted_at.label("version_deleted_at"),
            decisions.c.kind,
            decisions.c.request_id,
            decisions.c.reason,
            decisions.c.evidence_digest,
            principals.c.name.label("by"),
        )
        .join(versions, holders.c.version_id == versions.c.id)
        .outerjoin(decisions, holders.c.decision_id == decisions.c.id)
        .outerjoin(principals, holders.c.by_id == principals.c.id)
    )


def _tenure(row: Row[tuple[object, ...]]) -> Tenure:
    return Tenure(
        target=Target.stored(row.target),
        version_id=row.version_id,
        version=row.number,
        version_deleted=row.version_deleted_at is not None,
        since=from_ms(row.since),
        until=from_ms(row.until) if row.until is not None else None,
        how=row.kind or _undecided(row),
        by=row.by,
        request_id=row.request_id,
        reason=row.reason or "",
        decision_id=row.decision_id,
        evidence_digest=row.evidence_digest or "",
    )


def _undecided(row: Row[tuple[object, ...]]) -> str:
    if row.behind:
        return "behind"
    return "adopted" if row.by is None else "direct"
