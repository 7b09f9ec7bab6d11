"""Rolling back: a target returns to the version that really served it before."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lockgate.audit.entry import AuditOutcome
from lockgate.database import history, policies
from lockgate.database.history import NewDecision, Tenure
from lockgate.decisions.verdict import DecisionKind, why_not_roll_back
from lockgate.errors import BadInput, Conflict, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.promotions.request import valid_comment
from lockgate.promotions.target import Target
from lockgate.registry.mutation import Mutation
from lockgate.workflow.promote import version_id
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Decided:
    """A rollback that was decided and carried out."""

    id: int
    model: str
    target: Target
    version: int
    previous_version: int | None
    by: str
    reason: str
    at: datetime


def served_before(tenures: Iterable[Tenure], holder: int | None) -> Tenure | None:
    """Return the time in office to go back to.

    What served before what serves now, with rollbacks counted as going back: after 1, 2 and back to 1, there
    is nothing before 1; 2 was what the rollback left. Deleted versions are passed over.

    Args:
        tenures: Who held the target, oldest first.
        holder: The version that holds it now; None if nobody does.
    """
    line: list[Tenure] = []
    for tenure in tenures:
        earlier = next((at for at, known in enumerate(line) if known.version_id == tenure.version_id), None)
        if tenure.how == DecisionKind.ROLLBACK and earlier is not None:
            del line[earlier:]
        line.append(tenure)
    candidates = [t for t in line if t.version != holder and not t.version_deleted]
    if holder is None or not line or line[-1].version != holder:
        return candidates[-1] if candidates else None
    below = [t for t in line[:-1] if t.version != holder and not t.version_deleted]
    return below[-1] if below else None


def roll_back(stores: Stores, name: str, target: Target, reason: str | None) -> Decided:
    """Return a target to the version that served before.

    Args:
        stores: The stores.
        name: The model.
        target: What rolls back.
        reason: Why; it is put on record.

    Returns:
        The decision.

    Raises:
        BadInput: without a reason.
        Refused: if the caller may not.
        Conflict: if nothing served before.
    """
    why = valid_comment(reason).strip()
    if not why:
        raise BadInput("A rollback needs a reason, for those who read the history: --reason '...'.")
    with stores.registry.mutation(name) as begun:
        _ = begun.model
        check_may_roll_back(begun, target)
        back_to = served_before(history.tenures(begun.session, begun.model.id, target), begun.pointers.newest(target))
        if back_to is None:
            raise Conflict(
                f"Nothing served {target} of '{name}' before what serves it now, so there is nothing to go back to. "
                f"`lockgate history {name}` shows who served."
            )
        return carry_out_rollback(stores, begun, target, back_to, why)


def check_may_roll_back(begun: Mutation, target: Target) -> None:
    """Refuse a caller who may not roll this target back.

    Raises:
        Refused: with who may.
    """
    rules = policies.current(begun.session).policy.rules_for(begun.name, target)
    reason = why_not_roll_back(begun.caller.principal, rules, begun.name)
    if reason is None:
        return
    begun.record(EventType.ROLLED_BACK, outcome=AuditOutcome.REFUSED, target=str(target), reason=reason)
    raise RefusedOnRecord(reason)


def carry_out_rollback(stores: Stores, begun: Mutation, target: Target, back_to: Tenure, reason: str) -> Decided:
    """Move a target back; return the decision."""
    before = begun.pointers.newest(target)
    decision = history.add_decision(
        begun.session,
        NewDecision(
            kind=DecisionKind.ROLLBACK,
            model_id=begun.model.id,
            target=target,
            version_id=back_to.version_id,
            previous_version_id=version_id(begun, before),
            request_id=None,
            policy_version=policies.current(begun.session).version,
            evidence_digest="",
            by_id=begun.caller.principal.id,
            reason=reason,
            at=begun.now,
        ),
    )
    stores.registry.move(begun, target, back_to.version, decision)
    begun.record(
        EventType.ROLLED_BACK,
        version=back_to.version,
        target=str(target),
        decision_id=decision,
        before={"version": before},
        after={"version": back_to.version},
        reason=reason,
    )
    return Decided(
        decision, begun.name, target, back_to.version, before, begun.caller.principal.name, reason, begun.now
    )
