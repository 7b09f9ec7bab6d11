"""Checks that outside systems reported."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from lockgate.database import people
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import checks
from lockgate.evidence.record import canonical
from lockgate.gates.judge import Check


@dataclass(frozen=True)
class NewCheck:
    """A check as it is reported."""

    version_id: str
    name: str
    status: str
    summary: str
    url: str
    metrics: dict[str, float]
    #: Digest of the evidence that was checked.
    evidence_digest: str
    reporter_id: int
    at: datetime


def add(session: Session, new: NewCheck) -> int:
    """Store a report; the newest under a name counts."""
    statement = insert(checks).values(
        version_id=new.version_id,
        name=new.name,
        status=new.status,
        summary=new.summary,
        url=new.url,
        metrics=canonical(new.metrics),
        evidence_digest=new.evidence_digest,
        reporter_id=new.reporter_id,
        at=to_ms(new.at),
    )
    return int(session.execute(statement.returning(checks.c.id)).scalar_one())


def newest(session: Session, version_ids: Iterable[str]) -> dict[str, dict[str, Check]]:
    """Return the newest check under each name, by version id and name."""
    last = (
        select(func.max(checks.c.id))
        .where(checks.c.version_id.in_(list(version_ids)))
        .group_by(checks.c.version_id, checks.c.name)
    )
    return {
        version_id: {check.name: check for check in reports}
        for version_id, reports in _load(session, select(checks).where(checks.c.id.in_(last))).items()
    }


def reports(session: Session, version_ids: Iterable[str]) -> dict[str, list[Check]]:
    """Return all that was ever reported, oldest first, by version id."""
    wanted = checks.c.version_id.in_(list(version_ids))
    return _load(session, select(checks).where(wanted).order_by(checks.c.id))


def newest_at(reports: Iterable[Check], at: datetime) -> dict[str, Check]:
    """Return the check under each name that was the newest at a moment."""
    return {check.name: check for check in reports if check.at <= at}


def _load(session: Session, statement: Select[tuple[object, ...]]) -> dict[str, list[Check]]:
    rows = session.execute(statement).all()
    reporters = people.load(session, (row.reporter_id for row in rows))
    found: dict[str, list[Check]] = {}
    for row in rows:
        reported = Check(
            name=row.name,
            status=row.status,
            reporter=reporters[row.reporter_id],
            at=from_ms(row.at),
            evidence_digest=row.evidence_digest,
            summary=row.summary,
            url=row.url,
            metrics=json.loads(row.metrics),
        )
        found.setdefault(row.version_id, []).append(reported)
    return found
