"""What comes of an attempt: the delivery is made, waits for the next attempt, or is given up; a webhook may fail."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from lockgate.database import deliveries
from lockgate.database.deliveries import Attempted, Delivery, Lane, State
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.answer import Answer
from lockgate.delivery.schedule import Next, step

_GONE = "It answered 410 Gone: it wants to be told nothing any more."
_EXHAUSTED = "Nothing reached it for as long as the schedule of attempts goes on. The last attempt: {}."


def settle(
    session: Session,
    lane: Lane,
    delivery: Delivery,
    webhook: Webhook,
    answer: Answer,
    schedule: Sequence[float],
    began: datetime,
    now: datetime,
) -> bool:
    """Write down an attempt and what follows from it; say whether the lane goes on.

    Args:
        session: The transaction.
        lane: The delivery's lane, which the caller holds.
        delivery: What was attempted.
        webhook: Its receiver, which the caller has locked if the attempt failed, or earlier ones did.
        answer: What came of it.
        schedule: How long to wait after each failed attempt, in seconds.
        began: When the attempt began.
        now: The time.
    """
    attempt = _attempt(delivery, answer, began)
    follows = step(answer, attempt.number, schedule)
    if follows.next is Next.DELIVERED:
        deliveries.note(session, delivery, attempt, State.DELIVERED, now)
        receivers.note_success(session, webhook)
        return True
    if follows.next is Next.EXHAUSTED and _others_arrive(session, delivery):
        # It is this one that can't be told, so it doesn't keep what comes after it.
        deliveries.note(session, delivery, attempt, State.PARKED, now)
        return True
    deliveries.note(session, delivery, attempt, State.WAITING, now)
    if follows.next is Next.AGAIN:
        receivers.note_failure(session, webhook, now)
        deliveries.leave(session, lane, now + follows.after)
        return False
    reason = _GONE if follows.next is Next.GONE else _EXHAUSTED.format(_shown(answer))
    receivers.fail(session, webhook, reason, now)
    deliveries.leave(session, lane, None)
    deliveries.stop(session, webhook.id)
    return False


def note_overtaken(
    session: Session,
    lane: Lane,
    delivery: Delivery,
    webhook: Webhook,
    answer: Answer,
    began: datetime,
    now: datetime,
) -> None:
    """Write down an attempt that failed while somebody changed the webhook, or had all that waits begin anew, or given
    up: it says nothing of what they are now.

    Args:
        session: The transaction.
        lane: The delivery's lane, which the caller holds.
        delivery: What was attempted.
        webhook: Its receiver as it is now.
        answer: What came of the attempt.
        began: When it began.
        now: The time.
    """
    deliveries.note_only(session, delivery, _attempt(delivery, answer, began))
    deliveries.leave(session, lane, now if webhook.status is Status.ACTIVE else None)


def _attempt(delivery: Delivery, answer: Answer, began: datetime) -> Attempted:
    return Attempted(delivery.attempts + 1, began, answer.status, answer.error, answer.milliseconds)


def _others_arrive(session: Session, delivery: Delivery) -> bool:
    """Say whether something was delivered to the webhook since this was first attempted."""
    first = deliveries.attempted(session, [delivery.id]).get(delivery.id, [])
    return bool(first) and deliveries.has_succeeded_since(session, delivery.webhook_id, first[0].at)


def _shown(answer: Answer) -> str:
    return f"it answered {answer.status}" if answer.status is not None else answer.error
