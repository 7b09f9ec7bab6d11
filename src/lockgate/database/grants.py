"""Grants: what is about to move, for the guard's triggers to let through and to write into the history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import grants
from lockgate.promotions.target import Target


@dataclass(frozen=True)
class Grant:
    """That one version may come to a target (`gain`), or go from it (`loss`)."""

    change: str
    model_id: str
    version_id: str
    target: Target
    #: None where no rule protects the target.
    decision_id: int | None
    #: Of the evidence that the decision is about.
    evidence_digest: str


# Composed once: that takes longer than asking.
_GIVE = insert(grants)
_TAKE_BACK = delete(grants)


def give(session: Session, wanted: Sequence[Grant], by_id: int | None, at: datetime) -> None:
    """Let versions come and go in this transaction."""
    rows = [
        {
            "change": grant.change,
            "model_id": grant.model_id,
            "version_id": grant.version_id,
            "target": str(grant.target),
            "decision_id": grant.decision_id,
            "evidence_digest": grant.evidence_digest,
            "by_id": by_id,
            "at": to_ms(at),
        }
        for grant in wanted
    ]
    session.execute(_GIVE, rows)


def take_back(session: Session) -> None:
    """Take back what was given and not used.

    On PostgreSQL a grant is of use only in the transaction that wrote it. SQLite does not name transactions, but writes
    one at a time: what is there is ours.
    """
    if session.get_bind().dialect.name == "sqlite" and session.is_active:
        session.execute(_TAKE_BACK)
