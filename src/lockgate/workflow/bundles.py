"""Exporting a decision, with all that it rests on, as one signed bundle."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.sight import sees
from lockgate.audit import bundle
from lockgate.database import chain, policies, requests, reviews
from lockgate.database.engine import from_ms
from lockgate.database.tables import audit, break_glass, decisions, models, principals, versions
from lockgate.database.tables import requests as request_rows
from lockgate.decisions.verdict import DecisionKind
from lockgate.errors import Conflict, NotFound
from lockgate.evidence.record import Evidence
from lockgate.registry.transaction import reading
from lockgate.workflow.signing import signer
from lockgate.workflow.stores import Stores

_DECISION = (
    select(
        decisions,
        models.c.workspace,
        models.c.name.label("model"),
        versions.c.number.label("version"),
        principals.c.name.label("by"),
    )
    .join(models, decisions.c.model_id == models.c.id)
    .outerjoin(versions, decisions.c.version_id == versions.c.id)
    .join(principals, decisions.c.by_id == principals.c.id)
)


def of_decision(stores: Stores, caller: Caller, decision_id: int) -> dict[str, Any]:
    """Return the signed bundle of a decision.

    Raises:
        NotFound: if there is no such decision that the caller may see.
        Conflict: if this server has nothing to sign with, or the log about the decision isn't what was chained.
    """
    signs = signer(stores.registry.engine)
    with reading(stores.registry.engine) as session:
        decided = session.execute(_DECISION.where(decisions.c.id == decision_id)).first()
        if decided is None or decided.workspace != stores.registry.workspace or not sees(caller, decided.model):
            raise NotFound(f"There is no decision {decision_id}. `lockgate history MODEL` names decisions.")
        return bundle.sign(_statement(session, decided), signs)


def of_request(stores: Stores, caller: Caller, request_id: int) -> dict[str, Any]:
    """Return the signed bundle of the decision by which a request was carried out.

    Raises:
        NotFound: if there is no such request that the caller may see, or it was not carried out.
        Conflict: if this server has nothing to sign with, or the log about the decision isn't what was chained.
    """
    with reading(stores.registry.engine) as session:
        decision_id = session.execute(select(decisions.c.id).where(decisions.c.request_id == request_id)).scalar()
    if decision_id is None:
        raise NotFound(f"Request {request_id} has led to no decision. `lockgate show {request_id}` says how it stands.")
    return of_decision(stores, caller, decision_id)


def _statement(session: Session, decided: Any) -> dict[str, Any]:
    evidence = _evidence(session, decided)
    policy = policies.find(session, decided.policy_version)
    predicate: dict[str, Any] = {
        "decision": {
            "id": decided.id,
            "kind": DecisionKind(decided.kind),
            "at": _time(from_ms(decided.at)),
            "by": decided.by,
            "reason": decided.reason,
            "model": decided.model,
            "model_id": decided.model_id,
            "version": decided.version,
            "target": decided.target,
            "workspace": decided.workspace,
        },
        "policy": {"version": decided.policy_version, "source": policy.source if policy is not None else None},
        "evidence": evidence.to_json() if evidence is not None else None,
        "request": _request(session, decided) if decided.request_id is not None else None,
        "log": {"id": chain.head(session).log_id, "entries": _entries(session, decided)},
    }
    files = evidence.artifacts.digest if evidence is not None else ""
    return bundle.statement(decided.model, decided.version, files, decided.evidence_digest, predicate)


def _evidence(session: Session, decided: Any) -> Evidence | None:
    """Return the evidence that the decision rests on: that of its request, else what has its digest."""
    if decided.request_id is not None:
        return requests.evidence(session, decided.request_id)
    approved = select(request_rows.c.evidence).where(
        request_rows.c.version_id == decided.version_id, request_rows.c.evidence_digest == decided.evidence_digest
    )
    emergency = select(break_glass.c.evidence).where(break_glass.c.decision_id == decided.id)
    for statement in (emergency, approved):
        if (stored := session.execute(statement.limit(1)).scalar()) is not None:
            return Evidence.from_json(json.loads(stored))
    return None


def _request(session: Session, decided: Any) -> Mapping[str, Any]:
    asked = requests.get(session, decided.request_id)
    given = reviews.of_requests(session, [asked.id]).get(asked.id, [])
    return {
        "id": asked.id,
        "requester": asked.requester,
        "at": _time(asked.created_at),
        "comment": asked.comment,
        "gates": [asdict(gate) for gate in requests.gates(session, asked.id)],
        "reviews": [
            {
                "reviewer": review.reviewer.name,
                "verdict": review.verdict,
                "comment": review.comment,
                "at": _time(review.at),
                "evidence_digest": review.evidence_digest,
                "dismissed": review.dismissed,
            }
            for review in given
            if review.at <= from_ms(decided.at)
        ],
    }


def _entries(session: Session, decided: Any) -> list[dict[str, Any]]:
    """Return the entries of the log about the decision and its request, each with the line that was hashed."""
    about = [audit.c.decision_id == decided.id]
    if decided.request_id is not None:
        about.append(audit.c.request_id == decided.request_id)
    of_model = audit.c.model_id == decided.model_id
    entries = chain.entries(session, of_model, or_(*about))
    broken = next((one for one in entries if not one.is_intact), None)
    if broken is not None:
        raise Conflict(
            f"Entry {broken.number:,} of the audit log is not what was chained, so nothing is signed about this "
            "decision. `lockgate audit verify` says more."
        )
    return [{"number": one.number, "hash": one.hash, "line": one.line} for one in entries]


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
