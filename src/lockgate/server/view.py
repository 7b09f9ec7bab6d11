"""From values to the JSON shapes of `wire`."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lockgate.database.break_glass import Emergency
from lockgate.database.freezes import Freeze
from lockgate.database.history import Tenure
from lockgate.database.holds import Hold
from lockgate.database.policies import StoredPolicy
from lockgate.database.policy_changes import PolicyChange
from lockgate.decisions.objections import MoveOutcome
from lockgate.evidence.record import Evidence
from lockgate.gates.judge import Check
from lockgate.reviews.standing import Review
from lockgate.wire.audit import AuditVerification, AuditView
from lockgate.wire.models import DecisionView, HolderView, TenureView
from lockgate.wire.policies import (
    FindingView,
    PolicyApprovalView,
    PolicyChangeView,
    PolicyVersionView,
    PolicyView,
    RefusedByView,
    SimulatedView,
    SimulationView,
    TotalsView,
)
from lockgate.wire.requests import CheckView, GateView, RequestView, ReviewView
from lockgate.wire.safety import BreakGlassView, FreezeView, HoldView
from lockgate.workflow.audit_log import Verified
from lockgate.workflow.case import Case
from lockgate.workflow.decided import Decided
from lockgate.workflow.holding import Holder
from lockgate.workflow.replay import Judged
from lockgate.workflow.simulate import Simulation


def request(case: Case, base_url: str) -> RequestView:
    """Show a request with what it has come to."""
    asked, carried_out = case.request, case.carried_out
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
        hashing=case.progress,
        asked_reviewers=list(case.asked_reviewers),
        excluded=dict(case.excluded),
        unmet=list(case.verdict.unmet),
        warnings=list(case.verdict.warnings),
        outcome=asked.outcome,
        decided_at=carried_out.at if carried_out else None,
        decision_id=carried_out.decision_id if carried_out else None,
        url=f"{base_url}/lockgate/requests/{asked.id}",
    )


def evidence(frozen: Evidence) -> dict[str, Any]:
    """Show evidence, its digest first."""
    shown = frozen.to_json()
    shown["artifacts"] = {"digest": frozen.artifacts.digest, **shown["artifacts"]}
    return {"digest": frozen.digest, **shown}


def review(given: Review) -> ReviewView:
    """Show a review."""
    return ReviewView(
        reviewer=given.reviewer.name,
        verdict=given.verdict,
        comment=given.comment,
        evidence_digest=given.evidence_digest,
        at=given.at,
        dismissed=given.dismissed,
        lifted=given.lifted,
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
        evidence_digest=reported.evidence_digest,
        reporter=reported.reporter.name,
        at=reported.at,
    )


def decision(decided: Decided) -> DecisionView:
    """Show a rollback or a break-glass."""
    return DecisionView(
        id=decided.id,
        kind=decided.kind,
        model=decided.model,
        target=str(decided.target),
        version=str(decided.version),
        previous_version=_text(decided.previous_version),
        by=decided.by,
        reason=decided.reason,
        at=decided.at,
        hold=decided.hold_id,
        break_glass=decided.break_glass_id,
        review_by=decided.review_by,
        unmet=list(decided.unmet),
    )


def hold(held: Hold) -> HoldView:
    """Show a hold."""
    return HoldView(
        id=held.id,
        model=held.model,
        version=str(held.version),
        target=str(held.target) if held.target else None,
        reason=held.reason,
        by=held.by,
        at=held.at,
    )


def freeze(set_: Freeze) -> FreezeView:
    """Show a one-off freeze."""
    return FreezeView(
        id=set_.id,
        models=set_.pattern,
        target=str(set_.target) if set_.target else None,
        from_=set_.starts_at,
        to=set_.ends_at,
        reason=set_.reason,
        by=set_.by,
    )


def emergency(broken: Emergency) -> BreakGlassView:
    """Show a break-glass."""
    return BreakGlassView(
        id=broken.id,
        decision_id=broken.decision_id,
        model=broken.model,
        version=str(broken.version),
        target=str(broken.target),
        by=broken.by,
        reason=broken.reason,
        ticket=broken.ticket,
        unmet=list(broken.unmet),
        at=broken.at,
        review_by=broken.review_by,
        reviewed_at=broken.reviewed_at,
        reviewer=broken.reviewer,
        verdict=broken.verdict,
        comment=broken.comment,
    )


def tenure(held: Tenure, base_url: str) -> TenureView:
    """Show a version's time in a target."""
    return TenureView(
        target=str(held.target),
        version=str(held.version),
        from_=held.since,
        to=held.until,
        how=held.how,
        by=held.by,
        approved_by=list(held.approvers),
        evidence_digest=held.evidence_digest or None,
        decision_id=held.decision_id,
        request_id=held.request_id,
        request_url=f"{base_url}/lockgate/requests/{held.request_id}" if held.request_id is not None else None,
        reason=held.reason,
        model_deleted=held.model_deleted,
    )


def holder(found: Holder, base_url: str) -> HolderView:
    """Show the version that a target holds."""
    shown = tenure(found.tenure, base_url) if found.tenure else None
    return HolderView(
        model=found.model,
        target=str(found.target),
        version=str(found.version),
        source=found.known.source,
        run_id=found.known.run_id or None,
        protected=found.protected,
        how=shown.how if shown else "behind",
        since=shown.from_ if shown else None,
        by=shown.by if shown else None,
        approved_by=shown.approved_by if shown else [],
        evidence_digest=shown.evidence_digest if shown else None,
        decision_id=shown.decision_id if shown else None,
        request_url=shown.request_url if shown else None,
    )


def policy(stored: StoredPolicy, unknown: Sequence[str]) -> PolicyView:
    """Show a policy, and whom it names that nobody is."""
    return PolicyView(
        version=stored.version,
        source=stored.source,
        applied_by=stored.applied_by,
        applied_at=stored.applied_at,
        unknown=list(unknown),
    )


def policy_version(stored: StoredPolicy) -> PolicyVersionView:
    """Show that a version of the policy was applied."""
    return PolicyVersionView(version=stored.version, applied_by=stored.applied_by, applied_at=stored.applied_at)


def policy_change(change: PolicyChange, missing: list[str]) -> PolicyChangeView:
    """Show a policy change and what it still needs."""
    return PolicyChangeView(
        id=change.id,
        state=change.state,
        proposer=change.proposer.name,
        at=change.at,
        base_version=change.base_version,
        weakens=list(change.weakens),
        approvals=[PolicyApprovalView(by=approval.by.name, at=approval.at) for approval in change.approvals],
        missing=missing,
        source=change.source,
    )


def simulation(found: Simulation) -> SimulationView:
    """Show what a policy would have made of the past."""
    outcomes = Counter(move.outcome for move in found.moves)
    only_audited = sum(1 for move in found.moves if move.objections and all(o.audited for o in move.objections))
    return SimulationView(
        moves=[_simulated(move) for move in found.moves],
        requests=[_simulated(asked) for asked in found.requests],
        totals=TotalsView(
            moves=len(found.moves),
            allowed=outcomes[MoveOutcome.ALLOWED],
            refused=outcomes[MoveOutcome.REFUSED],
            exempt=outcomes[MoveOutcome.EXEMPT],
            audited=only_audited,
            left_out=found.left_out,
            refused_by=[RefusedByView(**vars(counted)) for counted in found.refused_by],
        ),
        cut=found.cut,
        findings=[_finding(entry) for entry in found.findings],
    )


def _simulated(judged: Judged) -> SimulatedView:
    return SimulatedView(
        model=judged.model,
        version=str(judged.version),
        target=str(judged.target),
        at=judged.at,
        how=judged.how,
        by=judged.by,
        request_id=judged.request_id,
        outcome=judged.outcome,
        evidence=judged.evidence or None,
        unmet=[objection.sentence for objection in judged.objections],
        audited=[objection.sentence for objection in judged.objections if objection.audited],
        warnings=list(judged.warnings),
    )


def _finding(entry: Mapping[str, Any]) -> FindingView:
    said = json.loads(entry["after"])
    return FindingView(
        at=entry["at"],
        model=entry["model"],
        version=str(entry["version"]),
        target=entry["target"],
        by=entry["actor"],
        request_id=entry["request_id"],
        rules=said["rules"],
        unmet=said["unmet"],
    )


def audit_entry(row: Mapping[str, Any]) -> AuditView:
    """Show an audit entry."""
    shown = {key: row[key] for key in AuditView.model_fields if key in row}
    shown["version"] = _text(row["version"])
    shown["before"] = json.loads(row["before"])
    shown["after"] = json.loads(row["after"])
    return AuditView(**shown)


def verification(verified: Verified) -> AuditVerification:
    """Show what following the hash chain has found."""
    followed = verified.followed
    return AuditVerification(
        intact=not verified.problems,
        entries=followed.entries,
        number=followed.last.number,
        hash=followed.last.hash,
        problems=list(verified.problems),
        agreeing=list(verified.agreeing),
        unreachable=list(verified.unreachable),
        restores=list(verified.restores),
        next_after=followed.last.number if followed.goes_on else None,
    )


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
