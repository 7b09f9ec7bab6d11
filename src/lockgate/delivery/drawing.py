"""Drawing the call of a delivery: its event, as the dialect of its webhook says it now."""

from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import remembered
from lockgate.database.deliveries import Delivery
from lockgate.database.engine import now
from lockgate.database.webhooks import Webhook
from lockgate.delivery import receivers
from lockgate.events.dialect import Attempt, Call, Dialect, Endpoint, Mail, Remembering, Told


@dataclass(frozen=True)
class Drawing:
    """All that a call is drawn from.

    Attributes:
        dialect: How its receiver is told.
        told: The event.
        name: Under which name it is told.
        endpoint: The receiver.
        attempt: The attempt.
    """

    dialect: Dialect
    told: Told
    name: str
    endpoint: Endpoint
    attempt: Attempt

    def call(self) -> Call | Mail:
        """Draw the call.

        Raises:
            Exception: whatever comes of a template that somebody added.
        """
        return self.dialect.call(self.told, self.name, self.endpoint, self.attempt)


def drawing_of(
    session: Session, engine: Engine, delivery: Delivery, told: Told, webhook: Webhook, dialect: Dialect, base_url: str
) -> Drawing:
    """Return what the call of a delivery is drawn from, if it is attempted now.

    Args:
        session: A session that reads.
        engine: The registry's database.
        delivery: The delivery.
        told: Its event.
        webhook: Its webhook.
        dialect: Its webhook's dialect.
        base_url: How people reach this server, for links.

    Raises:
        Conflict: if the server has no secret key.
        BadInput: if the webhook's secrets were encrypted with another key.
    """
    attempt = Attempt(delivery.message_id, now(session), base_url, _recalled(session, dialect, webhook, told))
    endpoint = receivers.endpoint(session, webhook, receivers.webhooks_at_rest(engine))
    return Drawing(dialect, told, delivery.name, endpoint, attempt)


def _recalled(session: Session, dialect: Dialect, webhook: Webhook, told: Told) -> str:
    """Return what a dialect has learnt about what an event is about; nothing if it has not, or doesn't learn."""
    subject = dialect.subject(told) if isinstance(dialect, Remembering) else None
    return remembered.recall(session, webhook.id, subject) if subject else ""
