"""The audit entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AuditOutcome(StrEnum):
    """Whether what was tried was done."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did, or was refused. Holds no secret."""

    action: str  # an event type
    actor: str
    actor_id: int | None
    address: str
    outcome: AuditOutcome = AuditOutcome.DONE
    workspace: str = "default"
    model_id: str | None = None
    model: str | None = None
    version: int | None = None
    target: str | None = None
    request_id: int | None = None
    decision_id: int | None = None
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
