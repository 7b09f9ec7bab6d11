"""Webhooks: who is told of what."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.orm import Session

from lockgate.access.roles import EVERY_MODEL
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import principals, webhooks
from lockgate.events.dialect import Told


class Status(StrEnum):
    """Whether a webhook is told of events."""

    ACTIVE = "active"
    #: By somebody: what happens meanwhile is not told later.
    DISABLED = "disabled"
    #: By Lockgate, because it couldn't be reached for days: what happens meanwhile waits.
    FAILED = "failed"
    #: Only by who tries it out.
    TEST = "test"


#: Among a webhook's events: all that its dialect has.
EVERY_EVENT = "*"
#: Those for which deliveries are made.
KEPT_FOR = (Status.ACTIVE, Status.FAILED)


@dataclass(frozen=True)
class Webhook:
    """Who is told of what."""

    id: str
    workspace: str
    dialect: str
    description: str
    url: str
    #: Their names in the dialect, or EVERY_EVENT.
    events: tuple[str, ...]
    #: Which models it is told about: a pattern. Of what is about no model it is told if that is `*`.
    models: str
    status: Status
    verify_certificate: bool
    created_at: datetime
    updated_at: datetime
    #: Its secrets and settings, encrypted.
    secret: str
    #: Of what happened before, it is told nothing.
    told_since: datetime
    created_by: str = ""
    #: Why it failed.
    reason: str = ""
    failing_since: datetime | None = None

    def is_another_than(self, earlier: "Webhook") -> bool:
        """Say whether somebody has changed it since."""
        return self.updated_at != earlier.updated_at

    def covers(self, model: str | None) -> bool:
        """Say whether it is about a model; None is what is about none."""
        return self.models == EVERY_MODEL if model is None else fnmatchcase(model, self.models)

    def is_for(self, told: Told) -> bool:
        """Say whether it may be told of an event; of which of its dialect's, is for the dialect to say."""
        if self.workspace != told.workspace or self.status not in KEPT_FOR or told.at < self.told_since:
            return False
        return self.covers(told.model)


def add(session: Session, new: Webhook, by_id: int) -> None:
    """Put a webhook down.

    Args:
        session: The transaction.
        new: The webhook; its fields are called as the columns are.
        by_id: The principal who made it.
    """
    values = _columns({**asdict(new), "created_by_id": by_id})
    del values["created_by"]
    session.execute(insert(webhooks).values(values))


def change(session: Session, webhook_id: str, **changes: Any) -> None:
    """Change some of a webhook, by the names of its fields."""
    session.execute(update(webhooks).where(webhooks.c.id == webhook_id).values(_columns(changes)))


def remove(session: Session, webhook_id: str) -> None:
    """Remove a webhook."""
    session.execute(delete(webhooks).where(webhooks.c.id == webhook_id))


_ALL = select(webhooks, principals.c.name.label("created_by")).join(
    principals, webhooks.c.created_by_id == principals.c.id
)


def lock(session: Session, webhook_id: str) -> None:
    """Lock a webhook until the end of the transaction.

    Whoever locks several lanes of it, or makes deliveries for it, locks it first; and the outbox, if that too, before.
    """
    session.execute(select(webhooks.c.id).where(webhooks.c.id == webhook_id).with_for_update())


def made_by(session: Session, principal_id: int) -> int:
    """Return how many webhooks a principal has made, in all workspaces."""
    found = select(func.count()).select_from(webhooks).where(webhooks.c.created_by_id == principal_id)
    return session.execute(found).scalar_one()


def find(session: Session, workspace: str, webhook_id: str) -> Webhook | None:
    """Return a webhook of a workspace."""
    row = session.execute(_ALL.where(webhooks.c.id == webhook_id, webhooks.c.workspace == workspace)).first()
    return _webhook(row) if row is not None else None


def load(session: Session, webhook_id: str) -> Webhook | None:
    """Return a webhook, of whatever workspace."""
    row = session.execute(_ALL.where(webhooks.c.id == webhook_id)).first()
    return _webhook(row) if row is not None else None


def of_workspace(session: Session, workspace: str) -> list[Webhook]:
    """Return the webhooks of a workspace, oldest first."""
    rows = session.execute(_ALL.where(webhooks.c.workspace == workspace).order_by(webhooks.c.created_at, webhooks.c.id))
    return [_webhook(row) for row in rows]


def sealed(session: Session) -> dict[str, str]:
    """Return what is secret of all webhooks by their ids, encrypted."""
    return {row.id: row.secret for row in session.execute(select(webhooks.c.id, webhooks.c.secret))}


def reseal(session: Session, webhook_id: str, stored: str, anew: str) -> bool:
    """Keep what is secret of a webhook encrypted anew, which makes it no other; say whether it was still stored so."""
    its = (webhooks.c.id == webhook_id, webhooks.c.secret == stored)
    changed = session.execute(update(webhooks).where(*its).values(secret=anew))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


_ANY = select(webhooks.c.id).where(webhooks.c.status.in_(KEPT_FOR)).limit(1)


def is_any_told(session: Session) -> bool:
    """Say whether there is any for which deliveries are made."""
    return session.execute(_ANY).first() is not None


# The weakest lock that `lock` waits for, and that waits for it. Nothing on SQLite, where the whole file is locked.
_SHARED = _ALL.order_by(webhooks.c.id).with_for_update(read=True, key_share=True, of=webhooks)


def told(session: Session) -> list[Webhook]:
    """Return the webhooks for which deliveries are made: locked, so that none is removed before they are."""
    return [_webhook(row) for row in session.execute(_SHARED.where(webhooks.c.status.in_(KEPT_FOR)))]


def share(session: Session, webhook_ids: Collection[str]) -> list[Webhook]:
    """Return those of some webhooks that are there, whatever their status: locked, as by `told`."""
    return [_webhook(row) for row in session.execute(_SHARED.where(webhooks.c.id.in_(webhook_ids)))]


def _columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _column(value) for name, value in changes.items()}


def _column(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_ms(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return json.dumps(list(value))
    return value


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(
        id=row.id,
        workspace=row.workspace,
        dialect=row.dialect,
        description=row.description,
        url=row.url,
        events=tuple(json.loads(row.events)),
        models=row.models,
        status=Status(row.status),
        verify_certificate=row.verify_certificate,
        created_at=from_ms(row.created_at),
        updated_at=from_ms(row.updated_at),
        secret=row.secret,
        told_since=from_ms(row.told_since),
        created_by=row.created_by,
        reason=row.reason,
        failing_since=None if row.failing_since is None else from_ms(row.failing_since),
    )
