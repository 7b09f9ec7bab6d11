"""Whose approval counts for a policy that is weaker than the one in force."""

from collections.abc import Sequence

from lockgate.access.principals import Principal
from lockgate.access.roles import EVERY_MODEL, Permission
from lockgate.access.selectors import join, matches_any
from lockgate.gates.policy import Approvals, Changes
from lockgate.gates.weakening import DEFAULT_CHANGES, GOVERNORS
from lockgate.reviews.standing import fill


def why_not_approve(approver: Principal, proposer: Principal, changes: Changes | None) -> str | None:
    """Say why somebody's approval of a policy change does not count, or None if it does.

    Args:
        approver: With the standing of now.
        proposer: Whose change it is.
        changes: What the policy in force says of it. Without it, and where it names nobody, whoever may change
            policies may approve.
    """
    if approver.is_service:
        return f"{approver.name} is a service account; only people approve"
    if not approver.active:
        return f"{approver.name} is not active"
    if approver.name == proposer.name:
        return f"{approver.name} proposed it, and nobody approves their own work"
    if approver.person == proposer.person:
        how = "answers for" if proposer.is_service else "is the same person as"
        return f"{approver.name} {how} {proposer.name}, who proposed it, and nobody approves their own work"
    if not approver.token_allows(Permission.GOVERN):
        return f"{approver.name} may not approve policies with this token: {approver.needs(Permission.GOVERN)}"
    demands = _demands(changes)
    if not any(matches_any(demand.from_, approver, EVERY_MODEL) for demand in demands):
        whose = " or ".join(dict.fromkeys(join(demand.from_) for demand in demands))
        return f"{approver.name} is none of those who approve policies: {whose}"
    return None


def missing_approvals(proposer: Principal, approvers: Sequence[Principal], changes: Changes | None) -> list[str]:
    """Return a sentence for each demand that the approvals of a policy change do not meet yet.

    Args:
        proposer: Whose change it is.
        approvers: Who has approved, with the standing of now.
        changes: What the policy in force says of it.
    """
    demands = _demands(changes)
    counted = [approver for approver in approvers if why_not_approve(approver, proposer, changes) is None]
    void = [f"{who.name}'s approval no longer counts." for who in approvers if who not in counted]
    filled = fill(demands, counted, EVERY_MODEL)
    missing = []
    for demand, names in zip(demands, filled, strict=True):
        left = demand.required - len(names)
        if left > 0:
            more = f"{left} more approval{'s' if left > 1 else ''}"
            missing.append(" ".join([f"It needs {more} from {join(demand.from_)}; not from {proposer.name}.", *void]))
    return missing


def _demands(changes: Changes | None) -> list[Approvals]:
    """A demand that names nobody means those who may change policies: not everybody who may sign in."""
    demands = (changes or DEFAULT_CHANGES).approvals
    return [demand if demand.from_ else demand.model_copy(update={"from_": GOVERNORS}) for demand in demands]
