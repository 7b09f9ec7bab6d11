"""Policies, their changes and simulations."""

from typing import Annotated

from pydantic import BaseModel, Field

from lockgate.wire.words import Body, Moment, Name, Time


class PolicyBody(Body):
    """Put a policy in force."""

    source: str


class SimulateBody(Body):
    """Try a policy on what has happened; without `source`, the policy in force."""

    source: str | None = None
    model: Name | None = None
    since: Moment | None = None
    max_results: Annotated[int, Field(ge=1, le=1_000)] = 200


class PolicyView(BaseModel):
    """A policy."""

    version: int
    source: str
    applied_by: str
    applied_at: Time | None
    #: Groups, roles and accounts that it names and nobody has: nobody could approve, promote or report as they.
    unknown: list[str]


class PolicyVersionView(BaseModel):
    """That a version of the policy was applied."""

    version: int
    applied_by: str
    applied_at: Time | None


class PolicyVersionList(BaseModel):
    """All versions of the policy, newest first."""

    versions: list[PolicyVersionView]


class PolicyApprovalView(BaseModel):
    """An approval of a policy change."""

    by: str
    at: Time


class PolicyChangeView(BaseModel):
    """A policy that is weaker than the one in force, and what it still needs."""

    id: int
    state: str
    proposer: str
    at: Time
    base_version: int
    weakens: list[str]
    approvals: list[PolicyApprovalView]
    missing: list[str]
    source: str


class PolicyChangeList(BaseModel):
    """Policy changes, newest first."""

    changes: list[PolicyChangeView]


class SimulatedView(BaseModel):
    """A move of the past, or a live request as if it were carried out now, under the policy that is tried."""

    model: str
    version: str
    target: str
    at: Time
    how: str
    by: str | None
    request_id: int | None
    outcome: str
    evidence: str | None
    unmet: list[str]
    #: Those of `unmet` that only rules in audit mode say.
    audited: list[str]
    warnings: list[str]


class RefusedByView(BaseModel):
    """How many moves a gate, or another part of a rule, objects to."""

    rule: str
    name: str
    moves: int


class TotalsView(BaseModel):
    """A simulation in numbers."""

    moves: int
    allowed: int
    refused: int
    exempt: int
    #: Refused by rules in audit mode only.
    audited: int
    #: Not judged: their versions were deleted, and nothing is known of them any more.
    left_out: int
    refused_by: list[RefusedByView]


class FindingView(BaseModel):
    """What rules in audit mode would have refused while they were in force."""

    at: Time
    model: str
    version: str
    target: str
    by: str
    request_id: int | None
    rules: list[str]
    unmet: list[str]


class SimulationView(BaseModel):
    """What a policy would have made of the past, newest first."""

    moves: list[SimulatedView]
    requests: list[SimulatedView]
    totals: TotalsView
    cut: bool
    findings: list[FindingView]
