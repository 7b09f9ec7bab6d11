"""Taking a version out of a target without putting another in."""

from lockgate.database import history, policies
from lockgate.database.history import NewDecision
from lockgate.decisions.verdict import DecisionKind
from lockgate.events.event import EventType
from lockgate.promotions.target import Target
from lockgate.registry.mutation import Mutation
from lockgate.registry.pointers import Change
from lockgate.workflow.stores import Stores

STAGING = Target("stage", "Staging")


def decide_clearing(begun: Mutation, change: Change, reason: str = "") -> int:
    """Put on record that a protected target is cleared; return the decision's id."""
    decision = history.add_decision(
        begun.session,
        NewDecision(
            kind=DecisionKind.CLEARING,
            model_id=begun.model.id,
            target=change.target,
            version_id=None,
            previous_version_id=begun.version(max(change.lost)).id,
            request_id=None,
            policy_version=policies.current(begun.session).version,
            evidence_digest="",
            by_id=begun.caller.principal.id,
            reason=reason,
            at=begun.now,
        ),
    )
    begun.record(
        EventType.CLEARED,
        version=max(change.lost),
        target=str(change.target),
        decision_id=decision,
        before={"versions": sorted(change.lost)},
        reason=reason,
    )
    return decision


def unstage(stores: Stores, begun: Mutation, version: int, reason: str) -> None:
    """Send a version that is in Staging back to no stage."""
    if version not in begun.pointers.of(STAGING):
        return
    change = Change(STAGING, frozenset(), frozenset({version}))
    is_closed = policies.current(begun.session).policy.protects(STAGING)
    decisions = {STAGING: decide_clearing(begun, change, reason)} if is_closed else {}
    moved = stores.registry.unstage(begun, version, decisions)
    begun.record(
        EventType.TARGET_MOVED,
        version=version,
        target=str(STAGING),
        before={"version": version, **moved.before},
        after={"version": None, **moved.after},
        reason=reason,
    )
