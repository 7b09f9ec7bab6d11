"""Whose approval counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lockgate.access.principals import Principal
from lockgate.access.roles import Permission, roles_with
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


#: Names of excluded principals, each with why: `the requester`, `registered the version`, `made the run`.
Exclusions = Mapping[str, str]


def why_not(reviewer: Principal, model: str, excluded: Exclusions) -> str | None:
    """Say why somebody may not approve or reject, or None if they may."""
    if reviewer.is_service:
        return f"{reviewer.name} is a service account; only people approve"
    if reviewer.name in excluded:
        return f"{reviewer.name} {excluded[reviewer.name]}, and nobody approves their own work"
    if not reviewer.may(Permission.REVIEW, model):
        return f"{reviewer.name} may not review '{model}': this needs the role {roles_with(Permission.REVIEW)}"
    return None


def missing_approvals(
    rules: Iterable[Rule], reviews: Iterable[Review], model: str, digest: str, excluded: Exclusions
) -> list[str]:
    """Return a sentence for each demand of the rules that approvals do not meet yet.

    Args:
        rules: The rules that apply.
        reviews: All reviews of the request, with their givers' standing of now.
        model: The model's name.
        digest: Digest of the present evidence; reviews of any other do not count.
        excluded: Who may not approve.
    """
    given = [review for review in reviews if review.verdict is Verdict.APPROVE]
    approvers = {
        review.reviewer.name: review.reviewer
        for review in given
        if review.evidence_digest == digest and why_not(review.reviewer, model, excluded) is None
    }
    void = {review.reviewer.name for review in given} - approvers.keys()
    missing = []
    for rule in rules:
        for demand in rule.approvals:
            counted = {name for name, approver in approvers.items() if _counts(demand, approver, model)}
            if len(counted) < demand.required:
                why = _why_void(demand, approvers.keys() - counted, void)
                missing.append(_sentence(rule, demand, len(counted), excluded) + why)
    return missing


def _why_void(demand: Approvals, others: Iterable[str], void: Iterable[str]) -> str:
    reasons = [
        *(f"{name} approved, but is not in {join(demand.from_)}." for name in sorted(others)),
        *(f"{name} approved, but evidence or standing has changed since." for name in sorted(void)),
    ]
    return "".join(f" {reason}" for reason in reasons)


def _counts(demand: Approvals, approver: Principal, model: str) -> bool:
    return not demand.from_ or matches_any(demand.from_, approver, model)


def _sentence(rule: Rule, demand: Approvals, counted: int, excluded: Exclusions) -> str:
    left = demand.required - counted
    whose = join(demand.from_) if demand.from_ else "a reviewer"
    so_far = f" ({counted} of {demand.required} given)" if demand.required > 1 else ""
    others = f"; not from {', '.join(sorted(excluded))}" if excluded else ""
    return f"Rule '{rule.name}' needs {left} more approval{'s' if left > 1 else ''} from {whose}{so_far}{others}."
