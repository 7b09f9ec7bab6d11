"""What models are called, as lanes know it: they follow renames in the order of the events."""

from sqlalchemy.orm import Session

from lockgate.database import outbox
from lockgate.database.deliveries import Delivery
from lockgate.database.webhooks import Webhook
from lockgate.events.dialect import Told
from lockgate.events.event import EventType


def renamed(told: Told) -> tuple[str, str] | None:
    """Return the name that a model had and the one that it has got, if an event tells of that."""
    if told.type is not EventType.MODEL_RENAMED or told.was_refused:
        return None
    return told.before["name"], told.after["name"]


def lane_now(session: Session, delivery: Delivery, webhook: Webhook) -> str:
    """Return in which lane a delivery's model is told of now: under the name that it has where the outbox was read to.

    Where the webhook isn't told of that name, nothing could overtake the delivery, and it stays where it is.

    Args:
        session: The transaction.
        delivery: The delivery.
        webhook: Its webhook, locked: what is read of the outbox later moves the delivery along if it waits.
    """
    told = outbox.find(session, [delivery.event])[delivery.event]
    name = told.model
    if name is None:
        return delivery.model
    for event in outbox.read_since(session, delivery.event, EventType.MODEL_RENAMED, told.workspace):
        names = renamed(event)
        if names is not None and names[0] == name:
            name = names[1]
    return name if webhook.covers(name) else delivery.model
