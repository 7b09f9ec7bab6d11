"""Promotion requests, their reviews and checks."""

from typing import Any

from pydantic import BaseModel

from lockgate.wire.words import Body, CheckName, Digest, Name, TargetText, Text, Time, Url, VersionNumber


class AskBody(Body):
    """Ask for a promotion."""

    model: Name
    version: VersionNumber
    target: TargetText
    comment: Text | None = None


class CommentBody(Body):
    """Say something with a review or an end."""

    comment: Text | None = None


class ApproveBody(CommentBody):
    """Approve; with the digest of the evidence that was seen, nothing else can be approved by mistake."""

    evidence_digest: Digest | None = None


class AskAgainBody(CommentBody):
    """Ask people to review, or to review again; without names, those whose approvals were dismissed."""

    reviewers: list[Name] = []


class CheckBody(Body):
    """Report a check."""

    model: Name
    version: VersionNumber
    name: CheckName
    status: str
    summary: Text | None = None
    details_url: Url | None = None
    metrics: dict[str, float] = {}
    evidence_digest: Digest | None = None


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
    #: When it was carried out, and by which decision; null if it was not.
    decided_at: Time | None
    decision_id: int | None
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
