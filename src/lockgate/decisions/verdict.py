"""The verdict on a promotion."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.access.principals import Principal
from lockgate.access.roles import Permission
from lockgate.access.selectors import join, matches_any
from lockgate.gates.freeze import frozen_by
from lockgate.gates.judge import GateResult, Outcome
from lockgate.gates.policy import Policy, Rule
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Exclusions, Review, missing_approvals


class DecisionKind(StrEnum):
    """Why a target moved."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    #: In an emergency, past the gate; a second person reviews it afterwards.
    BREAK_GLASS = "break-glass"
    #: Somebody with the standing to promote took a version out of a target without putting another in.
    CLEARING = "clearing"


@dataclass(frozen=True)
class Verdict:
    """What a request has come to."""

    gates: tuple[GateResult, ...]
    #: Whether people have said all that they have to; where none are asked, whether the gates have.
    is_approved: bool
    #: Everything that is still missing, a sentence each; the promotion may go when it is empty.
    unmet: tuple[str, ...]
    #: What people should know before they decide, although it does not keep the promotion from going.
    warnings: tuple[str, ...] = ()

    @property
    def allows(self) -> bool:
        """Whether the target may move now."""
        return not self.unmet


def uncovered(policy: Policy, model: str, target: Target) -> str | None:
    """Say that a target is closed to a model because no rule covers it, or None."""
    if policy.protects(target) and not policy.rules_for(model, target):
        return (
            f"{target} is protected, and no rule of the policy covers the model '{model}', so nothing can move "
            "it there. Ask a maintainer for a rule that does."
        )
    return None


def decide(
    rules: Sequence[Rule],
    gates: Sequence[GateResult],
    reviews: Iterable[Review],
    model: str,
    digest: str,
    excluded: Exclusions,
    now: datetime,
    obstacles: Sequence[str] = (),
) -> Verdict:
    """Decide on a request.

    Args:
        rules: The rules that apply; all must be met.
        gates: What their gates came to.
        reviews: All reviews, with their givers' standing of now.
        model: The model's name.
        digest: Digest of the evidence that the gates judged.
        excluded: Who may not approve.
        now: The time.
        obstacles: What else stands in the way, a sentence each: a hold, a one-off freeze, an overdue review.

    Returns:
        The verdict, with a sentence for everything that is missing.
    """
    blocking = [said_of(gate) for gate in gates if gate.denies]
    approvals = missing_approvals(rules, reviews, model, digest, excluded)
    frozen = frozen_by((window for rule in rules for window in rule.freeze), now)
    is_approved = not approvals and (people_decide(rules) or not (blocking or obstacles))
    warnings = tuple(said_of(gate) for gate in gates if gate.warns)
    return Verdict(tuple(gates), is_approved, (*obstacles, *blocking, *approvals, *frozen), warnings)


def people_decide(rules: Sequence[Rule]) -> bool:
    """Say whether any rule asks people."""
    return any(demand.required for rule in rules for demand in rule.approvals)


def failing_since(before: Sequence[GateResult], gates: Sequence[GateResult]) -> list[GateResult]:
    """Return the gates that keep a promotion from going by what they found, and did not when they were judged before.

    Args:
        before: What they came to before; without any, they had not been judged, and nothing has changed.
        gates: What they come to now.
    """
    failed = {(gate.rule, gate.name) for gate in before if _fails(gate)}
    return [gate for gate in gates if before and _fails(gate) and (gate.rule, gate.name) not in failed]


def have_come_to_pass(before: Sequence[GateResult], gates: Sequence[GateResult]) -> bool:
    """Say whether no gate keeps a promotion from going now, and one did when they were judged before."""
    return any(gate.denies for gate in before) and not any(gate.denies for gate in gates)


def _fails(gate: GateResult) -> bool:
    return gate.denies and gate.outcome is not Outcome.PENDING


def said_of(gate: GateResult) -> str:
    """Return the sentence for a gate that did not pass."""
    return f"Gate '{gate.name}' {_WORDS[gate.outcome]}: {gate.explanation}."


_WORDS = {
    Outcome.FAILED: "failed",
    Outcome.PENDING: "is pending",
    Outcome.ERROR: "could not be judged",
}


def why_not_carry_out(principal: Principal, rules: Sequence[Rule], model: str) -> str | None:
    """Say why somebody may not carry out promotions under these rules, or None if they may."""
    for rule in rules:
        by = rule.promote.by if rule.promote else ()
        if by and not matches_any(by, principal, model):
            return f"Rule '{rule.name}' lets only {join(by)} carry out promotions, not {principal.name}."
    if not principal.may(Permission.PROMOTE, model):
        return f"{principal.name} may not carry out promotions of '{model}': {principal.needs(Permission.PROMOTE)}."
    return None


def why_not_break_glass(principal: Principal, rules: Sequence[Rule], model: str) -> str | None:
    """Say why somebody may not break the glass under these rules, or None if they may."""
    if principal.is_service:
        return f"{principal.name} is a service account; only people break the glass."
    if not principal.may(Permission.BREAK_GLASS, model):
        return f"{principal.name} may not break the glass for '{model}': {principal.needs(Permission.BREAK_GLASS)}."
    for rule in rules:
        by = rule.break_glass.by if rule.break_glass else None
        if by and not matches_any(by, principal, model):
            return f"Rule '{rule.name}' lets only {join(by)} break the glass, not {principal.name}."
    return None


def frozen_for_rollback(rules: Sequence[Rule], now: datetime) -> list[str]:
    """Return a sentence for each freeze window that binds rollbacks too."""
    bound = (window for rule in rules if rule.rollback and rule.rollback.respects_freeze for window in rule.freeze)
    return frozen_by(bound, now)


def why_not_roll_back(principal: Principal, rules: Sequence[Rule], model: str) -> str | None:
    """Say why somebody may not roll back under these rules, or None if they may."""
    if not principal.may(Permission.ROLL_BACK, model):
        return f"{principal.name} may not roll back '{model}': {principal.needs(Permission.ROLL_BACK)}."
    for rule in rules:
        if rule.rollback and rule.rollback.by and not matches_any(rule.rollback.by, principal, model):
            return f"Rule '{rule.name}' lets only {join(rule.rollback.by)} roll back, not {principal.name}."
    return None
