"""Making deliveries of events: one for each webhook that is told of an event, under each name that it asked for."""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import outbox, webhooks
from lockgate.database.engine import now
from lockgate.database.outbox import NewDelivery, Stored
from lockgate.database.webhooks import EVERY_EVENT, Status, Webhook
from lockgate.delivery.names import renamed
from lockgate.errors import BadInput
from lockgate.events.dialect import Dialect, Told, event_named
from lockgate.registry import mlflow_webhooks
from lockgate.registry.transaction import transaction

#: How many events are made into deliveries in one transaction.
BATCH = 200

_logger = logging.getLogger("lockgate.delivery")

#: Returns the dialect of a name.
Dialects = Callable[[str], Dialect]


def fan_out(engine: Engine, dialects: Dialects) -> bool:
    """Make deliveries of the next events; say whether there may be more.

    Args:
        engine: The registry's database.
        dialects: Returns the dialect of a name.
    """
    with transaction(engine) as session:
        found = outbox.after(session, outbox.claim_position(session), BATCH)
        if not found:
            return False
        told = up_to_rename(found)
        listening = [*webhooks.told(session), *mlflow_webhooks.told(session)]
        outbox.add(session, deliveries_of(told, listening, dialects), now(session))
        _follow_rename(session, told[-1].told)
        outbox.advance(session, told[-1].number)
    return len(found) == BATCH or len(told) < len(found)


def up_to_rename(found: Sequence[Stored]) -> Sequence[Stored]:
    """Return the events up to the first that renames a model, with it: what comes after it goes into other lanes."""
    return found[: next((place for place, one in enumerate(found, 1) if renamed(one.told)), len(found))]


def _follow_rename(session: Session, told: Told) -> None:
    """Where an event renames a model, let what waits under its old name go first in the lanes of its new one."""
    names = renamed(told)
    if names is None:
        return
    old, new = names
    its = outbox.webhooks_with(session, old)
    there = [*webhooks.share(session, its), *mlflow_webhooks.share(session, its)]
    # To who isn't told about the new name, nothing overtakes what waits.
    joined = [one.id for one in there if one.workspace == told.workspace and one.covers(new)]
    outbox.join(session, joined, old, new)


def deliveries_of(told: Sequence[Stored], listening: Sequence[Webhook], dialects: Dialects) -> list[NewDelivery]:
    """Return the deliveries that come of events, in order.

    Args:
        told: The events, in order.
        listening: The webhooks for which deliveries are made.
        dialects: Returns the dialect of a name.
    """
    return [
        NewDelivery(webhook.id, event, name, webhook.status is Status.ACTIVE)
        for event in told
        for webhook in listening
        if webhook.is_for(event.told)
        for name in _names(webhook, event, dialects)
    ]


def _names(webhook: Webhook, event: Stored, dialects: Dialects) -> list[str]:
    """Return under which names a webhook is told of an event; none if its dialect's template is there no more."""
    try:
        offered = dialects(webhook.dialect).names(event.told)
    except BadInput as error:
        _logger.warning("Webhook %s is not told of event %s: %s", webhook.id, event.told.id, error.message)
        return []
    return [name for name in offered if EVERY_EVENT in webhook.events or event_named(name) in webhook.events]
