"""Access as a whole: applying a file of who there is and what they may, in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from lockgate.access.plan import Account, Change, Plan, plan
from lockgate.access.principals import Caller, Kind, Principal
from lockgate.access.roles import Permission
from lockgate.database import people
from lockgate.database.engine import now
from lockgate.errors import BadInput, Conflict
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.access_file import read_access, write_access
from lockgate.workflow.humans import set_owner, set_person
from lockgate.workflow.people import add_unlike_others, check_admin_left, check_may_bind, take_people_turn
from lockgate.workflow.principal_changes import record_change


@dataclass(frozen=True)
class Application:
    """How an access file is applied."""

    source: str
    #: Whether those whom it doesn't name are deactivated.
    prune: bool = False
    #: Whether only to say what would change.
    dry_run: bool = False
    #: The digest of the plan that the caller has seen; None applies whatever it is now.
    expect: str | None = None


def export(engine: Engine, caller: Caller) -> str:
    """Return who there is and what they may, as a file."""
    caller.require_somewhere(Permission.READ)
    with reading(engine) as session:
        return write_access(people.every(session))


def apply(engine: Engine, caller: Caller, wanted: Application) -> Plan:
    """Make an access file so, all of it or nothing.

    Returns:
        What changed, or would change.

    Raises:
        BadInput: naming each line of the file that is wrong, or what can't be.
        Refused: if the caller may not, or the file gives away more than a maintainer can.
        Conflict: if it changes something else than the caller has seen, or no admin would be left.
    """
    caller.require(Permission.GOVERN)
    file = read_access(wanted.source)
    try:
        with transaction(engine) as session:
            take_people_turn(session)
            before = people.every(session)
            planned = plan(before, file, wanted.prune)
            if wanted.expect not in (None, planned.digest):
                raise Conflict("Somebody changed people or roles meanwhile. Look at `lockgate access diff FILE` again.")
            known = {principal.name: principal for principal in before}
            at = now(session)
            after = _carry_out(session, caller, known, planned, at)
            if wanted.dry_run:
                raise _OnlyTriedError
            for principal in after:
                record_change(session, caller, known.get(principal.name), principal, at)
    except _OnlyTriedError:
        pass
    return planned


class _OnlyTriedError(Exception):
    """Undoes what was done: that it could be done is all that was asked."""


def _carry_out(
    session: Session, caller: Caller, before: dict[str, Principal], planned: Plan, at: datetime
) -> list[Principal]:
    ids = {name: principal.id for name, principal in before.items()}
    for change in planned.changes:
        with _naming_its_line(change):
            _check(caller, before.get(change.name), change)
            if change.before is None:
                ids[change.name] = add_unlike_others(session, change.name, change.after.kind, at)
    # Everybody is there by now, whoever answers for whom.
    for change in planned.changes:
        with _naming_its_line(change):
            _set_standing(session, ids[change.name], change)
    # Accounts are parted before others are joined.
    for change in sorted(planned.changes, key=lambda one: one.after.same_as is not None):
        with _naming_its_line(change):
            _set_humans(session, caller, ids[change.name], change)
    check_admin_left(session)
    after = people.load(session, [ids[change.name] for change in planned.changes])
    for change in planned.changes:
        with _naming_its_line(change):
            _check_person(change.after, after[ids[change.name]])
    return [after[ids[change.name]] for change in planned.changes]


@contextmanager
def _naming_its_line(change: Change) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        if change.after.line == 0:
            raise
        raise BadInput(f"line {change.after.line}: {error.message}") from None


def _check(caller: Caller, known: Principal | None, change: Change) -> None:
    check_may_bind(caller, known, change.after.bindings)
    if known is not None and known.kind is not change.after.kind:
        raise BadInput(f"{known.name} is a {known.kind} account and stays one. Choose another name.")
    if known is not None and known.id == caller.principal.id and not change.after.active:
        raise BadInput(f"This would keep you ({known.name}) out: name yourself in the file.")
    if change.before is None and change.after.kind is Kind.SERVICE and change.after.owner is None:
        raise BadInput(f"A person answers for a service account: say who is the `owner` of {change.name}.")


def _set_standing(session: Session, principal_id: int, change: Change) -> None:
    before, after = change.before, change.after
    if before is None or before.groups != after.groups:
        people.set_groups(session, principal_id, after.groups)
    if before is None or before.bindings != after.bindings:
        people.set_bindings(session, principal_id, sorted(after.bindings, key=str))
    if before is None or before.active != after.active:
        people.set_active(session, principal_id, after.active)


def _set_humans(session: Session, caller: Caller, principal_id: int, change: Change) -> None:
    before, after = change.before, change.after
    if after.owner is not None and (before is None or before.owner != after.owner):
        set_owner(session, caller, principal_id, after.owner)
    if after.same_as != (before.same_as if before else None):
        second = people.load(session, [principal_id])[principal_id]
        set_person(session, caller, second, after.same_as or after.name)


def _check_person(wanted: Account, now_is: Principal) -> None:
    """Refuse a chain of accounts: applying the same file again would change something."""
    if wanted.same_as != now_is.same_as:
        raise BadInput(
            f"{wanted.name} can't be the same person as {wanted.same_as}: that is a second account itself. Write "
            f"`same_person_as: {now_is.person}`."
        )
