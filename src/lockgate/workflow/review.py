"""Reviewing a request: approve, reject, comment, withdraw, lift a rejection, ask again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lockgate.access.principals import Principal
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditOutcome
from lockgate.database import people, requests, reviews
from lockgate.errors import BadInput, Conflict, ConflictOnRecord, Refused, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.promotions.request import PromotionRequest, State, valid_comment
from lockgate.registry.aftermath import end
from lockgate.registry.mutation import Mutation
from lockgate.reviews.standing import Review, Verdict, why_not
from lockgate.workflow.afterwards import look_again
from lockgate.workflow.case import Case, assess, opened, request_named
from lockgate.workflow.clearing import unstage
from lockgate.workflow.promote import carry_out_if_on_approval
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
        Conflict: if the request has ended, its evidence is not what the approver saw, or is not complete yet.
    """
    said = valid_comment(comment)
    with opened(stores, request_id) as found:
        begun, case = found.begun, found.case
        _check_standing(begun, case, Verdict.APPROVE)
        _check_seen(case, seen)
        _check_complete(case)
        if not said and any(_still_counts(given, begun.caller.principal, case) for given in case.reviews):
            return case
        _add(begun, case.request, Verdict.APPROVE, said)
        approved = assess(begun, stores, requests.get(begun.session, request_id), found.files)
        _record_review(begun, approved, Verdict.APPROVE, said)
        done = carry_out_if_on_approval(stores, begun, approved)
    return look_again(stores, done)


def reject(stores: Stores, request_id: int, comment: str | None) -> Case:
    """Reject a request, which ends it. Nobody can ask for the same again until the rejection is lifted.

    Raises:
        NotFound, Refused, Conflict: as `approve`.
    """
    said = valid_comment(comment)
    with opened(stores, request_id) as found:
        begun, case = found.begun, found.case
        _check_standing(begun, case, Verdict.REJECT)
        _add(begun, case.request, Verdict.REJECT, said)
        _record_review(begun, case, Verdict.REJECT, said)
        outcome = f"{begun.caller.principal.name} rejected it" + (f": {said}" if said else "")
        ended = _ended(begun, case, State.REJECTED, EventType.REQUEST_REJECTED, outcome)
        if any(rule.on_rejection == "unstage" for rule in case.rules):
            unstage(stores, begun, case.request.version, outcome)
        return ended


def lift(stores: Stores, request_id: int, comment: str | None) -> PromotionRequest:
    """Lift the rejection of a request: whoever rejected it may, and a maintainer.

    The request stays rejected; from now on the same can be asked for again.

    Raises:
        NotFound: if there is no such request.
        Refused: if the caller is neither.
        Conflict: if there is no rejection to lift.
    """
    said = valid_comment(comment)
    known = request_named(stores, request_id)
    with stores.registry.mutation(known.model) as begun:
        caller = begun.caller.principal
        rejections = reviews.rejections_of(begun.session, request_id)
        if not rejections:
            raise Conflict(f"Promotion request {request_id} has no rejection that could be lifted.")
        for rejection in rejections:
            mine = caller.id == rejection.by_id and caller.token_allows(Permission.REVIEW, known.model)
            if not mine and not caller.may(Permission.GOVERN, known.model):
                raise Refused(
                    f"{rejection.by} rejected promotion request {request_id}; only {rejection.by} or a maintainer "
                    "lifts that."
                )
            reviews.lift_rejection(begun.session, rejection.review_id, caller.id, begun.now)
        request = requests.get(begun.session, request_id)
        _record(begun, EventType.REJECTION_LIFTED, request, {"rejected_by": [r.by for r in rejections]}, said)
        return request


def ask_again(stores: Stores, request_id: int, names: Sequence[str], comment: str | None) -> Case:
    """Ask people to review a request, or to review it again.

    Args:
        stores: The stores.
        request_id: The request's number.
        names: Whom to ask; without any, those whose approvals were dismissed.
        comment: Said with it.

    Raises:
        NotFound: if there is no such request.
        BadInput: if somebody named is not known, or could not approve.
        Refused: if the caller may not ask for promotions.
        Conflict: if the request has ended, or there is nobody to ask.
    """
    said = valid_comment(comment)
    with opened(stores, request_id) as found:
        begun, case = found.begun, found.case
        begun.caller.require(Permission.ASK, begun.name)
        asked = _to_ask(begun, case, names)
        reviews.ask(begun.session, request_id, [one.id for one in asked], begun.caller.principal.id, begun.now)
        everybody = reviews.asked_reviewers(begun.session, [request_id])[request_id]
        _record(begun, EventType.REVIEW_ASKED, case.request, {"asked": [one.name for one in asked]}, said)
        return replace(case, asked_reviewers=tuple(everybody))


def _to_ask(begun: Mutation, case: Case, names: Sequence[str]) -> list[Principal]:
    wanted = list(dict.fromkeys(names or (review.reviewer.name for review in case.reviews if review.dismissed)))
    if not wanted:
        raise Conflict("Nobody's approval was dismissed, so name whom to ask.")
    asked = []
    for name in wanted:
        known = people.find(begun.session, name)
        if known is None:
            raise BadInput(f"There is no principal {name[:100]!r} to ask.")
        if (reason := why_not(known, begun.name, case.excluded)) is not None:
            raise BadInput(f"{reason}. Ask somebody else.")
        asked.append(known)
    return asked


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
        request = requests.get(begun.session, request_id)
        _add(begun, request, Verdict.COMMENT, said)
        after = {"verdict": Verdict.COMMENT, "evidence": request.evidence_digest}
        _record(begun, EventType.REQUEST_COMMENTED, request, after, said)


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
    with opened(stores, request_id) as found:
        begun, request = found.begun, found.case.request
        caller = begun.caller.principal
        mine = caller.id == request.requester_id and caller.token_allows(Permission.ASK, request.model)
        if not mine and not caller.may(Permission.GOVERN, request.model):
            raise Refused(
                f"Promotion request {request.id} is {request.requester}'s; only {request.requester} or a maintainer "
                "can withdraw it."
            )
        outcome = f"{caller.name} withdrew it" + (f": {said}" if said else "")
        return _ended(begun, found.case, State.WITHDRAWN, EventType.REQUEST_WITHDRAWN, outcome)


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
        after={"verdict": verdict, **case.at_a_glance()},
        reason=reason,
    )
    raise RefusedOnRecord(f"{reason}. Promotion request {case.request.id} is unchanged.")


def _check_seen(case: Case, seen: str | None) -> None:
    """Refuse an approval of evidence that the approver can't have seen. Being refused is no look: nothing is kept."""
    if seen == case.request.evidence_digest or (seen is None and not case.changes):
        return
    if case.changes:
        said = f"The evidence has changed since anybody looked: {'; '.join(case.changes[:5])}"
    else:
        said = f"The evidence has the digest {case.request.evidence_digest}, which is not the one that you name"
    raise Conflict(
        f"{said}. Look again (`lockgate show {case.request.id}`), then approve.",
        evidence_digest=case.request.evidence_digest,
        changes=list(case.changes),
    )


def _still_counts(given: Review, caller: Principal, case: Case) -> bool:
    is_mine = given.verdict is Verdict.APPROVE and given.reviewer.id == caller.id
    return is_mine and not given.dismissed and given.evidence_digest == case.request.evidence_digest


def _check_complete(case: Case) -> None:
    """Refuse an approval of files that nobody knows yet."""
    if case.progress:
        raise ConflictOnRecord(
            f"The files of version {case.request.version} are still being hashed ({case.progress}), and an approval is "
            "about exactly these bytes. Approve when that is done.",
            retry=True,
        )


def _add(begun: Mutation, request: PromotionRequest, verdict: Verdict, comment: str) -> None:
    reviews.add(begun.session, request, begun.caller.principal.id, verdict, comment, begun.now)
    if verdict is not Verdict.COMMENT:
        reviews.no_longer_asked(begun.session, request.id, begun.caller.principal.id)


def _record_review(begun: Mutation, case: Case, verdict: Verdict, comment: str) -> None:
    after = {"verdict": verdict, "evidence": case.request.evidence_digest, **case.at_a_glance()}
    _record(begun, EventType.REQUEST_REVIEWED, case.request, after, comment)


def _record(
    begun: Mutation, event: EventType, request: PromotionRequest, after: Mapping[str, Any], comment: str
) -> None:
    begun.record(
        event,
        version=request.version,
        target=str(request.target),
        request_id=request.id,
        after=after,
        reason=comment,
    )


def _ended(begun: Mutation, case: Case, state: State, event: EventType, outcome: str) -> Case:
    end(begun, case.request, state, event, outcome)
    given = reviews.of_requests(begun.session, [case.request.id]).get(case.request.id, [])
    ended = replace(case.request, state=state, outcome=outcome)
    return replace(case, request=ended, reviews=tuple(given), verdict=replace(case.verdict, unmet=()))
