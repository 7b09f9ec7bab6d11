"""Who held a model's targets from when to when, by whose decision, who had approved it, and on what evidence."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.access.sight import must_see
from lockgate.database import history, identities, reviews
from lockgate.database.history import Tenure
from lockgate.decisions.verdict import DecisionKind
from lockgate.errors import NotFound
from lockgate.promotions.target import Target
from lockgate.registry.transaction import reading
from lockgate.reviews.standing import Verdict
from lockgate.workflow.stores import Stores


def model_history(stores: Stores, name: str, target: Target | None, at: datetime | None) -> list[Tenure]:
    """Return who held the targets of a model, oldest first: of this name's model of now, and of those deleted before.

    Args:
        stores: The stores.
        name: The model.
        target: Only this one.
        at: Only who held it at this moment.

    Raises:
        NotFound: if there is no such model and never was.
    """
    must_see(current_caller(), name)
    with reading(stores.registry.engine) as session:
        called = identities.models_called(session, stores.registry.workspace, name)
        if not called:
            raise NotFound(f"Registered Model with name={name} not found")
        found = [
            replace(tenure, model_deleted=is_deleted)
            for model_id, is_deleted in called.items()
            for tenure in of_model(session, model_id, target)
        ]
    held = sorted(found, key=lambda tenure: tenure.since)
    return [tenure for tenure in held if at is None or tenure.lasted(at)]


def of_model(session: Session, model_id: str, target: Target | None) -> list[Tenure]:
    """Return who held the targets of one model, oldest first, with who approved it and on what evidence.

    Args:
        session: Reads.
        model_id: The model's id.
        target: Only this one.
    """
    tenures = history.tenures(session, model_id, target)
    approved = _approved(session, tenures)
    return [_as_it_was(tenure, approved) for tenure in approved]


def _approved(session: Session, tenures: Sequence[Tenure]) -> list[Tenure]:
    """Add who approved: on the very evidence that was decided about, and did not take it back."""
    asked = {tenure.request_id for tenure in tenures if tenure.request_id is not None}
    given = reviews.of_requests(session, asked)
    return [
        replace(
            tenure,
            approvers=tuple(
                dict.fromkeys(
                    review.reviewer.name
                    for review in given.get(tenure.request_id or 0, ())
                    if review.verdict is Verdict.APPROVE
                    and not review.dismissed
                    and review.evidence_digest == tenure.evidence_digest
                )
            ),
        )
        for tenure in tenures
    ]


def _as_it_was(tenure: Tenure, tenures: Sequence[Tenure]) -> Tenure:
    """Return what a rollback returned to with the approval that brought it there first."""
    if tenure.how != DecisionKind.ROLLBACK or tenure.request_id is not None:
        return tenure
    before = [
        one
        for one in tenures
        if one.target == tenure.target
        and one.version_id == tenure.version_id
        and one.request_id is not None
        and one.since < tenure.since
    ]
    if not before:
        return tenure
    rests_on = before[-1]
    return replace(
        tenure,
        request_id=rests_on.request_id,
        evidence_digest=rests_on.evidence_digest,
        approvers=rests_on.approvers,
    )
