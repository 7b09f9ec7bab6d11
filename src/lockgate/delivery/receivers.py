"""Webhooks as deliveries need them: ours and MLflow's, and their secrets, which the database has encrypted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.at_rest import AtRest
from lockgate.audit.entry import AuditEntry
from lockgate.database import webhooks
from lockgate.database.record import record
from lockgate.database.secret_key import secret_key
from lockgate.database.webhooks import Status, Webhook
from lockgate.events.dialect import Endpoint
from lockgate.events.event import EventType
from lockgate.registry import mlflow_webhooks

_PURPOSE = "webhooks"


@dataclass(frozen=True)
class Secrets:
    """What of a webhook nobody is shown.

    Attributes:
        signing: What calls are signed with, the newest first.
        settings: What its dialect needs besides.
    """

    signing: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


def webhooks_at_rest(engine: Engine) -> AtRest:
    """Return what the secrets of webhooks are encrypted with.

    Args:
        engine: The registry's database.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if it is short enough to be guessed.
    """
    return AtRest(secret_key(engine), _PURPOSE)


def sealed(secrets: Secrets, at_rest: AtRest) -> str:
    """Return secrets as the database may hold them."""
    return at_rest.encrypt(json.dumps({"signing": list(secrets.signing), "settings": dict(secrets.settings)}).encode())


def opened(webhook: Webhook, at_rest: AtRest) -> Secrets:
    """Return the secrets of a webhook.

    Raises:
        BadInput: if they were encrypted with another key.
    """
    found = json.loads(at_rest.decrypt(webhook.secret))
    return Secrets(tuple(found["signing"]), found["settings"])


def lock(session: Session, webhook: Webhook) -> None:
    """Lock a webhook until the end of the transaction: whoever locks lanes of it too, locks it first."""
    if webhook.dialect == mlflow_webhooks.DIALECT:
        mlflow_webhooks.lock(session, webhook.id)
    else:
        webhooks.lock(session, webhook.id)


def load(session: Session, webhook_id: str) -> Webhook | None:
    """Return a webhook, ours or MLflow's."""
    return webhooks.load(session, webhook_id) or mlflow_webhooks.load(session, webhook_id)


def endpoint(session: Session, webhook: Webhook, at_rest: AtRest) -> Endpoint:
    """Return a webhook as its dialect needs to know it.

    Raises:
        BadInput: if its secrets were encrypted with another key.
    """
    if webhook.dialect == mlflow_webhooks.DIALECT:
        return Endpoint(webhook.id, webhook.url, mlflow_webhooks.secrets(session, webhook.id))
    secrets = opened(webhook, at_rest)
    return Endpoint(webhook.id, webhook.url, secrets.signing, secrets.settings)


def note_success(session: Session, webhook: Webhook) -> None:
    """Note that a webhook can be reached; of MLflow's, nothing: their table has no place for it."""
    if webhook.failing_since is not None:
        webhooks.change(session, webhook.id, failing_since=None)


def note_failure(session: Session, webhook: Webhook, now: datetime) -> None:
    """Note since when a webhook can't be reached; of MLflow's, nothing."""
    if webhook.failing_since is None:
        webhooks.change(session, webhook.id, failing_since=now)


def fail(session: Session, webhook: Webhook, reason: str, now: datetime) -> None:
    """Give a webhook up until somebody takes it up again, on record."""
    if webhook.dialect == mlflow_webhooks.DIALECT:
        mlflow_webhooks.disable(session, webhook.id, now)
    else:
        webhooks.change(session, webhook.id, status=Status.FAILED, reason=reason, updated_at=now)
    after = {"webhook_id": webhook.id, "status": Status.FAILED.value}
    entry = AuditEntry(
        EventType.WEBHOOK_CHANGED, "lockgate", None, "", workspace=webhook.workspace, after=after, reason=reason
    )
    record(session, entry, now)
