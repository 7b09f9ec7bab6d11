"""Writing down what happened: the audit entry and the event that tells of it, in one breath; and reading it."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, bindparam, event, insert, or_, select, text, update
from sqlalchemy.orm import Session, SessionTransaction

from lockgate.access.calls import current_call
from lockgate.access.principals import Principal
from lockgate.access.roles import Permission
from lockgate.access.sight import Sight, sight_of
from lockgate.audit.chain import Link, link
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.canonical import canonical
from lockgate.database import outbox
from lockgate.database.engine import WritingSession, from_ms, to_ms
from lockgate.database.tables import audit, chain_head, events, models
from lockgate.database.visible import is_seen
from lockgate.events.event import EventType, event_of

#: In the `info` of a session that has put something on record.
ON_RECORD = "lockgate_on_record"

# Composed once: that takes longer than writing.
_HEAD = select(chain_head.c.number, chain_head.c.hash).with_for_update()  # nothing on SQLite: the whole file is locked
_AUDIT = insert(audit)
_EVENT = insert(events)
_ADVANCE = update(chain_head).values(number=bindparam("last_number"), hash=bindparam("last_hash"))
# All three in one go: nobody else writes in the meantime.
_COLUMNS = ", ".join(column.name for column in audit.c)
_AT_ONCE = text(
    f"WITH written AS (INSERT INTO lockgate_audit ({_COLUMNS}) SELECT {_COLUMNS} FROM json_populate_recordset("  # noqa: S608 - our own names
    "NULL::lockgate_audit, CAST(:entries AS json))), "
    "told AS (INSERT INTO lockgate_events (audit_id, at, type, workspace, model, data) "
    "SELECT audit_id, at, type, workspace, model, data FROM json_populate_recordset("
    "NULL::lockgate_events, CAST(:events AS json))) "
    "UPDATE lockgate_chain_head SET number = :last_number, hash = :last_hash"
)
_UNWRITTEN = "lockgate_unwritten_entries"
#: That an entry of a refusal was written and is about to be committed.
_REFUSAL = "lockgate_refusal"
#: That events were written and are about to be committed.
_TOLD = "lockgate_told"
#: How much there was to write at each savepoint.
_MARKS = "lockgate_marks"


def record(session: Session, entry: AuditEntry, at: datetime) -> None:
    """Put an entry on record, with the event that tells of it.

    Both are written just before the transaction commits, and without them it doesn't: so the lock on the chain's head
    is taken last, and held for a moment.
    """
    session.info[ON_RECORD] = True
    session.info.setdefault(_UNWRITTEN, []).append((entry, at))


@event.listens_for(WritingSession, "before_commit")
def write_record(session: Session) -> None:
    """Write what was put on record, whoever commits. What is committed to a savepoint is not yet."""
    if session.in_nested_transaction():
        return
    unwritten: list[tuple[AuditEntry, datetime]] = session.info.pop(_UNWRITTEN, [])
    if not unwritten:
        return
    last = Link(*session.execute(_HEAD).one())
    entries, told = [], []
    for entry, at in unwritten:
        following = link(entry, at, last)
        entries.append(_row(entry, at, last, following))
        told.append(_event(entry, at, following.number))
        last = following
        session.info[_REFUSAL] = session.info.get(_REFUSAL, False) or entry.outcome is AuditOutcome.REFUSED
    session.info[_TOLD] = True
    advance = {"last_number": last.number, "last_hash": last.hash}
    if session.get_bind().dialect.name == "postgresql":
        session.execute(_AT_ONCE, {"entries": json.dumps(entries), "events": json.dumps(told), **advance})
    else:
        session.execute(_AUDIT, entries)
        session.execute(_EVENT, told)
        session.execute(_ADVANCE, advance)


@event.listens_for(WritingSession, "after_commit")
def _note(session: Session) -> None:
    """Note that the refusal of the call is on record, now that it is, and let what is told be delivered."""
    if session.in_nested_transaction():
        return
    if session.info.pop(_REFUSAL, False):
        current_call().is_on_record = True
    if session.info.pop(_TOLD, False):
        outbox.wake()


@event.listens_for(WritingSession, "after_transaction_create")
def _mark(session: Session, begun: SessionTransaction) -> None:
    if begun.nested:
        session.info.setdefault(_MARKS, {})[begun] = len(session.info.get(_UNWRITTEN, ()))


@event.listens_for(WritingSession, "after_soft_rollback")
def _forget(session: Session, undone: SessionTransaction) -> None:
    """Forget what was put on record with what is undone: all of it, or what came since a savepoint.

    A flush is a transaction of its own to the session, and undoes nothing: whatever it is part of, does.
    """
    if not undone.nested and undone.parent is not None:
        return
    session.info.pop(_REFUSAL, None)
    session.info.pop(_TOLD, None)
    kept = session.info.get(_MARKS, {}).get(undone, 0) if undone.nested else 0
    del session.info.get(_UNWRITTEN, [])[kept:]


def _row(entry: AuditEntry, at: datetime, last: Link, following: Link) -> dict[str, Any]:
    return {
        "id": following.number,
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
        "previous": last.hash,
        "hash": following.hash,
    }


def _event(entry: AuditEntry, at: datetime, number: int) -> dict[str, Any]:
    telling = event_of(entry)
    return {
        "audit_id": number,
        "at": to_ms(at),
        "type": telling.type,
        "workspace": telling.workspace,
        "model": telling.model,
        "data": canonical(telling.data),
    }


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
#: How people get in, and what they were refused: for who governs, and for whoever it was.
_OF_ONESELF = (
    EventType.CALL_REFUSED,
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
        conditions.append(or_(audit.c.action.not_in(_OF_ONESELF), audit.c.actor_id == reader.id))
    if reader.sight is not None:
        models_seen = select(models.c.id).where(*is_seen(session, models.c.name, reader.sight))
        conditions += [
            or_(audit.c.model.is_(None), *is_seen(session, audit.c.model, reader.sight)),
            or_(audit.c.model_id.is_(None), audit.c.model_id.in_(models_seen)),
            audit.c.action.not_in(_OF_ANY_MODEL),
        ]
    return conditions
