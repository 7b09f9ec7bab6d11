"""MLflow's own webhooks, which stand in MLflow's tables, as ours see them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from mlflow.store.model_registry.dbmodels.models import SqlWebhook
from sqlalchemy import ColumnElement, Engine, Select, String, bindparam, literal, select, type_coerce, update
from sqlalchemy.orm import Session

from lockgate.access.at_rest import AtRest
from lockgate.access.roles import EVERY_MODEL
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.secret_key import secret_key
from lockgate.database.webhooks import Status, Webhook
from lockgate.registry.mlflow_tables import webhook_events
from lockgate.registry.mlflow_tables import webhooks as table

DIALECT = "mlflow"
_PURPOSE = "MLflow's webhooks"
_ACTIVE = "ACTIVE"
_DISABLED = "DISABLED"
_COLUMNS = (
    table.c.webhook_id,
    table.c.workspace,
    table.c.name,
    table.c.url,
    table.c.status,
    table.c.creation_timestamp,
    table.c.last_updated_timestamp,
    webhook_events.c.entity,
    webhook_events.c.action,
)
_FOUND = (
    select(*_COLUMNS)
    .join(webhook_events, webhook_events.c.webhook_id == table.c.webhook_id)
    .where(table.c.deleted_timestamp.is_(None))
)
# As `lockgate.database.webhooks` locks ours.
_SHARED = _FOUND.order_by(table.c.webhook_id).with_for_update(read=True, key_share=True, of=table)
_TOLD: tuple[ColumnElement[bool], ...] = (table.c.status == _ACTIVE, table.c.deleted_timestamp.is_(None))
_ANY = select(table.c.webhook_id).where(*_TOLD).limit(1)
# As it is in the database, which MLflow's own type of the column would decrypt.
_stored = type_coerce(table.c.secret, String)
_SECRET = select(SqlWebhook.secret).where(SqlWebhook.webhook_id == bindparam("of"))


def at_rest(engine: Engine) -> AtRest:
    """Return what their secrets are encrypted with, where LOCKGATE_SECRET_KEY encrypts them.

    Args:
        engine: The registry's database.

    Raises:
        Conflict: if there is no secret key.
        BadInput: if it is short enough to be guessed.
    """
    return AtRest(secret_key(engine), _PURPOSE)


def is_any_told(session: Session) -> bool:
    """Say whether any is active."""
    return session.execute(_ANY).first() is not None


def told(session: Session) -> list[Webhook]:
    """Return those that are active: locked, so that none is deleted before deliveries are made for it."""
    return _webhooks(session, _SHARED, *_TOLD)


def share(session: Session, webhook_ids: Collection[str]) -> list[Webhook]:
    """Return those of some ids that are there, whatever their status: locked, as by `told`."""
    return _webhooks(session, _SHARED, table.c.webhook_id.in_(webhook_ids))


def of_workspace(session: Session, workspace: str) -> list[Webhook]:
    """Return those of a workspace."""
    return _webhooks(session, _FOUND, table.c.workspace == workspace)


def load(session: Session, webhook_id: str) -> Webhook | None:
    """Return one by its id, of whatever workspace, unless it was deleted."""
    found = _webhooks(session, _FOUND, table.c.webhook_id == webhook_id)
    return found[0] if found else None


def lock(session: Session, webhook_id: str) -> None:
    """Lock one until the end of the transaction."""
    session.execute(select(table.c.webhook_id).where(table.c.webhook_id == webhook_id).with_for_update())


def secrets(session: Session, webhook_id: str) -> tuple[str, ...]:
    """Return what calls of one are signed with: MLflow's own type of its column decrypts it."""
    secret = session.execute(_SECRET, {"of": webhook_id}).scalar()
    return (secret,) if secret else ()


def sealed(session: Session) -> dict[str, str]:
    """Return the secrets of those that have one by their ids, encrypted."""
    found = select(table.c.webhook_id, _stored.label("stored")).where(table.c.secret.is_not(None))
    return {row.webhook_id: row.stored for row in session.execute(found)}


def reseal(session: Session, webhook_id: str, stored: str, anew: str) -> bool:
    """Keep the secret of one encrypted anew; say whether it was still stored as it is told here."""
    its = (table.c.webhook_id == webhook_id, _stored == stored)
    changed = session.execute(update(table).where(*its).values(secret=literal(anew, String)))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def disable(session: Session, webhook_id: str, now: datetime) -> None:
    """Tell one nothing any more. MLflow knows no webhook that has failed: it is disabled, as by somebody."""
    changed = {"status": _DISABLED, "last_updated_timestamp": to_ms(now)}
    session.execute(update(table).where(table.c.webhook_id == webhook_id).values(changed))


def _webhooks(session: Session, found: Select[Any], *about: ColumnElement[bool]) -> list[Webhook]:
    rows: dict[str, Any] = {}
    events: dict[str, list[str]] = {}
    for row in session.execute(found.where(*about)):
        rows[row.webhook_id] = row
        events.setdefault(row.webhook_id, []).append(f"{row.entity}.{row.action}")
    return [
        Webhook(
            id=row.webhook_id,
            workspace=row.workspace,
            dialect=DIALECT,
            description=row.name,
            url=row.url,
            events=tuple(events[row.webhook_id]),
            models=EVERY_MODEL,
            status=Status.ACTIVE if row.status == _ACTIVE else Status.DISABLED,
            verify_certificate=True,
            created_at=from_ms(row.creation_timestamp),
            updated_at=from_ms(row.last_updated_timestamp or row.creation_timestamp),
            secret="",
            told_since=from_ms(row.creation_timestamp),
        )
        for row in rows.values()
    ]
