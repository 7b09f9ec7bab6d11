"""The steps of a lane: what is attempted next, and what came of it. A transaction each.

Deliveries to one webhook that are about one model are a lane: they are made in order, by whoever has claimed it. A
claim is renewed as long as its process lives, and runs out by itself when that has died; what is written about a lane
carries the number of the claim, so that one who was thought dead and comes back writes nothing.

Some deliveries of a lane are drawn at once, and what came of them is written down in one go: if the process dies in
between, they are made again, under the same ids.
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import deliveries, outbox, remembered
from lockgate.database.deliveries import Busy, Delivery, Lane
from lockgate.database.engine import now
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.answer import Answer
from lockgate.delivery.drawing import drawing_of
from lockgate.delivery.fanout import Dialects
from lockgate.delivery.outcome import note_overtaken, settle
from lockgate.delivery.schedule import STANDARD
from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Dialect, Mail, Remembering, Told
from lockgate.registry.transaction import transaction

#: How many deliveries of a lane are drawn at once.
MOST_AT_ONCE = 10

_logger = logging.getLogger("lockgate.delivery")


@dataclass(frozen=True)
class Settings:
    """How to deliver.

    Attributes:
        dialects: Returns the dialect of a name.
        base_url: How people reach this server, for links.
        schedule: How long to wait after each failed attempt, in seconds.
        lease: How long a claim lasts unless it is renewed.
        poll: How often to look for what other processes left, in seconds.
        remembered: How long deliveries are remembered that were made or given up; None is for ever.
    """

    dialects: Dialects
    base_url: str
    schedule: tuple[float, ...] = STANDARD
    lease: timedelta = timedelta(seconds=12)
    poll: float = 1.0
    remembered: timedelta | None = None


@dataclass(frozen=True)
class Job:
    """A delivery about to be attempted.

    Attributes:
        delivery: The delivery.
        webhook: Its receiver, as it was when the call was drawn.
        call: What is sent; None if the event couldn't be told, which counts as an attempt that has failed.
    """

    delivery: Delivery
    webhook: Webhook
    call: Call | Mail | None


@dataclass(frozen=True)
class Made:
    """An attempt that was made.

    Attributes:
        job: What was attempted.
        answer: What came of it.
        began: When it began, in seconds by `time.monotonic`.
    """

    job: Job
    answer: Answer
    began: float


class Steps:
    """Takes the steps of lanes.

    Args:
        engine: The registry's database.
        settings: How to deliver.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    def claim(self, most: int, busy: Busy) -> list[tuple[Lane, list[Job]]]:
        """Claim lanes in which something is due, and return what to attempt first in each.

        Args:
            most: How many to claim.
            busy: Whose lanes to leave to others.
        """
        with transaction(self._engine) as session:
            at = now(session)
            claimed = deliveries.claim(session, at, at + self._settings.lease, most, busy)
            drawn = [(lane, self._jobs(session, lane)) for lane in claimed]
        return [(lane, jobs) for lane, jobs in drawn if jobs]

    def following(self, lane: Lane, made: Sequence[Made], goes_on: bool) -> list[Job]:
        """Write down what came of attempts; return what to attempt next, if this process goes on with the lane.

        Whoever claimed the lane after the claim had run out has its own attempts: then nothing is written.

        Args:
            lane: The lane, claimed.
            made: What was attempted, in order; only the last may have failed.
            goes_on: Whether this process wants to go on with the lane; else it gives it back.
        """
        drawn_for, newest = made[-1].job.webhook, made[-1].answer
        with transaction(self._engine) as session:
            at = now(session)
            webhook: Webhook | None = drawn_for
            if not newest.is_success or drawn_for.failing_since is not None or self._learns(drawn_for):
                # What came of it may be about the webhook, which is locked before its lanes, and read again.
                receivers.lock(session, drawn_for)
                webhook = receivers.load(session, lane.webhook_id)
            if webhook is None or not deliveries.hold(session, lane, at + self._settings.lease):
                return []
            for one in made:
                if not self._settle(session, lane, webhook, one, at):
                    return []
                webhook = replace(webhook, failing_since=None)
            if not goes_on:
                deliveries.leave(session, lane, at)
                return []
            return self._jobs(session, lane)

    def _settle(self, session: Session, lane: Lane, webhook: Webhook, made: Made, at: datetime) -> bool:
        """Write down an attempt and what follows from it; say whether the lane goes on."""
        began = at - timedelta(seconds=time.monotonic() - made.began)
        if not made.answer.is_success and _is_overtaken(session, made.job, webhook):
            note_overtaken(session, lane, made.job.delivery, webhook, made.answer, began, at)
            return False
        if made.answer.is_success and not webhook.is_another_than(made.job.webhook):
            self._learn(session, made.job, made.answer)
        return settle(session, lane, made.job.delivery, webhook, made.answer, self._settings.schedule, began, at)

    def _jobs(self, session: Session, lane: Lane) -> list[Job]:
        """Return the oldest deliveries that wait in a lane; with none, or none that may be made, give the lane back."""
        webhook = receivers.load(session, lane.webhook_id)
        waiting = deliveries.next_in(session, lane, self._most_at_once(webhook))
        if not waiting or webhook is None or webhook.status is not Status.ACTIVE:
            deliveries.leave(session, lane, None)
            return []
        told = outbox.find(session, [one.event for one in waiting])
        return [Job(one, webhook, self._call(session, one, told[one.event], webhook)) for one in waiting]

    def _most_at_once(self, webhook: Webhook | None) -> int:
        """Return how many deliveries are drawn at once: where what is said depends on what was answered, one."""
        return 1 if webhook is not None and self._learns(webhook) else MOST_AT_ONCE

    def _learns(self, webhook: Webhook) -> bool:
        return isinstance(self._dialect(webhook), Remembering)

    def _dialect(self, webhook: Webhook) -> Dialect | None:
        """Return a webhook's dialect; None if its template is there no more."""
        try:
            return self._settings.dialects(webhook.dialect)
        except BadInput:
            return None

    def _call(self, session: Session, delivery: Delivery, told: Told, webhook: Webhook) -> Call | Mail | None:
        """Draw the call of an attempt, from the event and from what its webhook is now."""
        try:
            dialect = self._settings.dialects(webhook.dialect)
            return drawing_of(session, self._engine, delivery, told, webhook, dialect, self._settings.base_url).call()
        except Exception:  # Of a template that somebody added, anything.
            _logger.exception("Event %s couldn't be told to webhook %s", told.id, webhook.id)
            return None

    def _learn(self, session: Session, job: Job, answer: Answer) -> None:
        """Remember what a dialect goes on with of what the receiver answered."""
        dialect = self._dialect(job.webhook)
        if not isinstance(dialect, Remembering):
            return
        told = outbox.find(session, [job.delivery.event])[job.delivery.event]
        subject, learnt = dialect.subject(told), dialect.learn(told, answer.body)
        if subject and learnt:
            remembered.remember(session, job.webhook.id, subject, learnt)

    def renew(self, lane: Lane) -> None:
        """Renew a claim, if it still holds."""
        with transaction(self._engine) as session:
            deliveries.renew(session, lane, now(session) + self._settings.lease)

    def leave_all(self, held: Collection[Lane]) -> None:
        """Give lanes back, as far as their claims still hold: others may go on at once."""
        with transaction(self._engine) as session:
            at = now(session)
            for lane in sorted(held, key=lambda lane: (lane.webhook_id, lane.model)):  # as everybody locks them
                if deliveries.hold(session, lane, at):
                    deliveries.leave(session, lane, at)


def _is_overtaken(session: Session, job: Job, webhook: Webhook) -> bool:
    """Say whether somebody has changed the webhook, or what is to become of the delivery, since it was attempted."""
    delivery = deliveries.find(session, job.delivery.id)
    is_as_it_was = delivery is not None and delivery.is_as(job.delivery)
    return webhook.is_another_than(job.webhook) or not is_as_it_was
