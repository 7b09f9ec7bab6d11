"""Trying a webhook out: an example of an event, sent at once."""

import asyncio
import threading
import uuid

from lockgate.access.principals import Caller
from lockgate.database.engine import now
from lockgate.database.webhooks import EVERY_EVENT, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.addresses import Allowed
from lockgate.delivery.answer import Answer
from lockgate.delivery.relay import Relay
from lockgate.delivery.sender import Sender
from lockgate.delivery.spoken import dialect
from lockgate.errors import BadInput, Conflict
from lockgate.events.dialect import Attempt, Call, Dialect, Mail
from lockgate.events.examples import example_of
from lockgate.registry.transaction import reading
from lockgate.workflow.stores import Stores
from lockgate.workflow.webhooks import find

#: Who tries out keeps a thread of the server waiting: for so long, and no more of them at a time.
_DEADLINE_SECONDS = 10.0
_AT_ONCE = threading.BoundedSemaphore(4)


def send_example(stores: Stores, caller: Caller, webhook_id: str, event: str | None) -> Answer:
    """Send an example of an event at once, whatever the webhook's status; return what came of it.

    Args:
        stores: The stores.
        caller: Who tries it out.
        webhook_id: The webhook.
        event: Of its dialect; None for the first that it is for.

    Raises:
        NotFound: if there is no such webhook that the caller maintains.
        BadInput: if the dialect has no such event.
    """
    webhook = find(stores, caller, webhook_id)
    return send_to(stores, webhook, event, caller.base_url)


def send_to(stores: Stores, webhook: Webhook, event: str | None, base_url: str) -> Answer:
    """Send an example of an event to a webhook at once, ours or MLflow's; return what came of it.

    Args:
        stores: The stores.
        webhook: The webhook, which the caller may see.
        event: Of its dialect; None for the first that it is for.
        base_url: How people reach this server, for links.

    Raises:
        BadInput: if the dialect has no such event.
        Conflict: if too many are tried out at the same time.
    """
    spoken = dialect(webhook.dialect)
    wanted = event or next((one for one in webhook.events if one != EVERY_EVENT), spoken.EVENTS[0])
    if wanted not in spoken.EVENTS:
        raise BadInput(f"There is no event '{wanted}'. The dialect {webhook.dialect} has: {', '.join(spoken.EVENTS)}.")
    call = _call(stores, spoken, webhook, wanted, base_url)
    if not _AT_ONCE.acquire(blocking=False):
        raise Conflict("Others try webhooks out at the moment. Try again in some seconds.")
    try:
        return asyncio.run(_send(call, webhook.verify_certificate))
    finally:
        _AT_ONCE.release()


async def _send(call: Call | Mail, verify_certificate: bool) -> Answer:
    sender = Sender(Allowed.read(), _DEADLINE_SECONDS, Relay.read())
    try:
        return await sender.send(call, verify_certificate)
    finally:
        await sender.close()


def _call(stores: Stores, spoken: Dialect, webhook: Webhook, event: str, base_url: str) -> Call | Mail:
    with reading(stores.registry.engine) as session:
        at = now(session)
        endpoint = receivers.endpoint(session, webhook, receivers.webhooks_at_rest(stores.registry.engine))
    found = example_of(spoken, event, webhook.workspace, at)
    if found is None:
        raise BadInput(f"There is no example of the event '{event}' to send.")
    told, name = found
    return spoken.call(told, name, endpoint, Attempt(f"msg_{uuid.uuid4().hex}", at, base_url))
