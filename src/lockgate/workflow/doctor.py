"""The doctor: is the database's guard what it should be, and does a decision explain what protected targets hold?"""

from dataclasses import dataclass

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.database.guard import script
from lockgate.database.guard.access import who_else_may, who_is_connected
from lockgate.database.guard.placing import put_in_place
from lockgate.database.guard.wholeness import what_is_wrong
from lockgate.registry import unexplained
from lockgate.registry.transaction import reading
from lockgate.registry.unexplained import Unexplained
from lockgate.workflow.stores import Stores


@dataclass(frozen=True)
class Findings:
    """What the doctor found; nothing anywhere but in `notes` is health."""

    #: SHA-256 of the guard that belongs in the database.
    fingerprint: str
    #: How the guard in the database differs from it.
    guard: tuple[str, ...]
    #: What roles may do that the guard rests on.
    access: tuple[str, ...]
    #: What is so by choice and could be safer.
    notes: tuple[str, ...]
    pointers: tuple[Unexplained, ...]


def examine(stores: Stores, caller: Caller) -> Findings:
    """Look at the guard, at rights in the database, and at what protected targets hold.

    Raises:
        Refused: if the caller is no admin.
    """
    caller.require(Permission.ADMINISTER)
    with reading(stores.registry.engine) as session:
        connection = session.connection()
        return Findings(
            script.fingerprint(connection.dialect.name),
            tuple(what_is_wrong(session)),
            tuple(who_else_may(connection)),
            tuple(who_is_connected(connection)),
            tuple(unexplained.find(session)),
        )


def repair(stores: Stores, caller: Caller) -> Findings:
    """Put the guard back as it should be; what moved meanwhile goes into the history as moved behind Lockgate's back.

    Returns:
        What is still to be found.

    Raises:
        Refused: if the caller is no admin, or the server's role in the database may not.
    """
    caller.require(Permission.ADMINISTER)
    put_in_place(stores.registry.db_uri, caller)
    return examine(stores, caller)
