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
