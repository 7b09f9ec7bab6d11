"""The audit log."""

from typing import Any

from pydantic import BaseModel

from lockgate.wire.words import Time


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


class AuditVerification(BaseModel):
    """What following the hash chain in the database has found."""

    #: Whether nothing is wrong, as far as it was followed.
    intact: bool
    #: How many entries were followed.
    entries: int
    #: The last of them, and its hash.
    number: int
    hash: str
    #: A sentence each.
    problems: list[str]
    #: Places outside the database whose newest checkpoints agree, and such as none could be compared of.
    agreeing: list[str]
    unreachable: list[str]
    #: Restores that somebody acknowledged, a sentence each; at the end.
    restores: list[str]
    #: Call again with this as `after`; null if the end was reached.
    next_after: int | None


class Envelope(BaseModel):
    """Something that was signed (DSSE)."""

    payloadType: str  # noqa: N815 - DSSE's own name
    payload: str
    signatures: list[dict[str, str]]


class PublicKey(BaseModel):
    """What signatures of this server are verified with."""

    key_id: str
    #: Ed25519, in PEM.
    public_key: str
