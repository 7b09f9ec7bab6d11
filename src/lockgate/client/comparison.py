"""Comparing a candidate with the incumbent: what was measured and demanded, to what a check reports."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

#: As many as the server takes for a check.
MAX_METRICS = 100
_MAX_SUMMARY = 4_000
#: 0.9 - 0.895 is a little more than 0.005 to a computer, and no more than that to whoever wrote the bound.
_ROUNDING = 1e-12

Status = Literal["success", "failure"]
Outcome = Literal["met", "missed", "not applied"]


class Kind(StrEnum):
    """What a bound demands of a metric."""

    MIN = "min"
    MAX = "max"
    MAX_DROP = "max-drop"
    MAX_RISE = "max-rise"

    @property
    def is_relative(self) -> bool:
        """Whether it is about the difference to the incumbent."""
        return self in (Kind.MAX_DROP, Kind.MAX_RISE)


@dataclass(frozen=True)
class Bound:
    """What a metric of the candidate must hold to."""

    kind: Kind
    metric: str
    limit: float


@dataclass(frozen=True)
class Measurement:
    """What the evaluation of a version came to: metrics, or the reason why there are none."""

    version: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Setting:
    """What the measurements were made for and on.

    Args:
        targets: The targets, in words, whose holder is the incumbent.
        dataset: The dataset, in words, with its digest.
    """

    targets: str
    dataset: str


@dataclass(frozen=True)
class Judgement:
    """What a bound came to."""

    bound: Bound
    outcome: Outcome
    explanation: str


@dataclass(frozen=True)
class Comparison:
    """What a check reports."""

    status: Status
    summary: str
    metrics: Mapping[str, float]
    judgements: Sequence[Judgement]


def compare(
    candidate: Measurement, incumbent: Measurement | None, bounds: Sequence[Bound], setting: Setting
) -> Comparison:
    """Judge a candidate beside the incumbent, if there is one.

    Whatever can't be judged counts as missed, but for differences to an incumbent that nobody has chosen yet.
    """
    judgements = [] if candidate.failure else [_judge(bound, candidate, incumbent) for bound in bounds]
    missed = any(judgement.outcome == "missed" for judgement in judgements)
    both_ran = not candidate.failure and not (incumbent and incumbent.failure)
    held = bool(bounds) and not candidate.failure and not missed
    sentences = [
        *_opening(candidate, incumbent, setting),
        *(judgement.explanation for judgement in judgements),
        *([] if bounds or not both_ran else ["Nothing was demanded of the metrics."]),
    ]
    return Comparison(
        status="success" if held or (both_ran and not bounds) else "failure",
        summary=" ".join(sentences)[:_MAX_SUMMARY],
        metrics=_flat(candidate, incumbent, [bound.metric for bound in bounds]),
        judgements=judgements,
    )


def _opening(candidate: Measurement, incumbent: Measurement | None, setting: Setting) -> Iterable[str]:
    if candidate.failure:
        yield f"Version {candidate.version} failed on {setting.dataset}: {candidate.failure}"
    elif incumbent is None:
        yield f"Version {candidate.version} was evaluated on {setting.dataset}; no incumbent holds {setting.targets}."
    elif incumbent.failure:
        yield f"Version {candidate.version} was evaluated on {setting.dataset}."
        yield f"The incumbent, version {incumbent.version} ({setting.targets}), failed: {incumbent.failure}"
    elif incumbent.version == candidate.version:
        yield f"Version {candidate.version} was evaluated on {setting.dataset}; it holds {setting.targets} itself."
    else:
        yield (
            f"Version {candidate.version} was compared with version {incumbent.version} ({setting.targets}) "
            f"on {setting.dataset}."
        )


def _judge(bound: Bound, candidate: Measurement, incumbent: Measurement | None) -> Judgement:
    reached = candidate.metrics.get(bound.metric)
    if reached is None:
        return Judgement(bound, "missed", _nothing_called(bound.metric, candidate))
    if not math.isfinite(reached):
        return Judgement(bound, "missed", f"{bound.metric} of version {candidate.version} is not a finite number.")
    if bound.kind.is_relative:
        return _judge_difference(bound, reached, incumbent)
    return _judge_value(bound, reached)


def _nothing_called(metric: str, measured: Measurement) -> str:
    there = ", ".join(sorted(measured.metrics)) or "none"
    return f"Version {measured.version} has no metric {metric!r}; there are: {there}."


def _judge_value(bound: Bound, reached: float) -> Judgement:
    least = bound.kind is Kind.MIN
    met = reached >= bound.limit if least else reached <= bound.limit
    demand = f"{'at least' if least else 'at most'} {_shown(bound.limit)}"
    said = f"{bound.metric} is {_shown(reached)}, {'as demanded' if met else 'not'} {demand}."
    return Judgement(bound, "met" if met else "missed", said)


def _judge_difference(bound: Bound, reached: float, incumbent: Measurement | None) -> Judgement:
    way = "drop" if bound.kind is Kind.MAX_DROP else "rise"
    if incumbent is None:
        said = f"The bound on the {way} of {bound.metric} does not apply without an incumbent."
        return Judgement(bound, "not applied", said)
    before = math.nan if incumbent.failure else incumbent.metrics.get(bound.metric, math.nan)
    if not math.isfinite(before):
        said = f"The {way} of {bound.metric} can't be judged: version {incumbent.version} has no such number."
        return Judgement(bound, "missed", said)
    worse = before - reached if way == "drop" else reached - before
    met = worse <= bound.limit + _ROUNDING * max(1.0, abs(before), abs(reached))
    said = (
        f"{bound.metric} went from {_shown(before)} to {_shown(reached)}: "
        f"a {way} of {_shown(worse)}, {'within' if met else 'more than'} the {_shown(bound.limit)} allowed."
    )
    return Judgement(bound, "met" if met else "missed", said)


def _flat(candidate: Measurement, incumbent: Measurement | None, first: Iterable[str]) -> dict[str, float]:
    """Return what a check reports: finite numbers, those that bounds are about first, a metric whole or not at all."""
    flat = {} if incumbent is None else {"incumbent.version": float(incumbent.version)}
    for metric in dict.fromkeys([*first, *sorted(candidate.metrics)]):
        group = _group(metric, candidate, incumbent)
        if len(flat) + len(group) > MAX_METRICS:
            break
        flat.update(group)
    return flat


def _group(metric: str, candidate: Measurement, incumbent: Measurement | None) -> dict[str, float]:
    mine = candidate.metrics.get(metric, math.nan)
    theirs = math.nan if incumbent is None else incumbent.metrics.get(metric, math.nan)
    numbers = {f"candidate.{metric}": mine, f"incumbent.{metric}": theirs, f"difference.{metric}": mine - theirs}
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _shown(number: float) -> str:
    # Enough digits that a number just past a bound does not read like the bound.
    return f"{round(number, 9):.9g}"
