"""The steps of a lane: what is attempted next, and what came of it. A transaction each.

Deliveries to one webhook that are about one model are a lane: they are made in order, by whoever has claimed it. A
claim is renewed as long as its process lives, and runs out by itself when that has died; what is written about a lane
carries the number of the claim, so that one who was thought dead and comes back writes nothing.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import deliveries, outbox, remembered
from lockgate.database.deliveries import Delivery, Lane
from lockgate.database.engine import now
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.fanout import Dialects
from lockgate.delivery.outcome import note_overtaken, settle
from lockgate.delivery.schedule import STANDARD
from lockgate.delivery.sender import Answer
from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Call, Dialect, Mail, Remembering, Told
from lockgate.registry.transaction import transaction

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
    """

    dialects: Dialects
    base_url: str
    schedule: tuple[float, ...] = STANDARD
    lease: timedelta = timedelta(seconds=12)
    poll: float = 1.0


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


class Steps:
    """Takes the steps of lanes.

    Args:
        engine: The registry's database.
        settings: How to deliver.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings

    def first(self, lane: Lane) -> Job | None:
        """Return what to attempt first in a lane that was just claimed; None if the claim holds no more."""
        with transaction(self._engine) as session:
            at = now(session)
            if not deliveries.hold(session, lane, at + self._settings.lease):
                return None
            return self._job(session, lane)

    def following(self, lane: Lane, job: Job, answer: Answer, goes_on: bool) -> Job | None:
        """Write down what came of an attempt; return what to attempt next, if this process goes on with the lane.

        Whoever claimed the lane after the claim had run out has its own attempt: then nothing is written.

        Args:
            lane: The lane, claimed.
            job: What was attempted.
            answer: What came of it.
            goes_on: Whether this process wants to go on with the lane; else it gives it back.
        """
        with transaction(self._engine) as session:
            at = now(session)
            webhook: Webhook | None = job.webhook
            if not answer.is_success or job.webhook.failing_since is not None:
                # What came of it may be about the webhook, which is locked before its lanes, and read again.
                receivers.lock(session, job.webhook)
                webhook = receivers.load(session, lane.webhook_id)
            if webhook is None or not deliveries.hold(session, lane, at + self._settings.lease):
                return None
            if webhook.is_another_than(job.webhook) and not answer.is_success:
                note_overtaken(session, lane, job.delivery, webhook, answer, at)
                return None
            if answer.is_success:
                self._learn(session, job, answer)
            if not settle(session, lane, job.delivery, webhook, answer, self._settings.schedule, at):
                return None
            if not goes_on:
                deliveries.leave(session, lane, at)
                return None
            return self._job(session, lane)

    def _job(self, session: Session, lane: Lane) -> Job | None:
        """Return the oldest delivery that waits in a lane; with none, or none that may be made, give the lane back."""
        delivery = deliveries.next_in(session, lane)
        webhook = receivers.load(session, lane.webhook_id)
        if delivery is None or webhook is None or webhook.status is not Status.ACTIVE:
            deliveries.leave(session, lane, None)
            return None
        return Job(delivery, webhook, self._call(session, delivery, webhook))

    def _call(self, session: Session, delivery: Delivery, webhook: Webhook) -> Call | Mail | None:
        """Draw the call of an attempt, from the event and from what its webhook is now."""
        told = outbox.find(session, delivery.event).told
        at = now(session)
        try:
            dialect = self._settings.dialects(webhook.dialect)
            known = _recalled(session, dialect, webhook, told)
            attempt = Attempt(delivery.message_id, at, self._settings.base_url, known)
            endpoint = receivers.endpoint(session, webhook, receivers.webhooks_at_rest(self._engine))
            return dialect.call(told, delivery.name, endpoint, attempt)
        except Exception:  # Of a template that somebody added, anything.
            _logger.exception("Event %s couldn't be told to webhook %s", told.id, webhook.id)
            return None

    def _learn(self, session: Session, job: Job, answer: Answer) -> None:
        """Remember what a dialect goes on with of what the receiver answered."""
        try:
            dialect = self._settings.dialects(job.webhook.dialect)
        except BadInput:  # Its template is there no more.
            return
        if not isinstance(dialect, Remembering):
            return
        told = outbox.find(session, job.delivery.event).told
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
            for lane in held:
                if deliveries.hold(session, lane, at):
                    deliveries.leave(session, lane, at)


def _recalled(session: Session, dialect: Dialect, webhook: Webhook, told: Told) -> str:
    """Return what a dialect has learnt about what an event is about; nothing if it has not, or doesn't learn."""
    subject = dialect.subject(told) if isinstance(dialect, Remembering) else None
    return remembered.recall(session, webhook.id, subject) if subject else ""
