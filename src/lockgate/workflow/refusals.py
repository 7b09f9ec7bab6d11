"""Putting on record that somebody known was refused a change, where nothing else does."""

from datetime import timedelta

from sqlalchemy import Engine

from lockgate.access import attempts
from lockgate.access.principals import Caller
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import sign_ins
from lockgate.database.engine import now, take_turn
from lockgate.database.record import record
from lockgate.events.event import EventType
from lockgate.registry.transaction import reading, transaction

_MOST_OF_CALL = 300
_MOST_OF_REASON = 1000


def on_record(engine: Engine, caller: Caller, call: str, why: str) -> None:
    """Write that a call was refused.

    Of one principal only the first ones within a quarter of an hour: else whoever is refused on and on would fill the
    disk. The last one that is written says so.

    Args:
        engine: The registry's database.
        caller: Who called.
        call: What: `PUT /api/lockgate/v1/policies`.
        why: The sentence of the refusal.
    """
    counted = attempts.refusals_of(caller.principal.id)
    with reading(engine) as session:
        before = sign_ins.failures(session, [counted])
        if attempts.blocked_until([counted], before.values(), now(session)) is not None:
            return
    with transaction(engine) as session:
        take_turn(session, "attempts")
        at = now(session)
        sign_ins.forget_before(session, at - attempts.WINDOW)
        before = sign_ins.failures(session, [counted])
        if attempts.blocked_until([counted], before.values(), at) is not None:
            return
        counts = attempts.after_failure(before.get(counted.key), counted.key, at)
        sign_ins.count(session, counts)
        reason = _storable(why, _MOST_OF_REASON)
        until = attempts.blocked_until([counted], [counts], at)
        if until is not None:
            reason += f" Further refusals of {caller.principal.name} are not recorded before "
            reason += f"{until + timedelta(seconds=1):%H:%M:%S} UTC."
        entry = AuditEntry(
            EventType.CALL_REFUSED,
            caller.principal.name,
            caller.principal.id or None,
            caller.address,
            AuditOutcome.REFUSED,
            after={"call": _storable(call, _MOST_OF_CALL)},
            reason=reason,
        )
        record(session, entry, at)


def _storable(text: str, most: int) -> str:
    """Return a text that any database takes."""
    return text[:most].encode(errors="backslashreplace").decode().replace("\0", "\\0")
