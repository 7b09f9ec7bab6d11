"""Policies, each version kept."""

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, select
from sqlalchemy.orm import Session

from lockgate.database import protected
from lockgate.database.engine import from_ms, to_ms
from lockgate.database.tables import policies
from lockgate.gates.document import DEFAULT_POLICY, read_policy
from lockgate.gates.policy import Policy

#: The number of the policy that is in force until somebody applies one.
DEFAULT_VERSION = 0


@dataclass(frozen=True)
class StoredPolicy:
    """A version of the policy."""

    version: int
    source: str
    applied_by: str
    applied_at: datetime | None

    @property
    def policy(self) -> Policy:
        """The policy itself."""
        return _read(self.source)


@functools.lru_cache(maxsize=32)
def _read(source: str) -> Policy:
    return read_policy(source)


_DEFAULT = StoredPolicy(DEFAULT_VERSION, DEFAULT_POLICY, "lockgate", None)


_NEWEST = select(policies).order_by(policies.c.version.desc()).limit(1)
_OF_VERSION = select(policies).where(policies.c.version == bindparam("numbered"))


_CURRENT = "lockgate_policy"


def current(session: Session) -> StoredPolicy:
    """Return the policy that is in force; the same one throughout a session, so that a decision rests on one policy."""
    if _CURRENT not in session.info:
        row = session.execute(_NEWEST).first()
        session.info[_CURRENT] = _DEFAULT if row is None else _stored(row)
    known: StoredPolicy = session.info[_CURRENT]
    return known


def of_version(session: Session, version: int) -> StoredPolicy:
    """Return a version of the policy that a request is pinned to."""
    if version == DEFAULT_VERSION:
        return _DEFAULT
    newest = current(session)
    if newest.version == version:
        return newest
    return _stored(session.execute(_OF_VERSION, {"numbered": version}).one())


def find(session: Session, version: int) -> StoredPolicy | None:
    """Return a version of the policy, if there is one."""
    if version == DEFAULT_VERSION:
        return _DEFAULT
    row = session.execute(select(policies).where(policies.c.version == version)).first()
    return _stored(row) if row else None


def every(session: Session) -> list[StoredPolicy]:
    """Return all versions of the policy that were applied, newest first."""
    return [_stored(row) for row in session.execute(select(policies).order_by(policies.c.version.desc()))]


def newest_by(session: Session, name: str) -> StoredPolicy | None:
    """Return the newest policy that somebody applied."""
    statement = select(policies).where(policies.c.applied_by == name).order_by(policies.c.version.desc()).limit(1)
    row = session.execute(statement).first()
    return _stored(row) if row else None


def _stored(row: Row[Any]) -> StoredPolicy:
    return StoredPolicy(row.version, row.source, row.applied_by, from_ms(row.applied_at))


def add(session: Session, source: str, applied_by: str, now: datetime) -> StoredPolicy:
    """Put a policy in force."""
    newest = session.execute(select(func.max(policies.c.version))).scalar() or DEFAULT_VERSION
    session.execute(
        insert(policies).values(version=newest + 1, source=source, applied_by=applied_by, applied_at=to_ms(now))
    )
    session.info[_CURRENT] = StoredPolicy(newest + 1, source, applied_by, now)
    tell_the_guard(session)
    return current(session)


def tell_the_guard(session: Session) -> None:
    """Let the database's own triggers know what the policy in force protects."""
    protected.renew(session, current(session).policy.protected_targets())
