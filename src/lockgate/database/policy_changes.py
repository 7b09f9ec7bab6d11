"""Policies that would weaken the one in force, and who has approved them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.orm import Session

from lockgate.access.principals import Principal
from lockgate.database import people
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import policy_approvals, policy_changes
from lockgate.evidence.record import canonical


class ChangeState(StrEnum):
    """What became of a policy change."""

    OPEN = "open"
    APPLIED = "applied"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    #: Another policy came into force: what this one would weaken is not known any more.
    STALE = "stale"


@dataclass(frozen=True)
class Approval:
    """One approval of a policy change."""

    by: Principal
    at: datetime


@dataclass(frozen=True)
class PolicyChange:
    """A policy that waits for approval, or did."""

    id: int
    source: str
    #: The version of the policy that it was compared with.
    base_version: int
    weakens: tuple[str, ...]
    proposer: Principal
    at: datetime
    state: ChangeState
    #: With their givers' standing of now.
    approvals: tuple[Approval, ...]

    @property
    def approvers(self) -> list[Principal]:
        """Who has approved it."""
        return [approval.by for approval in self.approvals]


def add(
    session: Session, source: str, base_version: int, weakens: Sequence[str], proposer_id: int, now: datetime
) -> int:
    """Put a policy change on record; return its number."""
    statement = insert(policy_changes).values(
        source=source,
        base_version=base_version,
        weakens=canonical(list(weakens)),
        proposer_id=proposer_id,
        at=to_ms(now),
        state=ChangeState.OPEN,
    )
    return int(session.execute(statement.returning(policy_changes.c.id)).scalar_one())


def approve(session: Session, change_id: int, approver_id: int, now: datetime) -> None:
    """Put an approval on record."""
    session.execute(insert(policy_approvals).values(change_id=change_id, principal_id=approver_id, at=to_ms(now)))


def end(session: Session, change_id: int, state: ChangeState) -> None:
    """Say what became of a policy change."""
    session.execute(update(policy_changes).where(policy_changes.c.id == change_id).values(state=state))


def outdate(session: Session) -> None:
    """End all changes that are open: another policy is in force now."""
    session.execute(
        update(policy_changes).where(policy_changes.c.state == ChangeState.OPEN).values(state=ChangeState.STALE)
    )


def find(session: Session, change_id: int) -> PolicyChange | None:
    """Return a policy change by its number."""
    found = _found(session, 1, policy_changes.c.id == change_id)
    return found[0] if found else None


def open_with(session: Session, source: str) -> PolicyChange | None:
    """Return the open change that has this very text."""
    found = _found(session, 1, policy_changes.c.state == ChangeState.OPEN, policy_changes.c.source == source)
    return found[0] if found else None


def search(session: Session, limit: int, state: ChangeState | None = None) -> list[PolicyChange]:
    """Return policy changes, newest first."""
    return _found(session, limit, *([policy_changes.c.state == state] if state else []))


def _found(session: Session, limit: int, *conditions: ColumnElement[bool]) -> list[PolicyChange]:
    statement = select(policy_changes).where(*conditions).order_by(policy_changes.c.id.desc()).limit(limit)
    rows = session.execute(statement).all()
    given: dict[int, list[tuple[int, datetime]]] = {row.id: [] for row in rows}
    approvals = (
        select(policy_approvals)
        .where(policy_approvals.c.change_id.in_(list(given)))
        .order_by(policy_approvals.c.at, policy_approvals.c.principal_id)
    )
    for row in session.execute(approvals):
        given[row.change_id].append((row.principal_id, from_ms(row.at)))
    approvers = (approver for approvals_of in given.values() for approver, _at in approvals_of)
    known = people.load(session, [*(row.proposer_id for row in rows), *approvers])
    return [
        PolicyChange(
            id=row.id,
            source=row.source,
            base_version=row.base_version,
            weakens=tuple(json.loads(row.weakens)),
            proposer=known[row.proposer_id],
            at=from_ms(row.at),
            state=ChangeState(row.state),
            approvals=tuple(Approval(known[approver], at) for approver, at in given[row.id]),
        )
        for row in rows
    ]
