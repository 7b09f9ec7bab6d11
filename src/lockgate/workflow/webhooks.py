"""Webhooks: who is told of what happens, as it is stored and shown."""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.reach import may_for_all
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry
from lockgate.database import deliveries, remembered, webhooks
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.database.webhooks import Status, Webhook
from lockgate.delivery import receivers
from lockgate.delivery.spoken import dialect
from lockgate.errors import BadInput, NotFound, Refused
from lockgate.events.dialects.standard import new_secret
from lockgate.events.event import EventType
from lockgate.registry.listeners import begin_to_tell
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.shown import without_secrets
from lockgate.workflow.stores import Stores
from lockgate.workflow.webhook_wanted import (
    SECRETS,
    Wanted,
    changed,
    check_stays_secret,
    check_wanted,
    wanted_of,
    without_shown_url,
)

_MAY = (Permission.GOVERN,)
#: How many webhooks one principal can have made.
_MOST_OF_ONE = 100


def create(stores: Stores, caller: Caller, wanted: Wanted) -> Webhook:
    """Tell somebody of events from now on.

    Raises:
        BadInput: if the URL is none that may be called, or the dialect has no such event.
        Refused: if the caller doesn't maintain all models that it is about, or has made too many webhooks.
        Conflict: if the server has no secret key.
    """
    check_wanted(wanted)
    _check_may(caller, wanted.models)
    engine = stores.registry.engine
    sealed = receivers.sealed(wanted.secrets, receivers.webhooks_at_rest(engine))
    with transaction(engine) as session:
        at = now(session)
        _check_not_too_many(session, caller)
        begin_to_tell(session)
        new = Webhook(
            id=uuid.uuid4().hex,
            workspace=stores.registry.workspace,
            dialect=wanted.dialect,
            description=wanted.description,
            url=wanted.url,
            events=wanted.events,
            models=wanted.models,
            status=wanted.status,
            verify_certificate=wanted.verify_certificate,
            created_at=at,
            updated_at=at,
            secret=sealed,
            told_since=at,
            created_by=caller.principal.name,
        )
        webhooks.add(session, new, caller.principal.id)
        put_on_record(session, caller, new, after=_told(new))
        return new


def change(stores: Stores, caller: Caller, webhook_id: str, **changes: Any) -> Webhook:
    """Change some of a webhook.

    Args:
        stores: The stores.
        caller: Who changes it.
        webhook_id: Which.
        **changes: Fields of `Wanted`, but for the dialect; in place of `secrets`, `settings` and what calls are
            signed with (`signing`), either or both. Dots where something secret was shown keep it. A webhook that had
            failed and is active again gets what has waited for it.

    Returns:
        The webhook as it is now.

    Raises:
        NotFound: if there is no such webhook that the caller maintains.
        BadInput: as `create` does, or if its secrets were encrypted with another key.
        Refused: if the caller doesn't maintain all models that it is to be about.
        Conflict: if the server has no secret key.
    """
    engine = stores.registry.engine
    with transaction(engine) as session:
        if changes.get("status") is Status.ACTIVE:
            begin_to_tell(session)  # which may lock the outbox, and that is locked before webhooks
        webhooks.lock(session, webhook_id)
        found = _find(session, stores, caller, webhook_id)
        at_rest = receivers.webhooks_at_rest(engine)
        before = wanted_of(found, receivers.opened(found, at_rest))
        changes = without_shown_url(before, changes)
        check_stays_secret(before, changes)
        after = changed(before, changes)
        check_wanted(after)
        _check_may(caller, after.models)
        at = now(session)
        values = {name: value for name, value in changes.items() if name not in SECRETS}
        if after.secrets != before.secrets:
            values["secret"] = receivers.sealed(after.secrets, at_rest)
        if after.status is not before.status:
            values |= _of_another_status(before.status, at)
            _start_or_stop(session, found, after.status)
        webhooks.change(session, webhook_id, updated_at=at, **values)
        new = _find(session, stores, caller, webhook_id)
        if new.models != found.models:
            deliveries.give_up(session, webhook_id, lambda model: new.covers(model or None), at)
        if new.url != found.url:
            remembered.forget(session, webhook_id)  # What one receiver has answered, the next one doesn't know.
        put_on_record(session, caller, new, before=_told(found), after=_told(new))
        return new


def rotate(
    stores: Stores, caller: Caller, webhook_id: str, secret: str | None, drop_earlier: bool
) -> tuple[Webhook, str | None]:
    """Sign with another secret, and with the earlier one too; or, when the receiver has it, only with the newest.

    Args:
        stores: The stores.
        caller: Who changes it.
        webhook_id: Which.
        secret: The new secret; None to have one made, unless the earlier one is only to be dropped.
        drop_earlier: Whether calls are not signed with the earlier one any more.

    Returns:
        The webhook, and the new secret if there is one.

    Raises:
        NotFound: if there is no such webhook that the caller maintains.
        BadInput: if the dialect can't sign with such a secret.
    """
    engine = stores.registry.engine
    new = secret if secret or drop_earlier else new_secret()
    with transaction(engine) as session:
        webhooks.lock(session, webhook_id)
        before = receivers.opened(_find(session, stores, caller, webhook_id), receivers.webhooks_at_rest(engine))
        signing = (new, *(() if drop_earlier else before.signing[:1])) if new else before.signing[:1]
        return change(stores, caller, webhook_id, signing=signing), new


def remove(stores: Stores, caller: Caller, webhook_id: str) -> None:
    """Tell somebody nothing any more, and forget what was delivered.

    Raises:
        NotFound: if there is no such webhook that the caller maintains.
    """
    with transaction(stores.registry.engine) as session:
        webhooks.lock(session, webhook_id)
        found = _find(session, stores, caller, webhook_id)
        deliveries.forget(session, webhook_id)
        remembered.forget(session, webhook_id)
        webhooks.remove(session, webhook_id)
        put_on_record(session, caller, found, before=_told(found))


def find(stores: Stores, caller: Caller, webhook_id: str) -> Webhook:
    """Return a webhook.

    Raises:
        NotFound: if there is no such webhook that the caller maintains.
    """
    with reading(stores.registry.engine) as session:
        return _find(session, stores, caller, webhook_id)


def all_of(stores: Stores, caller: Caller) -> list[Webhook]:
    """Return the webhooks that the caller maintains, oldest first."""
    with reading(stores.registry.engine) as session:
        found = webhooks.of_workspace(session, stores.registry.workspace)
    return [one for one in found if maintains(caller, one)]


def maintains(caller: Caller, webhook: Webhook) -> bool:
    """Say whether the caller maintains all models that a webhook is about."""
    return maintains_models(caller, webhook.models)


def settings_of(stores: Stores, webhook: Webhook) -> dict[str, str]:
    """Return what a webhook's dialect needs besides, with dots in place of what is secret.

    Nothing if its secrets were encrypted with another key or its dialect is there no more: it can be removed all the
    same.

    Raises:
        Conflict: if the server has no secret key.
    """
    try:
        known = dialect(webhook.dialect).SETTINGS
        settings = receivers.opened(webhook, receivers.webhooks_at_rest(stores.registry.engine)).settings
    except BadInput:
        return {}
    return without_secrets(known, settings)


def _find(session: Session, stores: Stores, caller: Caller, webhook_id: str) -> Webhook:
    found = webhooks.find(session, stores.registry.workspace, webhook_id)
    if found is None or not maintains(caller, found):
        raise NotFound(f"There is no webhook '{webhook_id}'. `lockgate webhooks list` lists them.")
    return found


def _of_another_status(before: Status, at: datetime) -> dict[str, Any]:
    """Return what a new status makes of a webhook's columns: of what came while it had failed, it is still told."""
    told_since = {} if before is Status.FAILED else {"told_since": at}
    return {"reason": "", "failing_since": None, **told_since}


def _start_or_stop(session: Session, webhook: Webhook, status: Status) -> None:
    if status is Status.ACTIVE:
        deliveries.resume(session, webhook.id, now(session))
    else:
        deliveries.stop(session, webhook.id)


def maintains_models(caller: Caller, models: str) -> bool:
    """Say whether the caller maintains all models that a pattern names."""
    return may_for_all(caller.principal, _MAY, models)


def _check_may(caller: Caller, models: str) -> None:
    if not maintains_models(caller, models):
        raise Refused(
            f"{caller.principal.name} may not set up who is told about '{models}': this needs the role maintainer or "
            "admin for all of these models."
        )


def _check_not_too_many(session: Session, caller: Caller) -> None:
    take_turn(session, f"webhooks made by {caller.principal.id}")
    if webhooks.made_by(session, caller.principal.id) >= _MOST_OF_ONE:
        raise Refused(
            f"{caller.principal.name} has made {_MOST_OF_ONE} webhooks, and nobody may have more. Remove one "
            "(`lockgate webhooks remove ID`), or let one be told of more events and models."
        )


def _told(webhook: Webhook) -> dict[str, Any]:
    """Return what the audit log tells of a webhook: of its URL, which may be secret, the host and a digest."""
    return {
        "webhook_id": webhook.id,
        "dialect": webhook.dialect,
        "host": urlsplit(webhook.url).hostname or "",
        "url": f"sha256:{hashlib.sha256(webhook.url.encode()).hexdigest()}",
        "verify_certificate": webhook.verify_certificate,
        "events": list(webhook.events),
        "models": webhook.models,
        "status": webhook.status.value,
    }


def put_on_record(
    session: Session,
    caller: Caller,
    webhook: Webhook,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Put on record what somebody has made of a webhook, or of what is delivered to it.

    Args:
        session: The transaction.
        caller: Who.
        webhook: The webhook.
        before: What the audit log tells of how it was.
        after: What it tells of how it is now.
    """
    entry = AuditEntry(
        EventType.WEBHOOK_CHANGED,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        workspace=webhook.workspace,
        before=before or {},
        after=after or {},
    )
    record(session, entry, now(session))
