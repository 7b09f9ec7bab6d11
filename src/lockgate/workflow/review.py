"""Reviewing a request: approve, reject, comment, withdraw."""

from dataclasses import replace

from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditOutcome
from lockgate.database import requests
from lockgate.errors import ConflictOnRecord, Refused, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.promotions.request import PromotionRequest, State, valid_comment
from lockgate.registry.aftermath import end
from lockgate.registry.mutation import Mutation
from lockgate.reviews.standing import Verdict, why_not
from lockgate.workflow.case import Case, assess, check_live
from lockgate.workflow.modelfile import model_file
from lockgate.workflow.promote import carry_out_if_on_approval, request_named
from lockgate.workflow.stores import Stores


def approve(stores: Stores, request_id: int, comment: str | None, seen: str | None = None) -> Case:
    """Approve a request on its present evidence; where the policy says so, the last approval promotes.

    Args:
        stores: The stores.
        request_id: The request's number.
        comment: Said with the approval.
        seen: Digest of the evidence that the approver saw. Without it, what the request showed last.

    Raises:
        NotFound: if there is no such request.
        Refused: if the caller may not approve this one.
        Conflict: if the request has ended, or its evidence is not what the approver saw.
    """
    said = valid_comment(comment)
    known = request_named(stores, request_id)
    file = model_file(stores, known.model, known.version)
    with stores.registry.mutation(known.model) as begun:
        case = assess(begun, stores, requests.get(begun.session, request_id), file)
        _check_standing(begun, case, Verdict.APPROVE)
        _check_seen(case, seen)
        _add(begun, case.request, Verdict.APPROVE, said)
        approved = assess(begun, stores, requests.get(begun.session, request_id), file)
        return carry_out_if_on_approval(stores, begun, approved)


def reject(stores: Stores, request_id: int, comment: str | None) -> Case:
    """Reject a request, which ends it.

    Raises:
        NotFound, Refused, Conflict: as `approve`.
    """
    said = valid_comment(comment)
    known = request_named(stores, request_id)
    file = model_file(stores, known.model, known.version)
    with stores.registry.mutation(known.model) as begun:
        case = assess(begun, stores, requests.get(begun.session, request_id), file)
        _check_standing(begun, case, Verdict.REJECT)
        _add(begun, case.request, Verdict.REJECT, said)
        outcome = f"{begun.caller.principal.name} rejected it" + (f": {said}" if said else "")
        return _ended(begun, case, State.REJECTED, EventType.REQUEST_REJECTED, outcome)


def comment_on(stores: Stores, request_id: int, comment: str | None) -> None:
    """Add a comment to a request, live or ended.

    Raises:
        NotFound: if there is no such request.
    """
    said = valid_comment(comment)
    known = request_named(stores, request_id)
    with stores.registry.mutation(known.model) as begun:
        if not any(begun.caller.principal.may(right, known.model) for right in TAKES_PART):
            raise Refused(f"{begun.caller.principal.name} may only look at '{known.model}', so not comment either.")
        _add(begun, requests.get(begun.session, request_id), Verdict.COMMENT, said)


#: Whoever may do one of these may also comment.
TAKES_PART = (Permission.ASK, Permission.REVIEW, Permission.PROMOTE, Permission.ROLL_BACK)


def withdraw(stores: Stores, request_id: int, comment: str | None) -> Case:
    """Take a request back: its requester may, and a maintainer.

    Raises:
        NotFound: if there is no such request.
        Refused: if the caller is neither.
        Conflict: if the request has ended.
    """
    said = valid_comment(comment)
    known = request_named(stores, request_id)
    file = model_file(stores, known.model, known.version)
    with stores.registry.mutation(known.model) as begun:
        request = requests.get(begun.session, request_id)
        check_live(begun, request)
        caller = begun.caller.principal
        if caller.id != request.requester_id and not caller.may(Permission.GOVERN, request.model):
            raise Refused(
                f"Promotion request {request.id} is {request.requester}'s; only {request.requester} or a maintainer "
                "can withdraw it."
            )
        case = assess(begun, stores, request, file)
        outcome = f"{caller.name} withdrew it" + (f": {said}" if said else "")
        return _ended(begun, case, State.WITHDRAWN, EventType.REQUEST_WITHDRAWN, outcome)


def _check_standing(begun: Mutation, case: Case, verdict: Verdict) -> None:
    reason = why_not(begun.caller.principal, begun.name, case.excluded)
    if reason is None:
        return
    begun.record(
        EventType.REQUEST_REVIEWED,
        outcome=AuditOutcome.REFUSED,
        version=case.request.version,
        target=str(case.request.target),
        request_id=case.request.id,
        after={"verdict": verdict},
        reason=reason,
    )
    raise RefusedOnRecord(f"{reason}. Promotion request {case.request.id} is unchanged.")


def _check_seen(case: Case, seen: str | None) -> None:
    """Refuse an approval of evidence that the approver can't have seen; what is new is kept, to be looked at."""
    if not case.changes and seen in (None, case.request.evidence_digest):
        return
    changes = "; ".join(case.changes[:5]) or f"it has the digest {case.request.evidence_digest}"
    raise ConflictOnRecord(
        f"The evidence has changed since you looked: {changes}. Look again (`lockgate show {case.request.id}`), then "
        "approve.",
        evidence_digest=case.request.evidence_digest,
        changes=list(case.changes),
    )


def _add(begun: Mutation, request: PromotionRequest, verdict: Verdict, comment: str) -> None:
    requests.add_review(begun.session, request, begun.caller.principal.id, verdict, comment, begun.now)
    begun.record(
        EventType.REQUEST_COMMENTED if verdict is Verdict.COMMENT else EventType.REQUEST_REVIEWED,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        after={"verdict": verdict, "evidence": request.evidence_digest},
        reason=comment,
    )


def _ended(begun: Mutation, case: Case, state: State, event: EventType, outcome: str) -> Case:
    end(begun, case.request.id, state, event, outcome)
    reviews = requests.reviews_of(begun.session, [case.request.id]).get(case.request.id, [])
    ended = replace(case.request, state=state, outcome=outcome)
    return replace(case, request=ended, reviews=tuple(reviews), verdict=replace(case.verdict, unmet=()))
