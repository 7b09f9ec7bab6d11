"""One-off freezes: a time in which nothing is promoted."""

from datetime import datetime
from fnmatch import fnmatchcase

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.reach import may_for_all
from lockgate.access.roles import EVERY_MODEL, Permission
from lockgate.access.sight import sight_of
from lockgate.audit.entry import AuditEntry
from lockgate.database import freezes, identities
from lockgate.database.engine import now
from lockgate.database.freezes import Freeze, NewFreeze
from lockgate.database.record import record
from lockgate.errors import BadInput, Conflict, NotFound, Refused
from lockgate.events.event import EventType
from lockgate.promotions.request import valid_comment
from lockgate.promotions.target import Target
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.stores import Stores

_MAY_FREEZE = (Permission.GOVERN, Permission.ROLL_BACK)
_MAX_PATTERN = 256


def freeze(
    stores: Stores,
    caller: Caller,
    pattern: str,
    target: Target | None,
    starts_at: datetime | None,
    ends_at: datetime,
    reason: str | None,
) -> Freeze:
    """Freeze the promotions of some models for a time.

    Args:
        stores: The stores.
        caller: Who freezes: a maintainer or operator of all these models.
        pattern: Which models, as in a rule.
        target: Which target; None for all.
        starts_at: When it begins; None for now.
        ends_at: When it ends.
        reason: Why; everybody who is refused reads it.

    Raises:
        BadInput: without a reason, or if it ends before it begins or is over.
        Refused: if the caller may not.
    """
    why = valid_comment(reason).strip()
    if not why:
        raise BadInput("A freeze needs a reason, for those whom it stops: --reason '...'.")
    if not 0 < len(pattern) <= _MAX_PATTERN:
        raise BadInput(f"A pattern over model names has 1 to {_MAX_PATTERN} characters.")
    _check_may(caller, pattern, "freeze")
    with transaction(stores.registry.engine) as session:
        at = now(session)
        begins = starts_at or at
        if ends_at <= max(begins, at):
            raise BadInput("A freeze ends after it begins, and in the future.")
        new = NewFreeze(stores.registry.workspace, pattern, target, begins, ends_at, why, caller.principal.id, at)
        number = freezes.add(session, new)
        found = freezes.find(session, stores.registry.workspace, number)
        assert found is not None
        record(session, _entry(stores, caller, EventType.FROZEN, found, why), at)
        return found


def lift(stores: Stores, caller: Caller, freeze_id: int, comment: str | None) -> None:
    """End a freeze before its time.

    Raises:
        NotFound: if there is no such freeze.
        Refused: if the caller may not.
        Conflict: if it is over or was lifted already.
    """
    said = valid_comment(comment)
    with transaction(stores.registry.engine) as session:
        found = freezes.find(session, stores.registry.workspace, freeze_id)
        if found is None or not _seen(session, stores, caller, [found]):
            raise NotFound(f"There is no freeze {freeze_id}. `lockgate freezes` lists them.")
        _check_may(caller, found.pattern, "end a freeze of")
        at = now(session)
        if found.lifted_at is not None or found.ends_at <= at:
            raise Conflict(f"Freeze {freeze_id} is over already.")
        freezes.lift(session, freeze_id, caller.principal.id, at)
        record(session, _entry(stores, caller, EventType.FREEZE_LIFTED, found, said), at)


def coming_and_in_force(stores: Stores, caller: Caller) -> list[Freeze]:
    """Return the freezes that are not over and not lifted, and bind a model that the caller may see."""
    with reading(stores.registry.engine) as session:
        found = freezes.coming_and_in_force(session, stores.registry.workspace, now(session))
        return _seen(session, stores, caller, found)


def _seen(session: Session, stores: Stores, caller: Caller, found: list[Freeze]) -> list[Freeze]:
    """Return those freezes that bind a model, there or to come, that the caller may see."""
    sight = sight_of(caller.principal)
    if sight is None or not found:
        return found
    names = identities.names(session, stores.registry.workspace, sight)
    own = {EVERY_MODEL, *(binding.pattern for binding in caller.principal.bindings)}
    return [
        one
        for one in found
        if one.pattern in own or sight.shows(one.pattern) or any(fnmatchcase(name, one.pattern) for name in names)
    ]


def _check_may(caller: Caller, pattern: str, what: str) -> None:
    if not may_for_all(caller.principal, _MAY_FREEZE, pattern):
        raise Refused(
            f"{caller.principal.name} may not {what} '{pattern}': this needs the role operator, maintainer or admin "
            "for all of these models."
        )


def _entry(stores: Stores, caller: Caller, action: EventType, about: Freeze, reason: str) -> AuditEntry:
    return AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        workspace=stores.registry.workspace,
        target=str(about.target) if about.target else None,
        after={
            "freeze": about.id,
            "models": about.pattern,
            "from": about.starts_at.isoformat(),
            "to": about.ends_at.isoformat(),
        },
        reason=reason,
    )
