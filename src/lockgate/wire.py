"""The JSON shapes that the server answers with and callers read. Times are RFC 3339 in UTC, versions are strings
as in MLflow's API.
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_MAX_VERSION = 2**31 - 1


def _version_number(value: object) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:11]) <= _MAX_VERSION:
        raise ValueError("a version is a positive whole number, such as 3")
    return int(text)


def rfc3339(at: datetime) -> str:
    """Return a time as it is shown: `2026-05-12T14:00:00.123Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(value))
    except ValueError:
        at = datetime.min
    if at.tzinfo is None or not 1970 < at.year < 9999:
        raise ValueError("a time needs a date, a time and a zone: 2026-05-12T14:00:00Z")
    return at


Time = Annotated[datetime, PlainSerializer(rfc3339, return_type=str)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
VersionNumber = Annotated[int, BeforeValidator(_version_number), PlainSerializer(str, return_type=str)]
#: Of models; MLflow allows almost everything in them.
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]+$")]
CheckName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w .\-/]+$")]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]
PolicyVersion = Annotated[int, Field(ge=0, le=_MAX_VERSION)]
TargetText = Annotated[str, Field(min_length=1, max_length=300)]
Text = Annotated[str, Field(max_length=10_000)]
Digest = Annotated[str, Field(max_length=100)]
Url = Annotated[str, Field(max_length=2_000)]


class _Body(BaseModel):
    """What a caller sends; what is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)


class AskBody(_Body):
    """Ask for a promotion."""

    model: Name
    version: VersionNumber
    target: TargetText
    comment: Text | None = None


class CommentBody(_Body):
    """Say something with a review or an end."""

    comment: Text | None = None


class ApproveBody(CommentBody):
    """Approve; with the digest of the evidence that was seen, nothing else can be approved by mistake."""

    evidence_digest: Digest | None = None


class AskAgainBody(CommentBody):
    """Ask people to review, or to review again; without names, those whose approvals were dismissed."""

    reviewers: list[Name] = []


class CheckBody(_Body):
    """Report a check."""

    model: Name
    version: VersionNumber
    name: CheckName
    status: str
    summary: Text | None = None
    details_url: Url | None = None
    metrics: dict[str, float] = {}
    evidence_digest: Digest | None = None


class RollbackBody(_Body):
    """Roll a target back."""

    target: TargetText
    reason: Text


class PolicyBody(_Body):
    """Put a policy in force."""

    source: str


class SimulateBody(_Body):
    """Try a policy on what has happened; without `source`, the policy in force."""

    source: str | None = None
    model: Name | None = None
    since: Moment | None = None
    max_results: Annotated[int, Field(ge=1, le=1_000)] = 200


class PrincipalBody(_Body):
    """Add a principal, or add to one."""

    name: Name
    kind: Annotated[str | None, Field(pattern="^(user|service)$")] = None
    groups: list[str] = []
    roles: list[str] = []
    password: str | None = None
    owner: Name | None = None


class PrincipalPatch(_Body):
    """Replace groups or roles, activate or deactivate."""

    groups: list[str] | None = None
    roles: list[str] | None = None
    active: bool | None = None
    owner: Name | None = None
    same_person_as: Name | None = None


class TokenBody(_Body):
    """Make a token; `only` and `only_models` narrow it to actions and patterns of names."""

    principal: Name
    expires: Annotated[str | None, Field(max_length=20)] = None
    only: list[str] = []
    only_models: list[str] = []


class AccessBody(_Body):
    """An access file to apply; `expect` is the digest of the plan that was seen."""

    source: str
    prune: bool = False
    dry_run: bool = False
    expect: Digest | None = None


class IdentityBody(_Body):
    """Say who somebody is to an OpenID provider."""

    issuer: Name
    subject: Name


class GateView(BaseModel):
    """A gate and what it came to."""

    rule: str
    name: str
    outcome: str
    explanation: str
    mode: str


class ReviewView(BaseModel):
    """A review. It counts if it was given on the present evidence."""

    reviewer: str
    verdict: str
    comment: str
    evidence_digest: str
    at: Time
    #: What changed in the evidence, so that an approval is void.
    dismissed: str
    #: Whether a rejection was lifted, so that the same can be asked for again.
    lifted: bool


class RequestView(BaseModel):
    """A promotion request."""

    id: int
    model: str
    version: str
    target: str
    state: str
    requester: str
    comment: str
    created_at: Time
    expires_at: Time
    policy_version: int
    incumbent: str | None
    evidence: dict[str, Any]
    #: How far the hashing of the version's files has come; empty when it is done.
    hashing: str
    gates: list[GateView]
    reviews: list[ReviewView]
    asked_reviewers: list[str]
    excluded: dict[str, str]
    unmet: list[str]
    warnings: list[str]
    outcome: str
    url: str


class RequestList(BaseModel):
    """A page of requests."""

    requests: list[RequestView]
    next_page_token: str | None = None


class CheckView(BaseModel):
    """A check as it was reported."""

    model: str
    version: str
    name: str
    status: str
    summary: str
    details_url: str
    metrics: dict[str, float]
    evidence_digest: str
    reporter: str
    at: Time


class DecisionView(BaseModel):
    """A decision that moved a target."""

    id: int
    kind: str
    model: str
    target: str
    version: str | None
    previous_version: str | None
    by: str
    reason: str
    at: Time
    #: The hold on the version that a rollback took out.
    hold: int | None = None
    break_glass: int | None = None
    #: What was missing when the glass was broken.
    unmet: list[str] = []
    #: By when a second person must review a break-glass.
    review_by: Time | None = None


class HoldBody(_Body):
    """Put a version on hold."""

    model: Name
    version: VersionNumber
    target: TargetText | None = None
    reason: Text


class HoldView(BaseModel):
    """A version that may not be promoted until somebody lifts it."""

    id: int
    model: str
    version: str
    target: str | None
    reason: str
    by: str
    at: Time


class HoldList(BaseModel):
    """The holds that nobody has lifted."""

    holds: list[HoldView]


class FreezeBody(_Body):
    """Freeze promotions for a time."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    models: Name
    target: TargetText | None = None
    from_: Annotated[Moment | None, Field(alias="from")] = None
    to: Moment
    reason: Text


class FreezeView(BaseModel):
    """A time in which nothing is promoted."""

    model_config = ConfigDict(populate_by_name=True)

    id: int
    models: str
    target: str | None
    from_: Annotated[Time, Field(serialization_alias="from")]
    to: Time
    reason: str
    by: str


class FreezeList(BaseModel):
    """The freezes that are coming or in force."""

    freezes: list[FreezeView]


class BreakGlassBody(_Body):
    """Move a target past the gate."""

    model: Name
    version: VersionNumber
    target: TargetText
    reason: Text
    ticket: Annotated[str | None, Field(max_length=300)] = None


class BreakGlassReviewBody(_Body):
    """Say whether breaking the glass was right."""

    verdict: Annotated[str, Field(pattern="^(approve|reject)$")]
    comment: Text | None = None


class BreakGlassView(BaseModel):
    """One time that the glass was broken."""

    id: int
    decision_id: int
    model: str
    version: str
    target: str
    by: str
    reason: str
    ticket: str
    unmet: list[str]
    at: Time
    review_by: Time
    reviewed_at: Time | None
    reviewer: str | None
    verdict: str | None
    comment: str


class BreakGlassList(BaseModel):
    """Times that the glass was broken, newest first."""

    break_glass: list[BreakGlassView]


class TenureView(BaseModel):
    """A version's time in a target."""

    model_config = ConfigDict(populate_by_name=True)

    target: str
    version: str
    from_: Annotated[Time, Field(serialization_alias="from")]
    to: Time | None
    how: str
    by: str | None
    approved_by: list[str]
    request_id: int | None
    reason: str


class HistoryView(BaseModel):
    """Who held a model's targets, oldest first."""

    model: str
    history: list[TenureView]


class PolicyView(BaseModel):
    """A policy."""

    version: int
    source: str
    applied_by: str
    applied_at: Time | None


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


class PrincipalView(BaseModel):
    """A principal."""

    name: str
    kind: str
    active: bool
    groups: list[str]
    roles: list[str]
    owner: str | None
    same_person_as: str | None


class PrincipalList(BaseModel):
    """All principals."""

    principals: list[PrincipalView]


class CaveatView(BaseModel):
    """What a token is narrowed to; null narrows nothing. All caveats of a token must permit what it is used for."""

    only: list[str] | None = None
    only_models: list[str] | None = None


class NewTokenView(BaseModel):
    """A new token; the only time that it is shown."""

    id: int
    principal: str
    token: str
    expires_at: Time | None
    caveats: list[CaveatView]


class TokenView(BaseModel):
    """A token that is valid."""

    id: int
    principal: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    caveats: list[CaveatView]


class TokenList(BaseModel):
    """Valid tokens, newest first."""

    tokens: list[TokenView]


class AccessView(BaseModel):
    """Who there is and what they may, as a file that can be applied."""

    source: str


class AccessChangeView(BaseModel):
    """What becomes of one principal, a sentence each."""

    principal: str
    changes: list[str]


class AccessPlanView(BaseModel):
    """What applying an access file changes; `applied` says whether it has."""

    changes: list[AccessChangeView]
    left_alone: list[str]
    digest: str
    applied: bool


class ReasonView(BaseModel):
    """One reason of an answer: whether it speaks for it (null: neither), and the sentence."""

    speaks_for: bool | None
    sentence: str


class ExplanationView(BaseModel):
    """Whether somebody may do something, and why."""

    principal: str
    action: str
    model: str | None
    target: str | None
    allowed: bool
    reasons: list[ReasonView]


class IdentityView(BaseModel):
    """Who somebody is to an OpenID provider."""

    name: str
    issuer: str
    subject: str


class IdentityList(BaseModel):
    """Who people are to OpenID providers, by name."""

    identities: list[IdentityView]


class AuditView(BaseModel):
    """An audit entry."""

    id: int
    at: Time
    actor: str
    address: str
    action: str
    outcome: str
    workspace: str
    model: str | None
    version: str | None
    target: str | None
    request_id: int | None
    decision_id: int | None
    before: dict[str, Any]
    after: dict[str, Any]
    reason: str


class AuditList(BaseModel):
    """A page of audit entries, newest first."""

    entries: list[AuditView]
    next_page_token: str | None = None


class ErrorView(BaseModel):
    """An error, in the shape of MLflow's API."""

    error_code: str
    message: str
    details: dict[str, Any] = {}
