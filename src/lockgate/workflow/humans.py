"""Which person is behind an account: the owner of a service account, the first account of who has several.

Reviews are about people, so whoever says who is behind an account decides who may approve.
"""

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller, Principal
from lockgate.access.roles import Permission
from lockgate.database import people
from lockgate.database.engine import now
from lockgate.errors import BadInput, Refused
from lockgate.workflow.principal_changes import record_change


def set_person(session: Session, caller: Caller, second: Principal, first_name: str) -> None:
    """Say that two accounts are one person's: for reviews they count as one.

    Args:
        session: The transaction.
        caller: Who says so.
        second: The account.
        first_name: The account that it is a second one beside; its own name parts it from all others.

    Raises:
        BadInput: if either is no person's account.
        Refused: if the caller is no admin.
    """
    caller.require(Permission.ADMINISTER)
    first = people.find(session, first_name)
    if first is None:
        raise BadInput(f"There is no principal {first_name[:100]!r}. `lockgate users list` shows who there is.")
    for account in (first, second):
        if account.is_service:
            raise BadInput(f"{account.name} is a service account, and no person; its owner answers for it.")
    root = people.find(session, first.person) or first
    if second.id == first.id:
        people.set_person(session, second.id, None)
    elif second.id != root.id:
        taken_along = [account for account in people.every(session) if account.same_as == second.name]
        people.set_person(session, second.id, root.id)
        after, at = people.load(session, [account.id for account in taken_along]), now(session)
        for account in taken_along:
            record_change(session, caller, account, after[account.id], at)


def set_owner(session: Session, caller: Caller, principal_id: int, name: str) -> None:
    """Say which person answers for a service account.

    What the account does counts as its owner's, who can't approve it: so who has an owner gets another one from an
    admin only. One that has none, as before Lockgate asked for owners, gets its first like a new account.

    Raises:
        BadInput: if the account is no service account, or the owner no person.
        Refused: if it has another owner, and the caller is no admin.
    """
    owned = people.load(session, [principal_id])[principal_id]
    if not owned.is_service:
        raise BadInput(f"{owned.name} is a person; only service accounts have an owner.")
    owner = people.find(session, name)
    if owner is None or owner.is_service:
        raise BadInput(f"The owner of {owned.name} must be a person who is known here; {name[:100]!r} is not.")
    if owned.owner not in (None, owner.name) and not caller.principal.may(Permission.ADMINISTER):
        raise Refused(
            f"Only an admin changes who answers for a service account: {owned.owner} does for {owned.name}, and can't "
            "approve what it does. Ask an admin."
        )
    people.set_owner(session, principal_id, owner.id)
