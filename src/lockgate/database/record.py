"""Writing down what happened: the audit entry and the event that tells of it, in one breath."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, insert, or_, select
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.audit.entry import AuditEntry
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import audit, events, models
from lockgate.database.visible import is_seen
from lockgate.events.event import EventType, event_of
from lockgate.evidence.record import canonical

# Composed once: that takes longer than writing.
_AUDIT = insert(audit).returning(audit.c.id)
_EVENT = insert(events)


def record(session: Session, entry: AuditEntry, at: datetime) -> int:
    """Write an audit entry and its event; return the entry's number."""
    audited = {
        "at": to_ms(at),
        "actor_id": entry.actor_id,
        "actor": entry.actor,
        "address": entry.address,
        "action": entry.action,
        "outcome": entry.outcome,
        "workspace": entry.workspace,
        "model_id": entry.model_id,
        "model": entry.model,
        "version": entry.version,
        "target": entry.target,
        "request_id": entry.request_id,
        "decision_id": entry.decision_id,
        "before": canonical(entry.before),
        "after": canonical(entry.after),
        "reason": entry.reason,
    }
    number = int(session.execute(_AUDIT, audited).scalar_one())
    event = event_of(entry)
    told = {
        "audit_id": number,
        "at": to_ms(at),
        "type": event.type,
        "workspace": event.workspace,
        "model": event.model,
        "data": canonical(event.data),
    }
    session.execute(_EVENT, told)
    return number


def entries(
    session: Session,
    limit: int,
    before_id: int | None = None,
    model: str | None = None,
    action: str | None = None,
    sight: Sight | None = None,
) -> list[dict[str, Any]]:
    """Return audit entries that somebody may see, newest first."""
    statement = select(audit).where(*_seen(session, sight)).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(audit.c.id < before_id)
    if model is not None:
        statement = statement.where(audit.c.model == model)
    if action is not None:
        statement = statement.where(audit.c.action == action)
    return [{**row._mapping, "at": from_ms(row.at)} for row in session.execute(statement)]


#: What is about no model in particular, but may tell of any.
_OF_ANY_MODEL = (EventType.FROZEN, EventType.FREEZE_LIFTED, EventType.WEBHOOK_CHANGED)


def _seen(session: Session, sight: Sight | None) -> list[ColumnElement[bool]]:
    """Return the conditions that an entry may be seen: whoever sees a model, under its name of then and of now, sees
    what happened to it; everybody sees what happened to policies and people."""
    if sight is None:
        return []
    models_seen = select(models.c.id).where(*is_seen(session, models.c.name, sight))
    return [
        or_(audit.c.model.is_(None), *is_seen(session, audit.c.model, sight)),
        or_(audit.c.model_id.is_(None), audit.c.model_id.in_(models_seen)),
        audit.c.action.not_in(_OF_ANY_MODEL),
    ]
