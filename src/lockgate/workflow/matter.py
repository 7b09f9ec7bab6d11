"""What is judged, asked for or not: that a target of a model move to a version. And what stands in its way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from lockgate.database import (
    break_glass,
    checks,
    freezes,
    history,
    holds,
    identities,
    people,
    requests,
)
from lockgate.database.holds import Hold
from lockgate.database.identities import Model
from lockgate.database.noted import Noted, about
from lockgate.database.people import Kin
from lockgate.decisions.verdict import Verdict, decide
from lockgate.evidence.manifest import Hashing
from lockgate.evidence.record import Evidence, Provenance
from lockgate.gates.judge import Facts, GateResult, judge
from lockgate.gates.policy import Rule
from lockgate.promotions.target import Target
from lockgate.registry.facts import Files, gather
from lockgate.reviews.standing import Review
from lockgate.wire.words import rfc3339
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Matter:
    """What is judged: that a target of a model move to a version."""

    model: Model
    version_id: str
    target: Target
    rules: tuple[Rule, ...]
    evidence: Evidence
    #: How far hashing the version's files has come; nothing if it is done.
    progress: str
    #: The version number that holds the target now.
    holder: int | None
    requester: str
    reviews: tuple[Review, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """What a matter has come to, and what that rests on."""

    verdict: Verdict
    #: Evidence of the version that holds the target now, if any gate compares with it.
    incumbent: Evidence | None
    excluded: Mapping[str, str]


def weigh(
    session: Session,
    stores: Stores,
    matter: Matter,
    now: datetime,
    results: tuple[GateResult, ...] | None = None,
) -> Judgement:
    """Judge a matter: its gates, unless their results are given, its reviews, and whatever else stands in the way."""
    noted = about(session, matter.model, matter.version_id, now)
    excluded, makers = _excluded_and_makers(session, matter.requester, matter.evidence)
    incumbent = None
    if results is None:
        incumbent = _incumbent(session, stores, matter)
        facts = _facts(session, matter, noted, incumbent, makers, now)
        results = tuple(result for rule in matter.rules for result in judge(rule, facts))
    on_hold = holds.on_version(session, matter.version_id) if noted.holds else []
    verdict = decide(
        matter.rules,
        results,
        matter.reviews,
        matter.model.name,
        matter.evidence.digest,
        excluded,
        now,
        obstacles(session, matter, noted, on_hold, now),
    )
    verdict = replace(verdict, warnings=(*_held_elsewhere(on_hold, matter), *verdict.warnings))
    return Judgement(verdict, incumbent, excluded)


def _facts(
    session: Session, matter: Matter, noted: Noted, incumbent: Evidence | None, makers: frozenset[str], now: datetime
) -> Facts:
    return Facts(
        model=matter.model.name,
        candidate=matter.evidence,
        incumbent=incumbent,
        requester=matter.requester,
        makers=makers,
        checks=checks.newest(session, [matter.version_id]).get(matter.version_id, {}) if noted.checks else {},
        held_since=history.holding_since(session, matter.version_id) if noted.tenures else {},
        now=now,
    )


def exclusions(session: Session, requester: str, evidence: Evidence) -> dict[str, str]:
    """Return who may not approve, each with why."""
    return _excluded_and_makers(session, requester, evidence)[0]


def _excluded_and_makers(session: Session, requester: str, evidence: Evidence) -> tuple[dict[str, str], frozenset[str]]:
    """Return also who shaped the version themselves, with any of their accounts: not who only answers for an account
    that did, which is as good a reporter of checks as any pipeline's."""
    excluded = dict.fromkeys(evidence.authors, "had a hand in the run behind this version")
    if evidence.registrar:
        excluded[evidence.registrar] = "registered this version"
    excluded[requester] = "asked for this promotion"
    makers = set(excluded)
    for kin in people.kin_of(session, tuple(excluded)):
        excluded.setdefault(kin.name, _through(kin, excluded[kin.of]))
        if kin.owner is None:
            makers.add(kin.name)
    return excluded, frozenset(makers)


def _through(kin: Kin, why: str) -> str:
    if kin.owner is None:
        return f"is the same person as {kin.of}, who {why}"
    answers = f"answers for {kin.of}, which {why}"
    return answers if kin.name == kin.owner else f"is the same person as {kin.owner}, who {answers}"


def obstacles(session: Session, matter: Matter, noted: Noted, on_hold: Sequence[Hold], now: datetime) -> list[str]:
    """Return what stands in the way of a promotion apart from gates and reviews, a sentence each."""
    held_back = [held(hold) for hold in on_hold if hold.binds(matter.target)]
    if not matter.rules:
        return held_back
    return [
        *_file_obstacles(matter),
        *held_back,
        *(one_off_freezes(session, matter.model, matter.target, now) if noted.freezes else ()),
        *(
            f"{emergency.by} broke the glass for {emergency.target} at {rfc3339(emergency.at)}, and no second person "
            f"has reviewed that by {rfc3339(emergency.review_by)}: until somebody does (`lockgate "
            f"break-glass-review {emergency.id}`), nothing of '{matter.model.name}' is promoted."
            for emergency in (break_glass.of_model(session, matter.model.id) if noted.emergencies else ())
            if emergency.is_overdue(now)
        ),
    ]


def held(hold: Hold) -> str:
    """Say that a version is on hold, and who lifts that."""
    return (
        f"Version {hold.version} is on hold since {rfc3339(hold.at)} ({hold.by}: {hold.reason.rstrip('.')}). "
        f"Somebody who reviews, operates or maintains lifts that (`lockgate unhold {hold.id}`)."
    )


def _held_elsewhere(on_hold: Sequence[Hold], matter: Matter) -> list[str]:
    return [
        f"Version {hold.version} is on hold for {hold.target} ({hold.by}: {hold.reason.rstrip('.')})."
        for hold in on_hold
        if not hold.binds(matter.target)
    ]


def one_off_freezes(session: Session, model: Model, target: Target, now: datetime) -> list[str]:
    """Return a sentence for each one-off freeze that is in force."""
    return [
        f"{freeze.by} has frozen {freeze.target or 'promotions'} of '{freeze.pattern}' until "
        f"{rfc3339(freeze.ends_at)}: {freeze.reason.rstrip('.')} (freeze {freeze.id})."
        for freeze in freezes.in_force(session, model.workspace, model.name, target, now)
    ]


def _file_obstacles(matter: Matter) -> list[str]:
    evidence = matter.evidence
    found = foreign_files(evidence)
    if matter.progress or evidence.artifacts.state is Hashing.PENDING:
        so_far = f" ({matter.progress})" if matter.progress else ""
        found.append(f"The files are being hashed{so_far}. Look again in a moment.")
    return found


def foreign_files(evidence: Evidence) -> list[str]:
    """Say that the files are not those of the run that the version names."""
    if evidence.provenance is not Provenance.FOREIGN:
        return []
    return [
        f"The files of version {evidence.number} ({evidence.source}) are not those of run {evidence.run_id}, so "
        f"what the run logged is no evidence about them. Register the version from runs:/{evidence.run_id}/..., "
        "or without a run."
    ]


def approved_evidence(session: Session, version_id: str, target: Target) -> Evidence | None:
    """Return the evidence on which a version last came to a target, by a promotion or an approved break-glass."""
    found = (
        requests.approved_evidence(session, version_id, target),
        break_glass.approved_evidence(session, version_id, target),
    )
    by_decision = {one.decision_id: one.evidence for one in found if one is not None}
    return by_decision[max(by_decision)] if by_decision else None


def _incumbent(session: Session, stores: Stores, matter: Matter) -> Evidence | None:
    if matter.holder is None or not any(gate.compares for rule in matter.rules for gate in rule.gates):
        return None
    known = identities.version(session, matter.model.id, matter.holder)
    if known is None:
        return None
    # What was approved then: its run is open to everybody, and must not make the next one look better.
    approved = approved_evidence(session, known.id, matter.target)
    if approved is not None:
        return approved
    return gather(session, stores.tracking, matter.model, known, Files())
