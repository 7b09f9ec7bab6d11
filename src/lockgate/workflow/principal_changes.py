"""The audit entry of a principal that was added or changed: the same shape, whoever did it and for whatever reason."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller, Principal
from lockgate.audit.entry import AuditEntry
from lockgate.database.record import record
from lockgate.events.event import EventType


def record_change(
    session: Session,
    caller: Caller,
    before: Principal | None,
    after: Principal,
    at: datetime,
    new_password: bool = False,
    why: str = "",
) -> None:
    """Write down that a principal was added or changed.

    Args:
        session: The transaction.
        caller: Who did it.
        before: What the principal was; None if it is new.
        after: What it is.
        at: When.
        new_password: Whether its password was set; the password itself is written nowhere.
        why: The reason, where the caller is Lockgate itself.
    """
    entry = AuditEntry(
        EventType.PRINCIPAL_CHANGED,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        before=_shown(before) if before else {},
        after={**_shown(after), **({"password": "changed"} if new_password else {})},
        reason=why,
    )
    record(session, entry, at)


def _shown(principal: Principal) -> dict[str, Any]:
    return {
        "name": principal.name,
        "kind": principal.kind,
        "active": principal.active,
        "groups": sorted(principal.groups),
        "roles": sorted(str(binding) for binding in principal.bindings),
        **({"owner": principal.owner} if principal.owner else {}),
        **({"same_person_as": principal.same_as} if principal.same_as else {}),
    }
