"""What people call each type of event, in chats and in the schema."""

from lockgate.events.dialect import Told
from lockgate.events.event import EventType

TITLES = {
    EventType.MODEL_CREATED: "Model registered",
    EventType.MODEL_UPDATED: "Model changed",
    EventType.MODEL_RENAMED: "Model renamed",
    EventType.MODEL_DELETED: "Model deleted",
    EventType.MODEL_ADOPTED: "Model taken over",
    EventType.VERSION_CREATED: "Version registered",
    EventType.VERSION_UPDATED: "Version changed",
    EventType.VERSION_DELETED: "Version deleted",
    EventType.TARGET_MOVED: "Stage or alias moved",
    EventType.REQUEST_OPENED: "Promotion requested",
    EventType.EVIDENCE_CHANGED: "Evidence changed under review",
    EventType.INCUMBENT_CHANGED: "Another version to compare with",
    EventType.GATE_FAILED: "Gate failed",
    EventType.GATES_PASSED: "All gates passed",
    EventType.REVIEW_ASKED: "Review asked for",
    EventType.REJECTION_LIFTED: "Rejection lifted",
    EventType.REQUEST_COMMENTED: "Comment on a request",
    EventType.REQUEST_REVIEWED: "Review",
    EventType.REQUEST_REJECTED: "Request rejected",
    EventType.REQUEST_WITHDRAWN: "Request withdrawn",
    EventType.REQUEST_EXPIRED: "Request expired",
    EventType.REQUEST_SUPERSEDED: "Request superseded",
    EventType.PROMOTION_REFUSED: "Promotion",
    EventType.PROMOTED: "Promotion",
    EventType.ROLLED_BACK: "Rollback",
    EventType.BREAK_GLASS: "Break-glass",
    EventType.BREAK_GLASS_REVIEWED: "Break-glass reviewed",
    EventType.HELD: "Hold set",
    EventType.HOLD_LIFTED: "Hold lifted",
    EventType.FROZEN: "Freeze set",
    EventType.FREEZE_LIFTED: "Freeze lifted",
    EventType.WOULD_REFUSE: "What a rule in audit mode would refuse",
    EventType.CLEARED: "Target cleared",
    EventType.CHECK_REPORTED: "Check reported",
    EventType.COMMENT_CREATED: "Comment",
    EventType.COMMENT_UPDATED: "Comment changed",
    EventType.COMMENT_DELETED: "Comment deleted",
    EventType.POLICY_APPLIED: "Policy applied",
    EventType.POLICY_PROPOSED: "Weaker policy proposed",
    EventType.POLICY_APPROVED: "Approval of a weaker policy",
    EventType.POLICY_REJECTED: "Weaker policy rejected",
    EventType.WRITE_REFUSED: "Write to sealed files",
    EventType.ARTIFACTS_CHANGED: "Sealed files changed",
    EventType.GUARD_PLACED: "Guard put into the database",
    EventType.GUARD_REMOVED: "Guard removed from the database",
    EventType.ROLES_SET: "Database roles set up",
    EventType.WEBHOOK_CHANGED: "Webhook changed",
    EventType.PRINCIPAL_CHANGED: "Principal changed",
    EventType.SIGNED_IN: "Sign-in",
    EventType.SIGN_IN_REFUSED: "Sign-in",
    EventType.SIGNED_OUT: "Sign-out",
    EventType.IDENTITY_LINKED: "Identity linked",
    EventType.IDENTITY_UNLINKED: "Identity unlinked",
    EventType.CALL_REFUSED: "Call",
    EventType.LOG_RESTORED: "Restored audit log acknowledged",
    EventType.SIGNING_KEY_MADE: "Signing key made",
    EventType.SECRET_KEY_ROTATED: "Secrets encrypted with another key",
    EventType.TOKEN_CREATED: "Token made",
    EventType.TOKEN_REVOKED: "Token revoked",
}


def title(told: Told) -> str:
    """Return what people call an event."""
    return TITLES[told.type] + (", refused" if told.was_refused else "")


def subject(told: Told) -> str:
    """Return what an event is about: a version, a model, a target, as far as it is about such."""
    model = f"'{told.model}'" if told.model else ""
    version = f"version {told.data['version']}" if "version" in told.data else ""
    about = " of ".join(part for part in (version, model) if part)
    return " \N{RIGHTWARDS ARROW} ".join(part for part in (about, str(told.data.get("target", ""))) if part)
