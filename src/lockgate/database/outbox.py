"""The outbox: events become deliveries, in the order in which they were committed.

Events are written under the lock on the head of the audit log's chain, which is held until the commit: whoever sees an
event sees all that have a lower number.
"""

import json
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from lockgate.database.deliveries import State, open_lanes
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import deliveries, events, lanes, outbox
from lockgate.events.dialect import Told
from lockgate.events.event import EventType

_listeners: list[Callable[[], None]] = []


def listen(listener: Callable[[], None]) -> Callable[[], None]:
    """Have something called, from any thread, when this process has committed events; return how to end that."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def wake() -> None:
    """Call those who listen."""
    for listener in tuple(_listeners):
        listener()


@dataclass(frozen=True)
class Stored:
    """An event as it is stored: its number in the outbox is another one than that of its audit entry."""

    number: int
    told: Told


@dataclass(frozen=True)
class NewDelivery:
    """One event, under one of its names in a dialect, for one webhook."""

    webhook_id: str
    event: Stored
    name: str
    #: Whether it is to be sent now, and not when its webhook can be reached again.
    is_due: bool

    @property
    def lane(self) -> str:
        """Which of the webhook's lanes it is in: that of its model, or the one without a name if it is about none."""
        return self.event.told.model or ""


_POSITION = select(outbox.c.position).with_for_update()  # nothing on SQLite: the whole file is locked
_AFTER = select(events).where(events.c.id > bindparam("after")).order_by(events.c.id).limit(bindparam("most"))


def is_behind(session: Session) -> bool:
    """Say whether there are events of which no deliveries have been made."""
    newest = select(func.max(events.c.id)).scalar_subquery()
    return bool(session.execute(select(func.coalesce(newest, 0) > outbox.c.position)).scalar())


def claim_position(session: Session) -> int:
    """Claim the outbox for this transaction, and return how far it was read.

    Who is at it now may have begun before the events were there for which the caller was woken: so it is waited for.
    """
    position: int = session.execute(_POSITION).scalar_one()
    return position


def after(session: Session, position: int, most: int) -> list[Stored]:
    """Return the events after one, in order."""
    return [_stored(row) for row in session.execute(_AFTER, {"after": position, "most": most})]


def advance(session: Session, position: int) -> None:
    """Note that deliveries have been made of all events up to one."""
    session.execute(update(outbox).values(position=position))


def skip_to_end(session: Session) -> None:
    """Leave out what happened while there was nobody to be told of it."""
    newest = select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery()
    session.execute(update(outbox).values(position=newest))


def find(session: Session, numbers: Collection[int]) -> dict[int, Told]:
    """Return events by their numbers in the outbox."""
    found = session.execute(select(events).where(events.c.id.in_(numbers)))
    return {one.number: one.told for one in map(_stored, found)}


def read_since(session: Session, number: int, kind: EventType, workspace: str) -> list[Told]:
    """Return the events of one type in a workspace, from one event on to where the outbox was read to, in order.

    Args:
        session: The transaction.
        number: The first event's number in the outbox.
        kind: Of which type.
        workspace: In which workspace.
    """
    read_to = select(outbox.c.position).scalar_subquery()
    theirs = (events.c.id.between(number, read_to), events.c.type == kind, events.c.workspace == workspace)
    return [_stored(row).told for row in session.execute(select(events).where(*theirs).order_by(events.c.id))]


def add(session: Session, new: Sequence[NewDelivery], now: datetime) -> None:
    """Put deliveries into their lanes."""
    if not new:
        return
    session.execute(
        insert(deliveries),
        [
            {
                "webhook_id": one.webhook_id,
                "model": one.lane,
                "event_id": one.event.number,
                "name": one.name,
                "message_id": f"msg_{uuid.uuid4().hex}",
                "state": State.WAITING.value,
                "attempts": 0,
                "created_at": to_ms(now),
            }
            for one in new
        ],
    )
    open_lanes(session, {(one.webhook_id, one.lane): to_ms(now) if one.is_due else None for one in new})


def webhooks_with(session: Session, model: str) -> list[str]:
    """Return the ids of the webhooks that have a lane for a model."""
    return list(session.execute(select(lanes.c.webhook_id).where(lanes.c.model == model)).scalars())


def join(session: Session, webhook_ids: Collection[str], old: str, new: str) -> None:
    """Put what waits in some webhooks' lanes of one model into those of another, where later events go.

    Claims of the old lanes hold no more: whoever attempts something there now, writes nothing.

    Args:
        session: The transaction; the webhooks are locked.
        webhook_ids: The webhooks.
        old: The name of the one model.
        new: That of the other.
    """
    theirs = (lanes.c.webhook_id.in_(webhook_ids), lanes.c.model == old)
    found = session.execute(select(lanes).where(*theirs).order_by(lanes.c.webhook_id).with_for_update()).all()
    waiting = (deliveries.c.webhook_id.in_(webhook_ids), deliveries.c.model == old, deliveries.c.state == State.WAITING)
    session.execute(update(deliveries).where(*waiting).values(model=new))
    session.execute(update(lanes).where(*theirs).values(due_at=None, claimed_until=0, fence=lanes.c.fence + 1))
    if found:
        open_lanes(session, {(lane.webhook_id, new): lane.due_at for lane in found})


def _stored(row: Row[Any]) -> Stored:
    told = Told(
        id=row.audit_id,
        type=EventType(row.type),
        at=from_ms(row.at),
        workspace=row.workspace,
        model=row.model,
        data=json.loads(row.data),
    )
    return Stored(row.id, told)
