"""What a policy has against moves, those of the past included: judged on facts of then, by part of the policy."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.decisions.verdict import frozen_for_rollback, said_of, uncovered
from lockgate.gates.freeze import frozen_by
from lockgate.gates.judge import Facts, judge
from lockgate.gates.policy import Policy, Rule
from lockgate.promotions.target import Target
from lockgate.reviews.standing import Exclusions, Review, missing_approvals


class MoveOutcome(StrEnum):
    """What a policy makes of a move."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    #: A rollback or a broken glass: no promotion, so that gates and approvals don't ask.
    EXEMPT = "exempt"


@dataclass(frozen=True)
class Objection:
    """One thing that a policy has against a move."""

    #: The rule; nothing where it is not one rule that objects.
    rule: str
    #: The gate; or `approvals`, `freeze`, `uncovered`, `files` or `obstacle`.
    name: str
    sentence: str
    #: Whether only rules in audit mode object: as things are, the move would go and leave a finding.
    audited: bool


@dataclass(frozen=True)
class Count:
    """How many moves a gate, or another part of a rule, objects to."""

    rule: str
    name: str
    moves: int


def covering(policy: Policy, model: str, target: Target) -> tuple[Rule, ...]:
    """Return all rules for a target of a model, those in audit mode included."""
    return tuple(rule for rule in policy.rules if rule.covers(model, target))


def closed(policy: Policy, model: str, target: Target) -> list[Objection]:
    """Object to any move of a target that some rule names, but none for this model."""
    reason = uncovered(policy, model, target)
    if reason is not None:
        return [Objection("", "uncovered", reason, audited=False)]
    reason = uncovered(_as_if_enforced(policy), model, target)
    return [Objection("", "uncovered", reason, audited=True)] if reason is not None else []


def _as_if_enforced(policy: Policy) -> Policy:
    rules = tuple(rule.model_copy(update={"mode": "enforce"}) for rule in policy.rules)
    return policy.model_copy(update={"rules": rules})


def weigh_move(
    rules: Sequence[Rule],
    facts: Facts,
    reviews: Iterable[Review],
    excluded: Exclusions,
    before_gate: Callable[[], None] = lambda: None,
) -> tuple[list[Objection], list[str]]:
    """Say what rules have against a promotion at the moment of its facts, and what they only warn of.

    Args:
        rules: The rules, those in audit mode included.
        facts: What was so at that moment, which is their `now`.
        reviews: The reviews of its request; later ones do not count.
        excluded: Who may not approve.
        before_gate: Called before each gate; may raise to end it, as gates can take their time.
    """
    given = [review for review in reviews if review.at <= facts.now]
    objections: list[Objection] = []
    warnings: list[str] = []
    for rule in rules:
        results = []
        for gate in rule.gates:
            before_gate()
            results += judge(rule.model_copy(update={"gates": (gate,)}), facts)
        said = [
            *((result.name, said_of(result)) for result in results if result.denies),
            *(
                ("approvals", s)
                for s in missing_approvals([rule], given, facts.model, facts.candidate.digest, excluded)
            ),
            *(("freeze", sentence) for sentence in frozen_by(rule.freeze, facts.now)),
        ]
        objections += [Objection(rule.name, name, sentence, rule.mode == "audit") for name, sentence in said]
        warnings += [said_of(result) for result in results if result.warns]
    return objections, warnings


def weigh_rollback(rules: Sequence[Rule], at: datetime) -> list[Objection]:
    """Say what rules have against a rollback at a moment: only freeze windows that bind rollbacks too."""
    return [
        Objection(rule.name, "freeze", sentence, rule.mode == "audit")
        for rule in rules
        for sentence in frozen_for_rollback([rule], at)
    ]


def count(moves: Iterable[Sequence[Objection]]) -> list[Count]:
    """Return how many moves each part of each rule objects to, most first."""
    counted = Counter(key for objections in moves for key in {(found.rule, found.name) for found in objections})
    return [Count(rule, name, n) for (rule, name), n in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]
