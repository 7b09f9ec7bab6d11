"""Databricks' transition requests: promotion requests for a stage, named by model, version and stage, not by number."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from mlflow.entities.model_registry.model_version_stages import get_canonical_stage

from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import Permission
from lockgate.database import identities, requests
from lockgate.database.engine import now
from lockgate.decisions.verdict import why_not_carry_out
from lockgate.errors import BadInput, Conflict, NotFound, OutcomeUnknown, Refused
from lockgate.promotions.request import LIVE, PromotionRequest, State
from lockgate.promotions.target import TARGET_STAGES, Target
from lockgate.registry.transaction import reading
from lockgate.reviews.standing import why_not
from lockgate.workflow import comments, look, promote, review, submit
from lockgate.workflow.case import Case
from lockgate.workflow.stores import Stores


class ActivityType(StrEnum):
    """What happened to a transition request, in Databricks' words."""

    REQUESTED = "REQUESTED_TRANSITION"
    APPROVED = "APPROVED_REQUEST"
    APPLIED = "APPLIED_TRANSITION"
    REJECTED = "REJECTED_REQUEST"
    CANCELLED = "CANCELLED_REQUEST"


class Action(StrEnum):
    """What a caller may do to a transition request, in Databricks' words."""

    APPROVE = "APPROVE_TRANSITION_REQUEST"
    REJECT = "REJECT_TRANSITION_REQUEST"
    CANCEL = "CANCEL_TRANSITION_REQUEST"


@dataclass(frozen=True)
class Transition:
    """A version's way to a stage, as Databricks' calls name it."""

    model: str
    version: int
    target: Target

    @classmethod
    def to(cls, model: str, version: int, stage: str) -> "Transition":
        """Read a transition to a stage in any case.

        Raises:
            BadInput: if the stage is none, or none that needs a request.
        """
        canonical = get_canonical_stage(stage)
        if canonical not in TARGET_STAGES:
            raise BadInput(
                f"Requests are about {' and '.join(TARGET_STAGES)}, from which something is served. To go to "
                f"{canonical}, transition version {version} of '{model}' directly (transition_stage, "
                "transition_model_version_stage)."
            )
        return cls(model, version, Target("stage", canonical))

    def __str__(self) -> str:
        return f"version {self.version} of '{self.model}' to {self.target}"


@dataclass(frozen=True)
class Activity:
    """Something that happened to a request."""

    type: ActivityType
    request: PromotionRequest
    from_stage: str
    by: str
    comment: str
    at: datetime
    updated_at: datetime
    #: What Lockgate has to say about it, such as what is still missing.
    note: str = ""
    actions: tuple[Action, ...] = ()


def ask(stores: Stores, caller: Caller, wanted: Transition, comment: str | None) -> Activity:
    """Open a request, or return the live one for the same transition, whoever opened it.

    Raises:
        NotFound, Refused, Conflict: as `submit.submit`.
    """
    stage = _stage_of(stores, wanted.model, wanted.version)
    case, _ = submit.submit(stores, wanted.model, wanted.version, wanted.target, comment)
    return _requested(case, caller.principal, stage)


def open_requests(stores: Stores, caller: Caller, model: str, version: int) -> list[Activity]:
    """Return the live requests of a version for a stage, oldest first.

    Raises:
        MlflowException: if there is no such version.
    """
    stage = _stage_of(stores, model, version)
    found = [request for request in _live(stores, model, version) if request.target.kind == "stage"]
    cases = [look.request(stores, request.id) for request in found]
    return [_requested(case, caller.principal, stage) for case in cases if case.request.state in LIVE]


def approve(stores: Stores, caller: Caller, wanted: Transition, comment: str | None) -> Activity:
    """Approve the live request for a transition; carry it out if nothing is missing and the caller may.

    The approval stands in a transaction of its own: it counts even if carrying out is refused a moment later.

    Raises:
        NotFound: if there is no live request.
        Refused, Conflict: as `review.approve`.
    """
    stage = _stage_of(stores, wanted.model, wanted.version)
    approved = review.approve(stores, _request_for(stores, wanted).id, comment)
    case, note = _carried_out(stores, caller.principal, approved)
    kind = ActivityType.APPLIED if case.request.state is State.PROMOTED else ActivityType.APPROVED
    return _done(stores, caller, case, kind, stage, comment, note)


def reject(stores: Stores, caller: Caller, wanted: Transition, comment: str | None) -> Activity:
    """Reject the live request for a transition.

    Raises:
        NotFound: if there is no live request.
        Refused, Conflict: as `review.reject`.
    """
    stage = _stage_of(stores, wanted.model, wanted.version)
    case = review.reject(stores, _request_for(stores, wanted).id, comment)
    return _done(stores, caller, case, ActivityType.REJECTED, stage, comment)


def cancel(stores: Stores, caller: Caller, wanted: Transition, creator: str, comment: str | None) -> Activity:
    """Withdraw the live request for a transition, if it is this person's.

    Raises:
        NotFound: if there is no live request of the creator's.
        Refused, Conflict: as `review.withdraw`.
    """
    stage = _stage_of(stores, wanted.model, wanted.version)
    request = _request_for(stores, wanted)
    if request.requester != creator:
        raise NotFound(
            f"{creator[:300]} has no open request to move {wanted}; the one that is open is {request.requester}'s "
            f"(creator={request.requester})."
        )
    case = review.withdraw(stores, request.id, comment)
    return _done(stores, caller, case, ActivityType.CANCELLED, stage, comment)


def transition(stores: Stores, model: str, version: int, stage: str, archive_others: bool, comment: str | None) -> None:
    """Move a version to a stage, as MLflow's own call does: freely where no rule says otherwise, else by the gate.

    Args:
        stores: The stores.
        model: The model.
        version: The version's number.
        stage: Any of the four stages.
        archive_others: Whether versions that are in the stage go to Archived; no matter for None and Archived.
        comment: Kept as a comment on the version.

    Raises:
        MlflowException: with everything that is missing, as MLflow's own client would see it.
    """
    said = comments.valid_text(comment) if comment else None
    canonical = get_canonical_stage(stage)
    archive = archive_others and canonical in TARGET_STAGES
    stores.registry.transition_model_version_stage(model, str(version), canonical, archive)
    if said:
        comments.add(stores, model, version, said)


def _carried_out(stores: Stores, caller: Principal, case: Case) -> tuple[Case, str]:
    """Carry out a case if nothing keeps the caller from it; else say what does."""
    if case.request.state is State.PROMOTED:
        return case, ""
    standing = why_not_carry_out(caller, case.rules, case.request.model)
    missing = [*case.verdict.unmet, *([standing] if standing else [])]
    if missing:
        return case, " ".join(["Approved, not applied yet.", *missing])
    try:
        return promote.promote(stores, case.request.id), ""
    except OutcomeUnknown:
        raise
    except (Refused, Conflict) as refused:
        return case, f"Approved, not applied yet. {refused.message}"


def _request_for(stores: Stores, wanted: Transition) -> PromotionRequest:
    for request in _live(stores, wanted.model, wanted.version):
        if request.target == wanted.target:
            return request
    raise NotFound(
        f"There is no open request to move {wanted}. Open one first (create_transition_request, or "
        f"`lockgate request {wanted.model} {wanted.version} {wanted.target}`)."
    )


def _live(stores: Stores, model: str, version: int) -> list[PromotionRequest]:
    with reading(stores.registry.engine) as session:
        known = identities.model(session, stores.registry.workspace, model)
        if known is None:
            return []
        return [request for request in requests.live(session, known.id) if request.version == version]


def _stage_of(stores: Stores, model: str, version: int) -> str:
    return str(stores.registry.get_model_version(model, str(version)).current_stage)


def _requested(case: Case, caller: Principal, stage: str) -> Activity:
    request = case.request
    applied = request.state is State.PROMOTED
    return Activity(
        type=ActivityType.APPLIED if applied else ActivityType.REQUESTED,
        request=request,
        from_stage=stage,
        by=request.requester,
        comment=request.comment,
        at=request.created_at,
        updated_at=max([request.created_at, *(given.at for given in case.reviews)]),
        note=" ".join(case.verdict.unmet),
        actions=() if applied else _actions(case, caller),
    )


def _actions(case: Case, caller: Principal) -> tuple[Action, ...]:
    request = case.request
    may_review = why_not(caller, request.model, case.excluded) is None
    mine = caller.id == request.requester_id and caller.token_allows(Permission.ASK, request.model)
    may_cancel = mine or caller.may(Permission.GOVERN, request.model)
    return (*((Action.APPROVE, Action.REJECT) if may_review else ()), *((Action.CANCEL,) if may_cancel else ()))


def _done(
    stores: Stores,
    caller: Caller,
    case: Case,
    kind: ActivityType,
    stage: str,
    comment: str | None,
    note: str = "",
) -> Activity:
    with reading(stores.registry.engine) as session:
        at = now(session)
    return Activity(kind, case.request, stage, caller.principal.name, comment or "", at, at, note)
