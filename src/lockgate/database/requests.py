"""Promotion requests."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Row, Select, and_, bindparam, insert, select, update
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.engine import ClockMs, from_ms, to_ms
from lockgate.database.tables import decisions, models, principals, requests, reviews, versions
from lockgate.database.visible import is_seen
from lockgate.evidence.record import Evidence, canonical
from lockgate.gates.judge import GateResult, Outcome
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.promotions.target import Target

#: All of a request but its evidence and gates, which can be long. Composed once: that takes longer than asking.
_SELECT: Select[tuple[object, ...]] = (
    select(
        *(column for column in requests.c if column.name not in ("evidence", "gates")),
        models.c.name.label("model"),
        versions.c.number.label("version"),
        principals.c.name.label("requester"),
    )
    .join(models, requests.c.model_id == models.c.id)
    .join(versions, requests.c.version_id == versions.c.id)
    .join(principals, requests.c.requester_id == principals.c.id)
)


_GET = _SELECT.where(requests.c.id == bindparam("numbered"))
_LIVE = _SELECT.where(requests.c.model_id == bindparam("of"), requests.c.state.in_(LIVE)).order_by(requests.c.id)
_LIVE_FOR_TARGET = _LIVE.where(requests.c.target == bindparam("target"))
_EVIDENCE = select(requests.c.evidence).where(requests.c.id == bindparam("numbered"))
_SET_STATE = (
    update(requests)
    .where(requests.c.id == bindparam("numbered"))
    .values(state=bindparam("new_state"), outcome=bindparam("new_outcome"))
)
_GATES = select(requests.c.gates).where(requests.c.id == bindparam("numbered"))
_SET_GATES = update(requests).where(requests.c.id == bindparam("numbered")).values(gates=bindparam("results"))


@dataclass(frozen=True)
class NewRequest:
    """A request before it has a number."""

    workspace: str
    model_id: str
    version_id: str
    target: Target
    requester_id: int
    comment: str
    created_at: datetime
    expires_at: datetime
    policy_version: int
    evidence: Evidence
    incumbent: int | None


def add(session: Session, new: NewRequest) -> PromotionRequest:
    """Open a request."""
    statement = insert(requests).values(
        workspace=new.workspace,
        model_id=new.model_id,
        version_id=new.version_id,
        target=str(new.target),
        state=State.OPEN,
        requester_id=new.requester_id,
        comment=new.comment,
        created_at=to_ms(new.created_at),
        expires_at=to_ms(new.expires_at),
        policy_version=new.policy_version,
        evidence=canonical(new.evidence.to_json()),
        evidence_digest=new.evidence.digest,
        gates="[]",
        incumbent=new.incumbent,
        outcome="",
    )
    return get(session, session.execute(statement.returning(requests.c.id)).scalar_one())


def get(session: Session, request_id: int) -> PromotionRequest:
    """Return a request that exists."""
    return _request(session.execute(_GET, {"numbered": request_id}).one())


def find(session: Session, request_id: int, workspace: str) -> PromotionRequest | None:
    """Return a request of a workspace, if there is one of this number."""
    row = session.execute(_GET, {"numbered": request_id}).first()
    return _request(row) if row and row.workspace == workspace else None


def live(session: Session, model_id: str, target: Target | None = None) -> list[PromotionRequest]:
    """Return a model's live requests, oldest first; for one target or for all."""
    if target is None:
        rows = session.execute(_LIVE, {"of": model_id})
    else:
        rows = session.execute(_LIVE_FOR_TARGET, {"of": model_id, "target": str(target)})
    return [_request(row) for row in rows]


def superseded_last(
    session: Session, version_id: str, target: Target, before: int | None = None
) -> PromotionRequest | None:
    """Return the newest request of a version for a target, or the newest before a request, if it was superseded."""
    wanted = [requests.c.version_id == version_id, requests.c.target == str(target)]
    if before is not None:
        wanted.append(requests.c.id < before)
    row = session.execute(_SELECT.where(*wanted).order_by(requests.c.id.desc()).limit(1)).first()
    found = _request(row) if row else None
    return found if found is not None and found.state is State.SUPERSEDED else None


def overdue(session: Session, workspace: str, now: datetime) -> list[str]:
    """Return the names of the models of a workspace that have live requests past their time."""
    statement = (
        select(models.c.name)
        .distinct()
        .select_from(requests.join(models, requests.c.model_id == models.c.id))
        .where(
            requests.c.state.in_(LIVE),
            requests.c.expires_at <= to_ms(now),
            models.c.workspace == workspace,
            models.c.deleted_at.is_(None),
        )
    )
    return list(session.execute(statement).scalars())


@dataclass(frozen=True)
class LiveRequest:
    """A request that is not over, as far as lists of versions tell of it."""

    id: int
    target: Target
    state: State


def live_of_models(session: Session, workspace: str, names: Iterable[str]) -> dict[tuple[str, int], list[LiveRequest]]:
    """Return the requests that are not over, by the model's name and the version's number.

    Args:
        session: Reads.
        workspace: The models' workspace.
        names: The models.
    """
    rows = session.execute(
        select(models.c.name, versions.c.number, requests.c.id, requests.c.target, requests.c.state)
        .join(models, requests.c.model_id == models.c.id)
        .join(versions, requests.c.version_id == versions.c.id)
        .where(models.c.workspace == workspace, models.c.deleted_at.is_(None), models.c.name.in_(sorted(names)))
        .where(requests.c.state.in_(LIVE), requests.c.expires_at > ClockMs())
        .order_by(requests.c.id)
    )
    found: dict[tuple[str, int], list[LiveRequest]] = {}
    for name, number, request_id, target, state in rows:
        found.setdefault((name, number), []).append(LiveRequest(request_id, Target.stored(target), State(state)))
    return found


@dataclass(frozen=True)
class Filter:
    """Which requests to list; None leaves a condition out."""

    workspace: str
    state: State | None = None
    model: str | None = None
    target: Target | None = None
    reviewer: str | None = None
    before_id: int | None = None
    sight: Sight | None = None


def search(session: Session, wanted: Filter, limit: int) -> list[PromotionRequest]:
    """Return requests, newest first."""
    conditions = [requests.c.workspace == wanted.workspace, *is_seen(session, models.c.name, wanted.sight)]
    if wanted.state is not None:
        conditions.append(requests.c.state == wanted.state)
    if wanted.model is not None:
        conditions.append(models.c.name == wanted.model)
    if wanted.target is not None:
        conditions.append(requests.c.target == str(wanted.target))
    if wanted.reviewer is not None:
        reviewed = (
            select(reviews.c.request_id)
            .join(principals, principals.c.id == reviews.c.reviewer_id)
            .where(principals.c.name == wanted.reviewer)
        )
        conditions.append(requests.c.id.in_(reviewed))
    if wanted.before_id is not None:
        conditions.append(requests.c.id < wanted.before_id)
    statement = _SELECT.where(and_(*conditions)).order_by(requests.c.id.desc()).limit(limit)
    return [_request(row) for row in session.execute(statement)]


def set_state(session: Session, request_id: int, state: State, outcome: str = "") -> None:
    """Move a request to another state; the caller has checked that it may."""
    session.execute(_SET_STATE, {"numbered": request_id, "new_state": state, "new_outcome": outcome})


def evidence(session: Session, request_id: int) -> Evidence:
    """Return the frozen evidence of a request."""
    text = session.execute(_EVIDENCE, {"numbered": request_id}).scalar_one()
    return Evidence.from_json(json.loads(text))


@dataclass(frozen=True)
class Frozen:
    """Who asked, and on what evidence."""

    requester: str
    evidence: Evidence


def frozen(session: Session, request_ids: Iterable[int]) -> dict[int, Frozen]:
    """Return who asked and the frozen evidence, by request."""
    rows = session.execute(
        select(requests.c.id, requests.c.evidence, principals.c.name)
        .join(principals, requests.c.requester_id == principals.c.id)
        .where(requests.c.id.in_(list(request_ids)))
    )
    return {row.id: Frozen(row.name, Evidence.from_json(json.loads(row.evidence))) for row in rows}


def set_evidence(session: Session, request_id: int, new: Evidence) -> None:
    """Freeze newer evidence."""
    session.execute(
        update(requests)
        .where(requests.c.id == request_id)
        .values(evidence=canonical(new.to_json()), evidence_digest=new.digest)
    )


def set_gates(session: Session, request_id: int, results: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Keep what the gates came to, and return what they came to before; nothing if they had not been judged.

    A row that says so already is not written again.
    """
    before = session.execute(_GATES, {"numbered": request_id}).scalar_one()
    text = canonical([asdict(result) for result in results])
    if text != before:
        session.execute(_SET_GATES, {"numbered": request_id, "results": text})
    return _gates(before)


def gates(session: Session, request_id: int) -> tuple[GateResult, ...]:
    """Return what the gates came to when they were last judged."""
    return _gates(session.execute(_GATES, {"numbered": request_id}).scalar_one())


def _gates(text: str) -> tuple[GateResult, ...]:
    return tuple(GateResult(**{**result, "outcome": Outcome(result["outcome"])}) for result in json.loads(text))


def set_incumbent(session: Session, request_id: int, incumbent: int | None) -> None:
    """Note that another version holds the target now."""
    session.execute(update(requests).where(requests.c.id == request_id).values(incumbent=incumbent))


@dataclass(frozen=True)
class Approved:
    """The evidence that a decision rests on."""

    decision_id: int
    evidence: Evidence


def approved_evidence(session: Session, version_id: str, target: Target) -> Approved | None:
    """Return the evidence on which a version was last promoted to a target."""
    row = session.execute(
        select(decisions.c.id, requests.c.evidence)
        .join(decisions, decisions.c.request_id == requests.c.id)
        .where(
            requests.c.version_id == version_id,
            requests.c.target == str(target),
            requests.c.state == State.PROMOTED,
        )
        .order_by(decisions.c.id.desc())
        .limit(1)
    ).first()
    return Approved(row.id, Evidence.from_json(json.loads(row.evidence))) if row else None


def _request(row: Row[tuple[object, ...]]) -> PromotionRequest:
    return PromotionRequest(
        id=row.id,
        workspace=row.workspace,
        model_id=row.model_id,
        model=row.model,
        version_id=row.version_id,
        version=row.version,
        target=Target.stored(row.target),
        state=State(row.state),
        requester_id=row.requester_id,
        requester=row.requester,
        comment=row.comment,
        created_at=from_ms(row.created_at),
        expires_at=from_ms(row.expires_at),
        policy_version=row.policy_version,
        evidence_digest=row.evidence_digest,
        incumbent=row.incumbent,
        outcome=row.outcome,
    )
