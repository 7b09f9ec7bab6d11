"""Putting a policy in force."""

from lockgate.access.principals import LOCKGATE, Caller
from lockgate.access.roles import Permission
from lockgate.database import people, policies
from lockgate.database.engine import now
from lockgate.database.policies import DEFAULT_VERSION, StoredPolicy
from lockgate.errors import NotFound
from lockgate.gates.document import read_policy
from lockgate.gates.policy import Policy
from lockgate.gates.weakening import weakenings
from lockgate.registry.transaction import reading, transaction
from lockgate.workflow.policy_changes import propose, put_in_force, take_policy_turn
from lockgate.workflow.sealed import seal_what_serves
from lockgate.workflow.stores import Stores


def apply(stores: Stores, caller: Caller, source: str) -> StoredPolicy:
    """Put a policy in force. Requests that are open stay under the one that they were opened under.

    One that is weaker than the one in force waits for approval, unless nobody has applied one yet, or the caller is
    an admin and the policy in force has no `changes`.

    Args:
        stores: The stores.
        caller: Who applies it.
        source: The file's text.

    Returns:
        The policy with its version number; the one in force if it is the same text.

    Raises:
        BadInput: naming each line that is wrong.
        Refused: if the caller may not change policies, or the policy is weaker; then with the change that waits.
    """
    caller.require(Permission.GOVERN)
    stored = _apply(stores, caller, source, read_policy(source))
    seal_what_serves(stores)
    return stored


def _apply(stores: Stores, caller: Caller, source: str, wanted: Policy) -> StoredPolicy:
    with transaction(stores.registry.engine) as session:
        take_policy_turn(session)
        before = policies.current(session)
        if before.source == source:
            return before
        weaker = weakenings(before.policy, wanted)
        if weaker and not _may_weaken(caller, before):
            return propose(session, caller, source, before, weaker, now(session))
        return put_in_force(session, caller, before, source, weaker, now(session))


def _may_weaken(caller: Caller, before: StoredPolicy) -> bool:
    """Admins make people, so to ask them for one more person's approval would be for show; the policy may still."""
    if before.version == DEFAULT_VERSION:
        return True
    return before.policy.changes is None and caller.principal.may(Permission.ADMINISTER)


def in_force(stores: Stores) -> StoredPolicy:
    """Return the policy that is in force."""
    with reading(stores.registry.engine) as session:
        return policies.current(session)


def unknown(stores: Stores, stored: StoredPolicy) -> list[str]:
    """Return the groups, roles and accounts that a policy names and no active principal has or is."""
    with reading(stores.registry.engine) as session:
        active = [principal for principal in people.every(session) if principal.active]
    return sorted(str(named) for named in stored.policy.named() if not named.names_any(active))


def versions(stores: Stores) -> list[StoredPolicy]:
    """Return all policies that were applied, newest first."""
    with reading(stores.registry.engine) as session:
        return policies.every(session)


def of_version(stores: Stores, version: int) -> StoredPolicy:
    """Return a version of the policy.

    Raises:
        NotFound: if there is no such version.
    """
    with reading(stores.registry.engine) as session:
        found = policies.find(session, version)
    if found is None:
        raise NotFound(f"There is no version {version} of the policy. `lockgate policy versions` lists them.")
    return found


def apply_at_start(stores: Stores, source: str) -> str:
    """Put the policy of `lockgate server --policy FILE` in force: whoever starts the server decides.

    A restart with the file of the last start leaves a policy that somebody has applied since.

    Returns:
        What is in force now, in a sentence.

    Raises:
        BadInput: naming each line that is wrong.
    """
    wanted = read_policy(source)
    with transaction(stores.registry.engine) as session:
        take_policy_turn(session)
        before = policies.current(session)
        started = policies.newest_by(session, LOCKGATE.principal.name)
        if started is not None and started.source == source:
            return _left(started, before)
        stored = put_in_force(session, LOCKGATE, before, source, weakenings(before.policy, wanted), now(session))
        return f"Policy version {stored.version} is in force."


def _left(started: StoredPolicy, now: StoredPolicy) -> str:
    if now.source == started.source:
        return f"Policy version {now.version} is in force."
    return (
        f"Policy version {now.version}, which {now.applied_by} has applied since, stays in force. The file is version "
        f"{started.version}, as at the last start; `lockgate policy apply FILE` brings it back."
    )
