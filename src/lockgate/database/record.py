"""Writing down what happened: the audit entry and the event that tells of it, in one breath; and reading it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, or_, select
from sqlalchemy.orm import Session

from lockgate.access.principals import Principal
from lockgate.access.roles import Permission
from lockgate.access.sight import Sight, sight_of
from lockgate.audit.entry import AuditEntry
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import audit, events, models
from lockgate.database.visible import is_seen
from lockgate.events.event import EventType, event_of
from lockgate.evidence.record import canonical

#: In the `info` of a session that has put something on record.
ON_RECORD = "lockgate_on_record"

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
    session.info[ON_RECORD] = True
    return number


@dataclass(frozen=True)
class Filter:
    """Which audit entries are wanted."""

    model: str | None = None
    action: str | None = None
    workspace: str | None = None
    since: datetime | None = None
    before_id: int | None = None


@dataclass(frozen=True)
class Reader:
    """Somebody who reads the audit log."""

    id: int
    #: The models they may see; None for all.
    sight: Sight | None
    #: Whether what people do to get in, and from where, is for them.
    governs: bool


def reader_of(principal: Principal) -> Reader:
    """Return somebody as a reader of the audit log."""
    return Reader(principal.id, sight_of(principal), principal.may(Permission.GOVERN))


def entries(session: Session, wanted: Filter, reader: Reader, limit: int) -> list[dict[str, Any]]:
    """Return audit entries that somebody may see, newest first; addresses only as far as they may see them."""
    statement = select(audit).where(*_of(wanted), *_seen(session, reader)).order_by(audit.c.id.desc()).limit(limit)
    return [_shown(row, reader) for row in session.execute(statement)]


def _of(wanted: Filter) -> list[ColumnElement[bool]]:
    exact = ((audit.c.model, wanted.model), (audit.c.action, wanted.action), (audit.c.workspace, wanted.workspace))
    conditions: list[ColumnElement[bool]] = [column == value for column, value in exact if value is not None]
    if wanted.since is not None:
        conditions.append(audit.c.at >= to_ms(wanted.since))
    if wanted.before_id is not None:
        conditions.append(audit.c.id < wanted.before_id)
    return conditions


def _shown(row: Row[Any], reader: Reader) -> dict[str, Any]:
    shows_address = reader.governs or row.actor_id == reader.id
    return {**row._mapping, "at": from_ms(row.at), "address": row.address if shows_address else ""}


#: What is about no model in particular, but may tell of any.
_OF_ANY_MODEL = (EventType.FROZEN, EventType.FREEZE_LIFTED, EventType.WEBHOOK_CHANGED)
#: How people get in: for who governs, and for whoever it was.
_OF_GETTING_IN = (
    EventType.SIGNED_IN,
    EventType.SIGN_IN_REFUSED,
    EventType.SIGNED_OUT,
    EventType.IDENTITY_LINKED,
    EventType.IDENTITY_UNLINKED,
    EventType.TOKEN_CREATED,
    EventType.TOKEN_REVOKED,
)


def _seen(session: Session, reader: Reader) -> list[ColumnElement[bool]]:
    """Return the conditions that an entry may be seen: whoever sees a model, under its name of then and of now, sees
    what happened to it; everybody sees what happened to policies, and who may do what."""
    conditions: list[ColumnElement[bool]] = []
    if not reader.governs:
        conditions.append(or_(audit.c.action.not_in(_OF_GETTING_IN), audit.c.actor_id == reader.id))
    if reader.sight is not None:
        models_seen = select(models.c.id).where(*is_seen(session, models.c.name, reader.sight))
        conditions += [
            or_(audit.c.model.is_(None), *is_seen(session, audit.c.model, reader.sight)),
            or_(audit.c.model_id.is_(None), audit.c.model_id.in_(models_seen)),
            audit.c.action.not_in(_OF_ANY_MODEL),
        ]
    return conditions
