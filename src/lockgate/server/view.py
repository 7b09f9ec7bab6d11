"""From values to the JSON shapes of `wire`."""

import json
from typing import Any

from lockgate.access.principals import Principal
from lockgate.database.history import Tenure
from lockgate.database.policies import StoredPolicy
from lockgate.decisions.verdict import DecisionKind
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import Check
from lockgate.reviews.standing import Review
from lockgate.wire import (
    AuditView,
    CheckView,
    DecisionView,
    GateView,
    PolicyView,
    PrincipalView,
    RequestView,
    ReviewView,
    TenureView,
)
from lockgate.workflow.case import Case
from lockgate.workflow.rollback import Decided


def request(case: Case, base_url: str) -> RequestView:
    """Show a request with what it has come to."""
    asked = case.request
    return RequestView(
        id=asked.id,
        model=asked.model,
        version=str(asked.version),
        target=str(asked.target),
        state=asked.state,
        requester=asked.requester,
        comment=asked.comment,
        created_at=asked.created_at,
        expires_at=asked.expires_at,
        policy_version=asked.policy_version,
        incumbent=_text(asked.incumbent),
        evidence=evidence(case.evidence),
        gates=[GateView(**vars(gate)) for gate in case.verdict.gates],
        reviews=[review(given) for given in case.reviews],
        excluded=dict(case.excluded),
        unmet=list(case.verdict.unmet),
        outcome=asked.outcome,
        url=f"{base_url}/lockgate/requests/{asked.id}",
    )


def evidence(frozen: Evidence) -> dict[str, Any]:
    """Show evidence, its digest first."""
    return {"digest": frozen.digest, **frozen.to_json()}


def review(given: Review) -> ReviewView:
    """Show a review."""
    return ReviewView(
        reviewer=given.reviewer.name,
        verdict=given.verdict,
        comment=given.comment,
        evidence_digest=given.evidence_digest,
        at=given.at,
    )


def check(model: str, version: int, reported: Check) -> CheckView:
    """Show a check."""
    return CheckView(
        model=model,
        version=str(version),
        name=reported.name,
        status=reported.status,
        summary=reported.summary,
        details_url=reported.url,
        metrics=dict(reported.metrics or {}),
        reporter=reported.reporter.name,
        at=reported.at,
    )


def rollback(decided: Decided) -> DecisionView:
    """Show a rollback."""
    return DecisionView(
        id=decided.id,
        kind=DecisionKind.ROLLBACK,
        model=decided.model,
        target=str(decided.target),
        version=str(decided.version),
        previous_version=_text(decided.previous_version),
        by=decided.by,
        reason=decided.reason,
        at=decided.at,
    )


def tenure(held: Tenure) -> TenureView:
    """Show a version's time in a target."""
    return TenureView(
        target=str(held.target),
        version=str(held.version),
        from_=held.since,
        to=held.until,
        how=held.how,
        by=held.by,
        approved_by=list(held.approvers),
        request_id=held.request_id,
        reason=held.reason,
    )


def policy(stored: StoredPolicy) -> PolicyView:
    """Show a policy."""
    return PolicyView(
        version=stored.version,
        source=stored.source,
        applied_by=stored.applied_by,
        applied_at=stored.applied_at,
    )


def principal(known: Principal) -> PrincipalView:
    """Show a principal."""
    return PrincipalView(
        name=known.name,
        kind=known.kind,
        active=known.active,
        groups=sorted(known.groups),
        roles=sorted(str(binding) for binding in known.bindings),
    )


def audit_entry(row: dict[str, Any]) -> AuditView:
    """Show an audit entry."""
    shown = {key: row[key] for key in AuditView.model_fields if key in row}
    shown["version"] = _text(row["version"])
    shown["before"] = json.loads(row["before"])
    shown["after"] = json.loads(row["after"])
    return AuditView(**shown)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
