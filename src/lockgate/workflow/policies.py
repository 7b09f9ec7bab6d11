"""Putting a policy in force."""

from lockgate.access.principals import LOCKGATE, Caller
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry
from lockgate.database import policies
from lockgate.database.engine import now
from lockgate.database.policies import StoredPolicy
from lockgate.database.record import record
from lockgate.events.event import EventType
from lockgate.gates.document import read_policy
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.stores import Stores


def apply(stores: Stores, caller: Caller, source: str) -> StoredPolicy:
    """Put a policy in force. Requests that are open stay under the one that they were opened under.

    Args:
        stores: The stores.
        caller: Who applies it.
        source: The file's text.

    Returns:
        The policy with its version number; the one in force if it is the same text.

    Raises:
        BadInput: naming each line that is wrong.
        Refused: if the caller may not change policies.
    """
    caller.require(Permission.GOVERN)
    read_policy(source)
    with transaction(stores.registry.engine) as session:
        before = policies.current(session)
        if before.source == source:
            return before
        at = now(session)
        stored = policies.add(session, source, caller.principal.name, at)
        entry = AuditEntry(
            EventType.POLICY_APPLIED,
            caller.principal.name,
            caller.principal.id or None,
            caller.address,
            before={"policy": before.version},
            after={"policy": stored.version, "source": source},
        )
        record(session, entry, at)
        return stored


def in_force(stores: Stores) -> StoredPolicy:
    """Return the policy that is in force."""
    with reading(stores.registry.engine) as session:
        return policies.current(session)


def apply_at_start(stores: Stores, source: str) -> StoredPolicy:
    """Put the policy of `lockgate server --policy FILE` in force."""
    return apply(stores, LOCKGATE, source)
