"""Carrying out a promotion: everything is checked again, then pointer, decision, history, audit entry and event
commit together.
"""

from dataclasses import replace

from lockgate.audit.entry import AuditOutcome
from lockgate.database import history, policies, requests, reviews
from lockgate.database.history import CarriedOut, NewDecision
from lockgate.decisions.verdict import DecisionKind, people_decide, why_not_carry_out
from lockgate.errors import ConflictOnRecord, LockgateError, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.events.glance import glance
from lockgate.promotions.request import State, valid_comment
from lockgate.registry.aftermath import end
from lockgate.registry.mutation import Mutation
from lockgate.reviews.standing import Verdict
from lockgate.workflow.afterwards import look_again
from lockgate.workflow.audited import record_findings
from lockgate.workflow.case import Case, opened
from lockgate.workflow.sealed import seal
from lockgate.workflow.stores import Stores


def promote(stores: Stores, request_id: int, comment: str | None = None) -> Case:
    """Carry out a request.

    Args:
        stores: The stores.
        request_id: The request's number.
        comment: Said with it, as a comment on the request.

    Returns:
        The case, promoted.

    Raises:
        NotFound: if there is no such request.
        Refused: with everything that is missing.
        Conflict: if the request has ended, by another promotion for example.
    """
    said = valid_comment(comment)
    with opened(stores, request_id) as found:
        begun = found.begun
        done = carry_out(stores, begun, found.case)
        if said:
            reviews.add(begun.session, done.request, begun.caller.principal.id, Verdict.COMMENT, said, begun.now)
    return look_again(stores, done)


def carry_out(stores: Stores, begun: Mutation, case: Case, is_new: bool = False) -> Case:
    """Move the target if the case allows it and the caller may; else refuse, on record.

    Args:
        stores: The stores.
        begun: The mutation.
        case: The case.
        is_new: Whether the call has opened the request.

    Raises:
        Refused: with everything that is missing.
        Conflict: the same, if another promotion was first.
    """
    unmet = unmet_for(begun, case)
    if unmet:
        raise refusal(begun, case, unmet, is_new)
    return _move(stores, begun, case)


def carry_out_if_on_approval(stores: Stores, begun: Mutation, case: Case) -> Case:
    """Move the target if all rules say that approval itself does, and nothing is missing."""
    if not case.rules or not all(rule.moves_on_approval for rule in case.rules) or not case.verdict.allows:
        return case
    return _move(stores, begun, case)


def unmet_for(begun: Mutation, case: Case) -> list[str]:
    """Return everything that keeps the caller from carrying out a case now."""
    unmet = list(case.verdict.unmet)
    if not case.rules and policies.current(begun.session).policy.protects(case.request.target):
        unmet.append(
            f"No rule covered '{begun.name}' and {case.request.target} when request {case.request.id} was opened, and "
            "the target is protected now. Withdraw the request and open a new one."
        )
    standing = why_not_carry_out(begun.caller.principal, case.rules, begun.name)
    return [*unmet, standing] if standing else unmet


def refusal(begun: Mutation, case: Case, unmet: list[str], is_new: bool = False) -> LockgateError:
    """Put a refused promotion on record and return the error that says what is missing.

    Args:
        begun: The mutation.
        case: The case.
        unmet: What is missing.
        is_new: Whether the call opened the request because there was none: if one was superseded before, the call came
            too late for that.
    """
    request = case.request
    begun.record(
        EventType.PROMOTION_REFUSED,
        outcome=AuditOutcome.REFUSED,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        after={**case.at_a_glance(), **glance((), case.evidence, unmet)},
        reason=" ".join(unmet),
    )
    url = f"{begun.caller.base_url}/lockgate/requests/{request.id}"
    changed = ""
    if case.changes:
        changed = (
            f" The evidence has changed since it was reviewed ({'; '.join(case.changes[:5])}), so earlier approvals "
            "no longer count."
        )
    overtaken = requests.superseded_last(begun.session, request.version_id, request.target, request.id)
    lost = f"{overtaken.overtaken} " if overtaken else ""
    reasons = " ".join(f"({number}) {reason}" for number, reason in enumerate(unmet, 1))
    kind = ConflictOnRecord if is_new and overtaken else RefusedOnRecord
    return kind(
        f"{lost}Version {request.version} of '{request.model}' may not go to {request.target} yet.{changed} {reasons} "
        f"Promotion request {request.id}: {url}",
        unmet=unmet,
        request_id=request.id,
        url=url,
    )


def _move(stores: Stores, begun: Mutation, case: Case) -> Case:
    request = case.request
    before = begun.pointers.newest(request.target)
    record_findings(stores, begun, case)
    decision = history.add_decision(
        begun.session,
        NewDecision(
            kind=DecisionKind.PROMOTION,
            model_id=begun.model.id,
            target=request.target,
            version_id=request.version_id,
            previous_version_id=begun.version(before).id if before is not None else None,
            request_id=request.id,
            policy_version=request.policy_version,
            evidence_digest=request.evidence_digest,
            by_id=begun.caller.principal.id,
            reason=request.comment,
            at=begun.now,
        ),
    )
    moved = stores.registry.move(begun, request.target, request.version, decision, request.evidence_digest, request.id)
    if not people_decide(case.rules):  # else it has been sealed since they did
        seal(begun, stores, request.version, request.version_id)
    outcome = f"{begun.caller.principal.name} moved {request.target} to version {request.version}"
    end(begun, request, State.PROMOTED, None, outcome)
    promoted = replace(case, request=replace(request, state=State.PROMOTED, outcome=outcome))
    begun.record(
        EventType.PROMOTED,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        decision_id=decision,
        before={"version": before, **moved.before},
        after={"version": request.version, **moved.after, **promoted.at_a_glance()},
        reason=request.comment,
    )
    return replace(promoted, carried_out=CarriedOut(decision, begun.now))
