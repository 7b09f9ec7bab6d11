"""Writing down what happened: the audit entry and the event that tells of it, in one breath."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from lockgate.audit.entry import AuditEntry
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import audit, events
from lockgate.events.event import event_of
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
) -> list[dict[str, Any]]:
    """Return audit entries, newest first."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before_id is not None:
        statement = statement.where(audit.c.id < before_id)
    if model is not None:
        statement = statement.where(audit.c.model == model)
    if action is not None:
        statement = statement.where(audit.c.action == action)
    return [{**row._mapping, "at": from_ms(row.at)} for row in session.execute(statement)]
