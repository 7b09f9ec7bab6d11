"""Policies that are weaker than the one in force: proposed, approved under the old one, rejected."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy.orm import Session

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import policies, policy_changes
from lockgate.database.engine import now, take_turn
from lockgate.database.policies import StoredPolicy
from lockgate.database.policy_changes import ChangeState, PolicyChange
from lockgate.database.record import record
from lockgate.errors import Conflict, ConflictOnRecord, NotFound, Refused, RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.promotions.request import valid_comment
from lockgate.registry.transaction import reading, transaction
from lockgate.reviews.policy_change import missing_approvals, why_not_approve
from lockgate.workflow.sealed import seal_what_serves
from lockgate.workflow.stores import Stores

#: How many weakenings a refusal says in its message; its details have all.
_SAID = 5
_LISTED = 100


def take_policy_turn(session: Session) -> None:
    """Let only one transaction at a time read the policy in force and decide what becomes of it."""
    take_turn(session, "policy")


def put_in_force(
    session: Session,
    caller: Caller,
    before: StoredPolicy,
    source: str,
    weakens: Sequence[str],
    at: datetime,
    change: PolicyChange | None = None,
) -> StoredPolicy:
    """Make a policy the one in force; what else was proposed against the one before is stale.

    Args:
        session: The transaction, which has the policy's turn.
        caller: Whose call it is.
        before: The policy that was in force.
        source: The new one's text.
        weakens: What the new one demands less.
        at: The time.
        change: The change that was approved, if it needed approval.
    """
    applied_by = change.proposer.name if change else caller.principal.name
    stored = policies.add(session, source, applied_by, at)
    policy_changes.outdate(session)
    after: dict[str, Any] = {"policy": stored.version, "source": source}
    if weakens:
        after["weakens"] = list(weakens)
    if change is not None:
        policy_changes.end(session, change.id, ChangeState.APPLIED)
        approvers = [approver.name for approver in change.approvers]
        after |= {"change": change.id, "proposer": change.proposer.name, "approvers": approvers}
    _record(session, caller, EventType.POLICY_APPLIED, at, after, before={"policy": before.version})
    return stored


def propose(
    session: Session, caller: Caller, source: str, before: StoredPolicy, weakens: Sequence[str], at: datetime
) -> StoredPolicy:
    """Let a weaker policy wait for approval; the same text that is proposed again is the same change.

    Returns:
        The policy in force, if the one before asks for no approval at all.

    Raises:
        Refused: with the change that waits.
    """
    change = policy_changes.open_with(session, source)
    if change is not None and not _may_propose(change):
        policy_changes.end(session, change.id, ChangeState.STALE)
        change = None
    if change is None:
        number = policy_changes.add(session, source, before.version, weakens, caller.principal.id, at)
        change = _get(session, number)
        after = {"change": number, "source": source, "weakens": list(weakens)}
        _record(session, caller, EventType.POLICY_PROPOSED, at, after, before={"policy": before.version})
    missing = missing_of(change, before)
    if not missing:
        return put_in_force(session, caller, before, source, weakens, at, change)
    _refuse(change, missing)


def _may_propose(change: PolicyChange) -> bool:
    return change.proposer.may(Permission.GOVERN)


def _refuse(change: PolicyChange, missing: Sequence[str]) -> NoReturn:
    said = [f"- {sentence}" for sentence in change.weakens[:_SAID]]
    if (more := len(change.weakens) - _SAID) > 0:
        said.append(f"- and {more} more")
    waits = (
        f"So it waits as policy change {change.id}, proposed by {change.proposer.name}, for approval under the old one."
    )
    raise RefusedOnRecord(
        "\n".join(
            [
                "This policy is weaker than the one in force:",
                *said,
                " ".join([waits, *missing, f"To approve it: `lockgate policy approve {change.id}`."]),
            ]
        ),
        change_id=change.id,
        weakens=list(change.weakens),
        missing=list(missing),
    )


def missing_of(change: PolicyChange, base: StoredPolicy) -> list[str]:
    """Return a sentence for everything that a change still needs; nothing if it has ended.

    Args:
        change: The change.
        base: The policy that it was compared with.
    """
    if change.state is not ChangeState.OPEN:
        return []
    missing = missing_approvals(change.proposer, change.approvers, base.policy.changes)
    if not _may_propose(change):
        missing.append(f"{change.proposer.name}, who proposed it, may no longer change policies: propose it again.")
    return missing


def approve(stores: Stores, caller: Caller, change_id: int, comment: str | None) -> tuple[PolicyChange, list[str]]:
    """Approve a policy change; the last approval that it needs puts it in force.

    Args:
        stores: The stores.
        caller: Who approves.
        change_id: The change's number.
        comment: Said with the approval.

    Returns:
        The change, and what it still needs.

    Raises:
        NotFound: if there is no such change.
        Refused: if the caller's approval would not count.
        Conflict: if it has ended, or another policy has come into force since it was proposed.
    """
    said = valid_comment(comment)
    with transaction(stores.registry.engine) as session:
        take_policy_turn(session)
        change, base, at = _get(session, change_id), policies.current(session), now(session)
        _check_open(session, change, base)
        reason = why_not_approve(caller.principal, change.proposer, base.policy.changes)
        if reason is not None:
            _record(session, caller, EventType.POLICY_APPROVED, at, {"change": change_id}, reason, AuditOutcome.REFUSED)
            raise RefusedOnRecord(f"{reason}. Policy change {change_id} is unchanged.")
        if caller.principal.id not in {approver.id for approver in change.approvers}:
            policy_changes.approve(session, change_id, caller.principal.id, at)
            _record(session, caller, EventType.POLICY_APPROVED, at, {"change": change_id}, said)
        approved = _get(session, change_id)
        missing = missing_of(approved, base)
        if not missing:
            put_in_force(session, caller, base, change.source, change.weakens, at, approved)
        ended = _get(session, change_id)
    if not missing:
        seal_what_serves(stores)
    return ended, missing


def reject(stores: Stores, caller: Caller, change_id: int, comment: str | None) -> PolicyChange:
    """End a policy change: its proposer takes it back, and somebody who could approve or change policies rejects it.

    Raises:
        NotFound: if there is no such change.
        Refused: if the caller is none of those.
        Conflict: if it has ended.
    """
    said = valid_comment(comment)
    with transaction(stores.registry.engine) as session:
        take_policy_turn(session)
        change, base = _get(session, change_id), policies.current(session)
        _check_open(session, change, base)
        mine = caller.principal.id == change.proposer.id and caller.principal.token_allows(Permission.GOVERN)
        reason = why_not_approve(caller.principal, change.proposer, base.policy.changes)
        if not mine and reason is not None and (caller.principal.is_service or not _governs(caller)):
            raise Refused(f"{reason}. Policy change {change_id} is unchanged.")
        state = ChangeState.WITHDRAWN if mine else ChangeState.REJECTED
        policy_changes.end(session, change_id, state)
        _record(session, caller, EventType.POLICY_REJECTED, now(session), {"change": change_id, "state": state}, said)
        return _get(session, change_id)


def _governs(caller: Caller) -> bool:
    return caller.principal.may(Permission.GOVERN)


def look(stores: Stores, change_id: int) -> tuple[PolicyChange, list[str]]:
    """Return a policy change and what it still needs.

    Raises:
        NotFound: if there is no such change.
    """
    with reading(stores.registry.engine) as session:
        change = _get(session, change_id)
        return change, missing_of(change, policies.of_version(session, change.base_version))


def search(stores: Stores, state: ChangeState | None = None) -> list[tuple[PolicyChange, list[str]]]:
    """Return the newest policy changes, each with what it still needs."""
    with reading(stores.registry.engine) as session:
        found = policy_changes.search(session, _LISTED, state)
        return [(change, missing_of(change, policies.of_version(session, change.base_version))) for change in found]


def _get(session: Session, change_id: int) -> PolicyChange:
    change = policy_changes.find(session, change_id)
    if change is None:
        raise NotFound(f"There is no policy change {change_id}. `lockgate policy changes` lists them.")
    return change


def _check_open(session: Session, change: PolicyChange, base: StoredPolicy) -> None:
    if change.state is ChangeState.STALE or (change.state is ChangeState.OPEN and change.base_version != base.version):
        policy_changes.end(session, change.id, ChangeState.STALE)
        raise ConflictOnRecord(
            f"Policy change {change.id} was compared with version {change.base_version} of the policy, and version "
            f"{base.version} is in force now. Propose it again: `lockgate policy apply FILE`."
        )
    if change.state is not ChangeState.OPEN:
        raise Conflict(f"Policy change {change.id} is {change.state} already.")


def _record(
    session: Session,
    caller: Caller,
    action: EventType,
    at: datetime,
    after: Mapping[str, Any],
    reason: str = "",
    outcome: AuditOutcome = AuditOutcome.DONE,
    before: Mapping[str, Any] | None = None,
) -> None:
    entry = AuditEntry(
        action,
        caller.principal.name,
        caller.principal.id or None,
        caller.address,
        outcome,
        before=before or {},
        after=after,
        reason=reason,
    )
    record(session, entry, at)
