"""Deliveries: lanes that are claimed, what waits in them, and what came of each attempt."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import deliveries, delivery_attempts, lanes, webhooks


class State(StrEnum):
    """What has become of a delivery."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    #: Given up; somebody can have it delivered all the same.
    PARKED = "parked"


@dataclass(frozen=True)
class Lane:
    """The deliveries of a webhook that are about one model, claimed."""

    webhook_id: str
    model: str
    #: Of this claim. Who claims the lane after it has run out gets a higher one.
    fence: int
    #: The principal who made the webhook; 0 for MLflow's, of which nobody knows.
    maker: int = 0


@dataclass(frozen=True)
class Busy:
    """Whose lanes a process leaves to others, because it has enough of them: webhooks, and those who made them."""

    webhooks: frozenset[str] = frozenset()
    makers: frozenset[int] = frozenset()

    def asked(self) -> dict[str, Any]:
        """Return it as statements take it."""
        return {"busy": sorted(self.webhooks), "full": sorted(self.makers)}


@dataclass(frozen=True)
class Delivery:
    """One event, under one name, for one webhook."""

    id: int
    webhook_id: str
    model: str
    #: The event's number in the outbox.
    event: int
    name: str
    message_id: str
    state: State
    attempts: int
    created_at: datetime
    finished_at: datetime | None

    def is_as(self, earlier: "Delivery") -> bool:
        """Say whether nothing was decided about it since."""
        return (self.state, self.attempts) == (earlier.state, earlier.attempts)


@dataclass(frozen=True)
class Attempted:
    """One attempt at a delivery, as it was made, and what came of it."""

    number: int
    at: datetime
    #: Of the answer, if there was one.
    status: int | None
    error: str
    milliseconds: int


_FREE = and_(lanes.c.due_at <= bindparam("now"), lanes.c.claimed_until <= bindparam("now"))
_MAKER = func.coalesce(webhooks.c.created_by_id, 0)
_CLAIMABLE = (
    select(lanes, _MAKER.label("maker"))
    .outerjoin(webhooks, webhooks.c.id == lanes.c.webhook_id)
    .where(
        _FREE,
        lanes.c.webhook_id.not_in(bindparam("busy", expanding=True)),
        _MAKER.not_in(bindparam("full", expanding=True)),
    )
    .order_by(lanes.c.due_at)
    .limit(bindparam("most"))
)
_CLAIM = (
    update(lanes)
    .where(lanes.c.webhook_id == bindparam("of"), lanes.c.model == bindparam("about"))
    .values(claimed_until=bindparam("until"), fence=lanes.c.fence + 1)
)


def is_anything_due(session: Session, now: datetime, busy: Busy) -> bool:
    """Say whether a lane may be claimed."""
    return session.execute(_CLAIMABLE, {"now": to_ms(now), "most": 1, **busy.asked()}).first() is not None


def claim(session: Session, now: datetime, until: datetime, most: int, busy: Busy) -> list[Lane]:
    """Claim lanes in which something is due, and that nobody has claimed.

    Args:
        session: The transaction, to be committed at once.
        now: The time.
        until: When the claims end by themselves, unless they are renewed.
        most: How many to claim.
        busy: Whose lanes to leave to others.
    """
    asked = {"now": to_ms(now), "most": most, **busy.asked()}
    found = session.execute(_CLAIMABLE.with_for_update(of=lanes, skip_locked=True), asked).all()
    for row in found:
        session.execute(_CLAIM, {"of": row.webhook_id, "about": row.model, "until": to_ms(until)})
    return [Lane(row.webhook_id, row.model, row.fence + 1, row.maker) for row in found]


def hold(session: Session, lane: Lane, until: datetime) -> bool:
    """Lock a lane that one has claimed, and renew the claim; say whether it still holds."""
    row = session.execute(select(lanes.c.fence).where(*_of(lane)).with_for_update()).first()
    if row is None or row.fence != lane.fence:
        return False
    session.execute(update(lanes).where(*_of(lane)).values(claimed_until=to_ms(until)))
    return True


def renew(session: Session, lane: Lane, until: datetime) -> None:
    """Renew a claim, if it still holds."""
    session.execute(update(lanes).where(*_of(lane), lanes.c.fence == lane.fence).values(claimed_until=to_ms(until)))


def leave(session: Session, lane: Lane, due_at: datetime | None) -> None:
    """Give a lane back; the caller holds it.

    Args:
        session: The transaction.
        lane: The lane.
        due_at: When to go on; None if nothing waits.
    """
    session.execute(
        update(lanes).where(*_of(lane)).values(claimed_until=0, due_at=None if due_at is None else to_ms(due_at))
    )


def stop(session: Session, webhook_id: str) -> None:
    """Let nothing more be delivered to a webhook for the time being; the caller has locked it."""
    _lock_lanes(session, webhook_id)
    session.execute(update(lanes).where(lanes.c.webhook_id == webhook_id).values(due_at=None))


def resume(session: Session, webhook_id: str, now: datetime) -> None:
    """Let everything that waits for a webhook be delivered now, each with its schedule from the beginning.

    The caller has locked the webhook.
    """
    _lock_lanes(session, webhook_id)
    its = (deliveries.c.webhook_id == webhook_id, deliveries.c.state == State.WAITING)
    session.execute(update(deliveries).where(*its).values(attempts=0))
    session.execute(update(lanes).where(lanes.c.webhook_id == webhook_id).values(due_at=to_ms(now)))


def give_up(session: Session, webhook_id: str, is_for: Callable[[str], bool], now: datetime) -> None:
    """Park what waits for a webhook and is about models that it isn't for any more."""
    waiting = (deliveries.c.webhook_id == webhook_id, deliveries.c.state == State.WAITING)
    _lock_lanes(session, webhook_id)
    about = session.execute(select(deliveries.c.model).where(*waiting).distinct()).scalars()
    gone = [model for model in about if not is_for(model)]
    parked = {"state": State.PARKED, "finished_at": to_ms(now)}
    session.execute(update(deliveries).where(*waiting, deliveries.c.model.in_(gone)).values(parked))


def forget(session: Session, webhook_id: str) -> None:
    """Forget what was or was to be delivered to a webhook; the caller has locked it."""
    _lock_lanes(session, webhook_id)
    its = select(deliveries.c.id).where(deliveries.c.webhook_id == webhook_id)
    session.execute(delete(delivery_attempts).where(delivery_attempts.c.delivery_id.in_(its)))
    session.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
    session.execute(delete(lanes).where(lanes.c.webhook_id == webhook_id))


def _lock_lanes(session: Session, webhook_id: str) -> None:
    """Lock all lanes of a webhook, in the order in which everybody does."""
    its = select(lanes.c.model).where(lanes.c.webhook_id == webhook_id)
    session.execute(its.order_by(lanes.c.model).with_for_update())


def open_lanes(session: Session, due_at: Mapping[tuple[str, str], int | None]) -> None:
    """Let lanes be due, those that are new and those in which nothing has waited.

    Args:
        session: The transaction; the webhooks are locked.
        due_at: When, by the webhook's id and the model.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    opened = dialect.insert(lanes)
    session.execute(
        opened.on_conflict_do_update(
            index_elements=[lanes.c.webhook_id, lanes.c.model],
            # A lane that waits to try again goes on waiting.
            set_={"due_at": func.coalesce(lanes.c.due_at, opened.excluded.due_at)},
        ),
        [
            {"webhook_id": webhook_id, "model": model, "due_at": due, "claimed_until": 0, "fence": 0}
            for (webhook_id, model), due in sorted(due_at.items())
        ],
    )


_NEXT = (
    select(deliveries)
    .where(
        deliveries.c.webhook_id == bindparam("of"),
        deliveries.c.model == bindparam("about"),
        deliveries.c.state == State.WAITING,
    )
    .order_by(deliveries.c.id)
    .limit(bindparam("most"))
)


def next_in(session: Session, lane: Lane, most: int) -> list[Delivery]:
    """Return the deliveries of a lane that wait, oldest first."""
    asked = {"of": lane.webhook_id, "about": lane.model, "most": most}
    return [_delivery(row) for row in session.execute(_NEXT, asked)]


def note(session: Session, delivery: Delivery, attempt: Attempted, state: State, now: datetime) -> None:
    """Write down an attempt, and what it has made of the delivery."""
    note_only(session, delivery, attempt)
    finished = None if state is State.WAITING else to_ms(now)
    session.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery.id)
        .values(attempts=attempt.number, state=state, finished_at=finished)
    )


def note_only(session: Session, delivery: Delivery, attempt: Attempted) -> None:
    """Write down an attempt that makes nothing of the delivery."""
    session.execute(
        insert(delivery_attempts).values(
            delivery_id=delivery.id,
            number=attempt.number,
            at=to_ms(attempt.at),
            status=attempt.status,
            error=attempt.error,
            milliseconds=attempt.milliseconds,
        )
    )


def again(session: Session, delivery: Delivery, now: datetime) -> None:
    """Let a delivery be made once more, before what waits behind it, with a schedule of its own.

    Args:
        session: The transaction; the webhook is locked.
        delivery: The delivery, with the model in whose lane it is to wait.
        now: The time: the lane is due, also if it waits to try something again.
    """
    open_lanes(session, {(delivery.webhook_id, delivery.model): to_ms(now)})
    its = (lanes.c.webhook_id == delivery.webhook_id, lanes.c.model == delivery.model)
    session.execute(update(lanes).where(*its).values(due_at=to_ms(now)))
    waits = {"state": State.WAITING, "attempts": 0, "finished_at": None, "model": delivery.model}
    session.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(waits))


def find(session: Session, delivery_id: int) -> Delivery | None:
    """Return a delivery by its number."""
    row = session.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
    return _delivery(row) if row is not None else None


def attempted(session: Session, delivery_ids: Collection[int]) -> dict[int, list[Attempted]]:
    """Return what was attempted of each of some deliveries, oldest first."""
    rows = session.execute(
        select(delivery_attempts)
        .where(delivery_attempts.c.delivery_id.in_(delivery_ids))
        .order_by(delivery_attempts.c.delivery_id, delivery_attempts.c.id)
    )
    found: dict[int, list[Attempted]] = {}
    for row in rows:
        found.setdefault(row.delivery_id, []).append(
            Attempted(row.number, from_ms(row.at), row.status, row.error, row.milliseconds)
        )
    return found


def newest(
    session: Session, webhook_ids: Collection[str], state: State | None, before_id: int | None, limit: int
) -> list[Delivery]:
    """Return the deliveries to some webhooks, newest first.

    Args:
        session: A session that reads.
        webhook_ids: The webhooks.
        state: Only those in this state, if there is one.
        before_id: Only those older than this one, if there is one.
        limit: How many.
    """
    statement = select(deliveries).where(deliveries.c.webhook_id.in_(webhook_ids))
    if state is not None:
        statement = statement.where(deliveries.c.state == state)
    if before_id is not None:
        statement = statement.where(deliveries.c.id < before_id)
    return [_delivery(row) for row in session.execute(statement.order_by(deliveries.c.id.desc()).limit(limit))]


def _finished(before: datetime) -> ColumnElement[bool]:
    return deliveries.c.finished_at < to_ms(before)  # null as long as it waits


def is_any_finished(session: Session, before: datetime) -> bool:
    """Say whether any delivery was finished before a moment."""
    return session.execute(select(deliveries.c.id).where(_finished(before)).limit(1)).first() is not None


def forget_finished(session: Session, before: datetime, most: int) -> int:
    """Forget the oldest deliveries that were finished before a moment, with all attempts; return how many.

    Args:
        session: The transaction, to be committed at once.
        before: The moment.
        most: How many at most. Those that somebody else is at are left.
    """
    found = select(deliveries.c.id).where(_finished(before)).order_by(deliveries.c.finished_at).limit(most)
    ids = session.execute(found.with_for_update(skip_locked=True)).scalars().all()
    session.execute(delete(delivery_attempts).where(delivery_attempts.c.delivery_id.in_(ids)))
    session.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
    return len(ids)


def has_succeeded_since(session: Session, webhook_id: str, since: datetime) -> bool:
    """Say whether anything was delivered to a webhook since a moment."""
    found = select(deliveries.c.id).where(
        deliveries.c.webhook_id == webhook_id,
        deliveries.c.state == State.DELIVERED,
        deliveries.c.finished_at >= to_ms(since),
    )
    return session.execute(found.limit(1)).first() is not None


def _of(lane: Lane) -> tuple[Any, Any]:
    return lanes.c.webhook_id == lane.webhook_id, lanes.c.model == lane.model


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        model=row.model,
        event=row.event_id,
        name=row.name,
        message_id=row.message_id,
        state=State(row.state),
        attempts=row.attempts,
        created_at=from_ms(row.created_at),
        finished_at=None if row.finished_at is None else from_ms(row.finished_at),
    )
