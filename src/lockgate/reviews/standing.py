"""Whose approval counts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.access.principals import Principal
from lockgate.access.roles import Permission
from lockgate.access.selectors import join, matches_any
from lockgate.gates.policy import Approvals, Rule


class Verdict(StrEnum):
    """What a reviewer said."""

    APPROVE = "approve"
    REJECT = "reject"
    COMMENT = "comment"


@dataclass(frozen=True)
class Review:
    """One review of a request, bound to the evidence that the reviewer saw."""

    id: int
    reviewer: Principal
    verdict: Verdict
    comment: str
    evidence_digest: str
    at: datetime
    #: What changed in the evidence, so that an approval is void.
    dismissed: str = ""
    #: Whether a rejection was lifted.
    lifted: bool = False


#: Names of excluded principals, each with why: `the requester`, `registered the version`, `made the run`.
Exclusions = Mapping[str, str]


def why_not(reviewer: Principal, model: str, excluded: Exclusions) -> str | None:
    """Say why somebody may not approve or reject, or None if they may."""
    if reviewer.is_service:
        return f"{reviewer.name} is a service account; only people approve"
    if reviewer.name in excluded:
        return f"{reviewer.name} {excluded[reviewer.name]}, and nobody approves their own work"
    if not reviewer.may(Permission.REVIEW, model):
        return f"{reviewer.name} may not review '{model}': {reviewer.needs(Permission.REVIEW)}"
    return None


def missing_approvals(
    rules: Iterable[Rule], reviews: Iterable[Review], model: str, digest: str, excluded: Exclusions
) -> list[str]:
    """Return a sentence for each demand of the rules that approvals do not meet yet.

    Args:
        rules: The rules that apply.
        reviews: All reviews of the request, with their givers' standing of now.
        model: The model's name.
        digest: Digest of the present evidence; reviews of any other do not count, nor do dismissed ones, even if the
            evidence comes to be again what it was.
        excluded: Who may not approve.
    """
    given = [review for review in reviews if review.verdict is Verdict.APPROVE]
    approvers = {
        review.reviewer.name: review.reviewer
        for review in given
        if review.evidence_digest == digest
        and not review.dismissed
        and why_not(review.reviewer, model, excluded) is None
    }
    void = {review.reviewer.name: review.reviewer for review in given if review.reviewer.name not in approvers}
    missing = []
    for rule in rules:
        filled = fill(rule.approvals, list(approvers.values()), model)
        for demand, counted in zip(rule.approvals, filled, strict=True):
            if len(counted) < demand.required:
                others = {name for name, approver in approvers.items() if not _counts(demand, approver, model)}
                missing.append(
                    _sentence(rule, demand, len(counted), excluded)
                    + _why_void(demand, others, _meant(demand, void.values(), model))
                )
    return missing


def fill(demands: Sequence[Approvals], approvers: Sequence[Principal], model: str) -> list[set[str]]:
    """Return who counts for each demand of one rule. Nobody counts twice, with however many accounts; as many places as
    can be are filled.

    This is bipartite matching by augmenting paths: somebody who could count for two demands moves over where that
    makes room.
    """
    places = [which for which, demand in enumerate(demands) for _ in range(demand.required)]
    accounts: dict[str, list[Principal]] = {}
    for approver in approvers:
        accounts.setdefault(approver.person, []).append(approver)
    taken: dict[int, str] = {}

    def seat(person: str, tried: set[int]) -> bool:
        for place, which in enumerate(places):
            if place in tried or not any(_counts(demands[which], account, model) for account in accounts[person]):
                continue
            tried.add(place)
            if place not in taken or seat(taken[place], tried):
                taken[place] = person
                return True
        return False

    for person in accounts:
        seat(person, set())
    return [
        {taken[place] for place, at in enumerate(places) if at == which and place in taken}
        for which in range(len(demands))
    ]


def _why_void(demand: Approvals, others: Iterable[str], void: Iterable[str]) -> str:
    reasons = [
        *(f"{name} approved, but is not in {join(demand.from_)}." for name in sorted(others)),
        *(f"{name} approved, but evidence or standing has changed since." for name in sorted(void)),
    ]
    return "".join(f" {reason}" for reason in reasons)


def _meant(demand: Approvals, people: Iterable[Principal], model: str) -> list[str]:
    return [person.name for person in people if _counts(demand, person, model)]


def _counts(demand: Approvals, approver: Principal, model: str) -> bool:
    return not demand.from_ or matches_any(demand.from_, approver, model)


def _sentence(rule: Rule, demand: Approvals, counted: int, excluded: Exclusions) -> str:
    left = demand.required - counted
    whose = join(demand.from_) if demand.from_ else "a reviewer"
    so_far = f" ({counted} of {demand.required} given)" if demand.required > 1 else ""
    others = f"; not from {', '.join(sorted(excluded))}" if excluded else ""
    return f"Rule '{rule.name}' needs {left} more approval{'s' if left > 1 else ''} from {whose}{so_far}{others}."
