"""Judging: what each gate of a rule comes to, on given facts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from lockgate.access.principals import Principal
from lockgate.access.selectors import join, matches_any
from lockgate.evidence.manifest import Hashing
from lockgate.evidence.record import Evidence
from lockgate.gates.expression import evaluate
from lockgate.gates.policy import Gate, GateMode, Requirements, Rule, SameDataset, SoakTime
from lockgate.promotions.target import Target


class Outcome(StrEnum):
    """What a gate came to. Only `passed` lets a promotion go on."""

    PASSED = "passed"
    FAILED = "failed"
    PENDING = "pending"
    ERROR = "error"


@dataclass(frozen=True)
class GateResult:
    """A gate's outcome, with a sentence that explains it."""

    rule: str
    name: str
    outcome: Outcome
    explanation: str
    mode: GateMode = "deny"

    @property
    def denies(self) -> bool:
        """Whether the promotion can't go on because of this gate."""
        return self.mode == "deny" and self.outcome is not Outcome.PASSED

    @property
    def warns(self) -> bool:
        """Whether people should know of this gate before they decide."""
        return self.mode == "warn" and self.outcome is not Outcome.PASSED


@dataclass(frozen=True)
class Check:
    """The newest result that was reported under a name for the candidate."""

    name: str
    status: str
    reporter: Principal
    at: datetime
    #: Digest of the evidence that was checked.
    evidence_digest: str = ""
    summary: str = ""
    url: str = ""
    metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class Facts:
    """All that gates may look at."""

    model: str
    candidate: Evidence
    incumbent: Evidence | None
    requester: str
    #: Names of people who shaped the candidate: their own reports do not pass a check.
    makers: frozenset[str]
    checks: Mapping[str, Check]
    #: Since when the candidate has held each target without a break.
    held_since: Mapping[Target, datetime]
    now: datetime


def judge(rule: Rule, facts: Facts) -> list[GateResult]:
    """Return the outcome of each gate of a rule."""
    results = []
    for gate in rule.gates:
        outcome, explanation = _judge(gate, facts)
        results.append(GateResult(rule.name, gate.name, outcome, explanation, gate.mode))
    return results


def _judge(gate: Gate, facts: Facts) -> tuple[Outcome, str]:
    if gate.when == "first" and facts.incumbent is not None:
        return Outcome.PASSED, "it is for first promotions, and this one replaces an incumbent"
    if gate.when == "replacing" and facts.incumbent is None:
        return Outcome.PASSED, "it is for promotions that replace an incumbent, and this is a first one"
    if gate.expr is not None:
        return _judge_expression(gate.expr, facts)
    if gate.check is not None:
        return _judge_check(gate, gate.check, facts)
    if gate.requires is not None:
        return _judge_requirements(gate.requires, facts.candidate)
    if gate.soak is not None:
        return _judge_soak(gate.soak, facts)
    if gate.same_dataset is not None:
        return _judge_same_dataset(gate.same_dataset, facts)
    return Outcome.ERROR, "the gate has no condition"


def _judge_expression(expression: str, facts: Facts) -> tuple[Outcome, str]:
    result = evaluate(expression, variables(facts))
    if result.value is None:
        return Outcome.ERROR, result.explanation
    return (Outcome.PASSED if result.value else Outcome.FAILED), result.explanation


def variables(facts: Facts) -> dict[str, Any]:
    """Return what expressions see."""
    return {
        **_side(facts.model, facts.candidate),
        "incumbent": _side(facts.model, facts.incumbent) if facts.incumbent else None,
        "requester": facts.requester,
        "checks": {
            name: {"status": check.status, "summary": check.summary, "metrics": dict(check.metrics or {})}
            for name, check in facts.checks.items()
        },
        "now": facts.now,
    }


def _side(model: str, evidence: Evidence) -> dict[str, Any]:
    return {
        # One that is not a number counts as missing: it compares with nothing.
        "metrics": {name: value for name, value in evidence.metrics.items() if not math.isnan(value)},
        "params": dict(evidence.params),
        "tags": dict(evidence.tags),
        "version": {
            "number": evidence.number,
            "tags": dict(evidence.version_tags),
            "description": evidence.description,
            "created_at": evidence.created_at,
            "source": evidence.source,
            "run_id": evidence.run_id,
        },
        "model": {"name": model, "tags": dict(evidence.model_tags)},
        "datasets": [{"name": d.name, "digest": d.digest, "context": d.context} for d in evidence.datasets],
        "artifacts": {
            "state": str(evidence.artifacts.state),
            "digest": evidence.artifacts.digest,
            "files": len(evidence.artifacts.files),
            "bytes": evidence.artifacts.size,
        },
    }


def _judge_check(gate: Gate, name: str, facts: Facts) -> tuple[Outcome, str]:
    check = facts.checks.get(name)
    if check is None:
        how = f"lockgate check {facts.model} {facts.candidate.number} {name} --status success"
        whose = f", which counts from {join(gate.from_)}" if gate.from_ else ""
        return Outcome.PENDING, f"the check '{name}' has not been reported (`{how}`{whose})"
    reporter = check.reporter
    if gate.from_ and not matches_any(gate.from_, reporter, facts.model):
        return (
            Outcome.PENDING,
            f"the check '{name}' counts only from {join(gate.from_)}, not from {reporter.name}",
        )
    if not reporter.is_service and reporter.name in facts.makers:
        return Outcome.PENDING, (
            f"the check '{name}' was reported by {reporter.name}, who shaped this version; "
            "let CI or somebody else report it"
        )
    if not gate.from_ and reporter.owner in facts.makers:
        return Outcome.PENDING, (
            f"the check '{name}' was reported by {reporter.name}, which {reporter.owner} answers for, who shaped this "
            "version; let another account report it, or name this one in the gate's `from`"
        )
    if check.evidence_digest != facts.candidate.digest:
        return Outcome.PENDING, (
            f"{reporter.name} reported '{name}' as {check.status} on evidence that has changed since; run it again"
        )
    said = f"{reporter.name} reported '{name}' as {check.status}" + (f": {check.summary}" if check.summary else "")
    outcomes = {"success": Outcome.PASSED, "failure": Outcome.FAILED}
    return outcomes.get(check.status, Outcome.PENDING), said


def _judge_requirements(requires: Requirements, evidence: Evidence) -> tuple[Outcome, str]:
    missing = [
        *(["a description"] if requires.description and not evidence.description.strip() else []),
        *(["a signature"] if requires.signature and not evidence.signature else []),
        *(["an input example"] if requires.input_example and not evidence.has_input_example else []),
        *([_without_files(evidence)] if requires.artifacts and not _has_known_files(evidence) else []),
        *(f"the run tag '{key}'" for key in requires.run_tags if not evidence.tags.get(key)),
        *(f"the version tag '{key}'" for key in requires.version_tags if not evidence.version_tags.get(key)),
        *(f"the model tag '{key}'" for key in requires.model_tags if not evidence.model_tags.get(key)),
    ]
    if missing:
        return Outcome.FAILED, f"missing: {', '.join(missing)}"
    return Outcome.PASSED, "everything that is required is there"


def _has_known_files(evidence: Evidence) -> bool:
    return evidence.artifacts.state is Hashing.HASHED and bool(evidence.artifacts.files)


def _without_files(evidence: Evidence) -> str:
    return f"files that could be hashed ({evidence.artifacts.reason or 'there are none'})"


_TRAINING = frozenset({"train", "training"})


def _judge_same_dataset(wanted: SameDataset, facts: Facts) -> tuple[Outcome, str]:
    if facts.incumbent is None:
        return Outcome.PASSED, "there is no incumbent to compare with"
    candidate, incumbent = _measured_on(wanted, facts.candidate), _measured_on(wanted, facts.incumbent)
    which = f"with the context '{wanted.context}'" if wanted.context else "that was not for training"
    sides = ((candidate, f"version {facts.candidate.number}"), (incumbent, f"version {facts.incumbent.number}"))
    for datasets, whose in sides:
        if not datasets:
            return Outcome.FAILED, f"the run of {whose} logged no dataset {which}"
    if candidate == incumbent:
        return Outcome.PASSED, f"both were measured on {_named(candidate)}"
    return Outcome.FAILED, f"{sides[0][1]} was measured on {_named(candidate)}, {sides[1][1]} on {_named(incumbent)}"


def _measured_on(wanted: SameDataset, evidence: Evidence) -> frozenset[str]:
    return frozenset(
        dataset.digest
        for dataset in evidence.datasets
        if (dataset.context == wanted.context if wanted.context else dataset.context.lower() not in _TRAINING)
    )


def _named(digests: frozenset[str]) -> str:
    return f"dataset{'s' if len(digests) > 1 else ''} {', '.join(sorted(digests))}"


def _judge_soak(soak: SoakTime, facts: Facts) -> tuple[Outcome, str]:
    since = facts.held_since.get(soak.target)
    if since is None:
        return Outcome.PENDING, f"version {facts.candidate.number} is not in {soak.target}"
    held = facts.now - since
    stayed = f"version {facts.candidate.number} has been in {soak.target} for {_for_people(held)}"
    if held >= soak.for_:
        return Outcome.PASSED, f"{stayed}, at least {_for_people(soak.for_)}"
    return Outcome.PENDING, f"{stayed} of {_for_people(soak.for_)}"


def _for_people(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    shown = [f"{amount} {unit}" for amount, unit in parts if amount]
    return " ".join(shown[:2]) or "0 s"
