"""The doctor: is the database's guard what it should be, does a decision explain what protected targets hold, do
witnesses agree with the log, and can secrets be opened?
"""

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
from lockgate.workflow.checkpoints import Schedule
from lockgate.workflow.secret_keys import unopened
from lockgate.workflow.stores import Stores
from lockgate.workflow.testimony import troubles


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
    #: How places that keep checkpoints contradict the log, or could not be asked.
    checkpoints: tuple[str, ...]
    #: What is secret in the database and this server can't open.
    secrets: tuple[str, ...]


def examine(stores: Stores, caller: Caller) -> Findings:
    """Look at the guard, at rights in the database, at what protected targets hold, and at what witnesses said last.

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
            tuple(f"{name}: {told}." for name, told in troubles(stores.registry.engine, Schedule.read().uris).items()),
            tuple(unopened(stores.registry.engine)),
        )


def repair(stores: Stores, caller: Caller) -> Findings:
    """Put the guard back as it should be; what moved meanwhile goes into the history as moved behind Lockgate's back.

    Returns:
        What is still to be found.

    Raises:
        Refused: if the caller is no admin, or the server's role in the database may not.
        Outdated: if a newer server has put its own guard there.
    """
    caller.require(Permission.ADMINISTER)
    put_in_place(stores.registry.db_uri, caller)
    return examine(stores, caller)
