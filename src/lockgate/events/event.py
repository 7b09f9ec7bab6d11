"""Event types, one for each action that is audited."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lockgate.audit.entry import AuditEntry


class EventType(StrEnum):
    """Every type of event that there is; each is also the action of an audit entry."""

    MODEL_CREATED = "model.created"
    MODEL_UPDATED = "model.updated"
    MODEL_RENAMED = "model.renamed"
    MODEL_DELETED = "model.deleted"
    MODEL_ADOPTED = "model.adopted"
    VERSION_CREATED = "version.created"
    VERSION_UPDATED = "version.updated"
    VERSION_DELETED = "version.deleted"
    TARGET_MOVED = "target.moved"
    REQUEST_OPENED = "request.opened"
    EVIDENCE_CHANGED = "request.evidence_changed"
    INCUMBENT_CHANGED = "request.incumbent_changed"
    GATE_FAILED = "request.gate_failed"
    GATES_PASSED = "request.gates_passed"
    REVIEW_ASKED = "request.review_asked"
    REJECTION_LIFTED = "request.rejection_lifted"
    REQUEST_COMMENTED = "request.commented"
    REQUEST_REVIEWED = "request.reviewed"
    REQUEST_REJECTED = "request.rejected"
    REQUEST_WITHDRAWN = "request.withdrawn"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_SUPERSEDED = "request.superseded"
    PROMOTION_REFUSED = "promotion.refused"
    PROMOTED = "promotion.done"
    ROLLED_BACK = "rollback.done"
    BREAK_GLASS = "break_glass.used"
    BREAK_GLASS_REVIEWED = "break_glass.reviewed"
    HELD = "hold.set"
    HOLD_LIFTED = "hold.lifted"
    FROZEN = "freeze.set"
    FREEZE_LIFTED = "freeze.lifted"
    WOULD_REFUSE = "policy.would_refuse"
    CLEARED = "target.cleared"
    CHECK_REPORTED = "check.reported"
    COMMENT_CREATED = "comment.created"
    COMMENT_UPDATED = "comment.updated"
    COMMENT_DELETED = "comment.deleted"
    POLICY_APPLIED = "policy.applied"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_APPROVED = "policy.approved"
    POLICY_REJECTED = "policy.rejected"
    WRITE_REFUSED = "artifacts.write_refused"
    ARTIFACTS_CHANGED = "artifacts.changed"
    GUARD_PLACED = "guard.placed"
    GUARD_REMOVED = "guard.removed"
    ROLES_SET = "roles.set"
    WEBHOOK_CHANGED = "webhook.changed"
    PRINCIPAL_CHANGED = "principal.changed"
    SIGNED_IN = "sign_in.done"
    SIGN_IN_REFUSED = "sign_in.refused"
    SIGNED_OUT = "sign_out.done"
    IDENTITY_LINKED = "identity.linked"
    IDENTITY_UNLINKED = "identity.unlinked"
    CALL_REFUSED = "call.refused"
    LOG_RESTORED = "log.restored"
    SIGNING_KEY_MADE = "signing_key.made"
    SECRET_KEY_ROTATED = "secret_key.rotated"  # noqa: S105
    TOKEN_CREATED = "token.created"  # noqa: S105
    TOKEN_REVOKED = "token.revoked"  # noqa: S105


@dataclass(frozen=True)
class Event:
    """Something to tell the world."""

    type: EventType
    workspace: str
    model: str | None
    data: Mapping[str, Any]


def event_of(entry: AuditEntry) -> Event:
    """Return the event that tells of an audited action."""
    data = {
        "actor": entry.actor,
        "outcome": entry.outcome,
        "model": entry.model,
        "version": entry.version,
        "target": entry.target,
        "request_id": entry.request_id,
        "before": dict(entry.before),
        "after": dict(entry.after),
        "reason": entry.reason,
    }
    told = {key: value for key, value in data.items() if value not in (None, "", {})}
    return Event(EventType(entry.action), entry.workspace, entry.model, told)
