"""The call of a delivery, drawn again for people to see: without anything secret.

Secret settings are dots before it is drawn, and it is signed with secrets that are made up, twice: headers that differ
then are signatures, and dots too. So what nobody may see is not looked for in a call, but was never in it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.database import outbox
from lockgate.database.deliveries import Delivery
from lockgate.database.webhooks import Webhook
from lockgate.delivery.answer import Failure
from lockgate.delivery.drawing import drawing_of
from lockgate.delivery.spoken import dialect
from lockgate.errors import LockgateError
from lockgate.events.dialect import Call, Dialect, Endpoint, Mail
from lockgate.events.dialects.standard import new_secret
from lockgate.settings import WorkerSettings
from lockgate.workflow.shown import SHOWN, address, without_secrets

_logger = logging.getLogger("lockgate.delivery")


@dataclass(frozen=True)
class Drawn:
    """A call as people may see it, drawn from what its webhook is now.

    Attributes:
        call: The call; None if it can't be drawn.
        why_not: Why it can't be drawn.
    """

    call: Call | None
    why_not: str = ""


def draw(session: Session, engine: Engine, delivery: Delivery, webhook: Webhook) -> Drawn:
    """Draw the call of a delivery as it would be made now, with dots in place of what is secret.

    Args:
        session: A session that reads.
        engine: The registry's database.
        delivery: The delivery.
        webhook: Its webhook.
    """
    told = outbox.find(session, [delivery.event])[delivery.event]
    try:
        spoken = dialect(webhook.dialect)
        drawing = drawing_of(session, engine, delivery, told, webhook, spoken, WorkerSettings.read().public_url)
        once, again = (
            _as_call(replace(drawing, endpoint=_unsecret(spoken, drawing.endpoint)).call()) for _ in range(2)
        )
    except LockgateError as error:
        return Drawn(None, error.message)
    except Exception:  # Of a template that somebody added, anything.
        _logger.exception("Event %s couldn't be told to webhook %s", told.id, webhook.id)
        return Drawn(None, Failure.UNTOLD)
    return Drawn(replace(once, url=address(webhook.dialect, once.url), headers=_headers(once.headers, again.headers)))


def _unsecret(spoken: Dialect, endpoint: Endpoint) -> Endpoint:
    """Return an endpoint as it is but for its secrets."""
    made_up = tuple(new_secret() for _ in endpoint.secrets)
    return replace(endpoint, secrets=made_up, settings=without_secrets(spoken.SETTINGS, endpoint.settings))


def _as_call(told: Call | Mail) -> Call:
    """Return an e-mail as if it were a call."""
    if isinstance(told, Call):
        return told
    headers = {"To": ", ".join(told.to), "Subject": told.subject}
    return Call(f"mailto:{','.join(told.to)}", told.text.encode("utf-8", "replace"), headers, "MAIL")


def _headers(once: Mapping[str, str], again: Mapping[str, str]) -> dict[str, str]:
    return {name: _shown(name, value, again.get(name)) for name, value in once.items()}


def _shown(name: str, value: str, again: str | None) -> str:
    if name.lower() == "authorization":
        scheme, is_followed, _ = value.partition(" ")
        return f"{scheme} {SHOWN}" if is_followed else SHOWN
    return value if value == again else SHOWN
