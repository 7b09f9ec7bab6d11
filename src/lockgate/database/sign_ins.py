"""Signing in: identities at providers, failed attempts, and the tokens of sessions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, literal, or_, select, update
from sqlalchemy.orm import Session

from lockgate.access.attempts import Counted, Failures
from lockgate.database.engine import ClockMs, from_ms, to_ms
from lockgate.database.tables import attempts, identities, principals, tokens


@dataclass(frozen=True)
class PasswordCheck:
    """All that there is to know before a password is looked at."""

    at: datetime
    principal_id: int | None
    password_hash: str | None
    failures: tuple[Failures, ...]


_clock = select(ClockMs().label("at"), literal(1).label("one")).subquery()
_with_password = (
    select(principals.c.id, principals.c.password_hash, literal(1).label("one"))
    .where(principals.c.name == bindparam("name"), principals.c.active, principals.c.password_hash.is_not(None))
    .subquery()
)
_counted = (
    select(attempts, literal(1).label("one")).where(attempts.c.key.in_(bindparam("keys", expanding=True))).subquery()
)
# Composed once. One statement whoever it is about and whatever has failed before.
_PASSWORD = (
    select(
        _clock.c.at,
        _with_password.c.id,
        _with_password.c.password_hash,
        _counted.c.key,
        _counted.c.failures,
        _counted.c.since,
    )
    .select_from(_clock)
    .outerjoin(_with_password, _with_password.c.one == _clock.c.one)
    .outerjoin(_counted, _counted.c.one == _clock.c.one)
)


def password_check(session: Session, name: str, counted: Iterable[Counted]) -> PasswordCheck:
    """Return the password hash of an active principal, if there is one, and what failed of late."""
    rows = session.execute(_PASSWORD, {"name": name, "keys": [one.key for one in counted]}).all()
    found = tuple(Failures(row.key, row.failures, from_ms(row.since)) for row in rows if row.key is not None)
    return PasswordCheck(from_ms(rows[0].at), rows[0].id, rows[0].password_hash, found)


def failures(session: Session, counted: Iterable[Counted]) -> dict[str, Failures]:
    """Return what failed of late, by its key."""
    rows = session.execute(select(attempts).where(attempts.c.key.in_([one.key for one in counted])))
    return {row.key: Failures(row.key, row.failures, from_ms(row.since)) for row in rows}


def count(session: Session, failed: Failures) -> None:
    """Write how often something has failed."""
    values = {"failures": failed.count, "since": to_ms(failed.since)}
    if session.execute(update(attempts).where(attempts.c.key == failed.key).values(values)).rowcount == 0:  # type: ignore[attr-defined]
        session.execute(insert(attempts).values(key=failed.key, **values))


def forget_before(session: Session, at: datetime) -> None:
    """Forget the failures of windows that began before a time."""
    session.execute(delete(attempts).where(attempts.c.since < to_ms(at)))


def rehash(session: Session, principal_id: int, before: str, after: str) -> None:
    """Store a password's hash in place of an older one of the same password; another password stays."""
    statement = update(principals).where(principals.c.id == principal_id, principals.c.password_hash == before)
    session.execute(statement.values(password_hash=after))


def link(session: Session, principal_id: int, issuer: str, subject: str, at: datetime) -> None:
    """Note that a principal is this subject of an issuer."""
    session.execute(
        insert(identities).values(issuer=issuer, subject=subject, principal_id=principal_id, created_at=to_ms(at))
    )


def unlink(session: Session, issuer: str, subject: str) -> None:
    """Forget an identity."""
    session.execute(delete(identities).where(identities.c.issuer == issuer, identities.c.subject == subject))


def linked(session: Session, issuer: str, subject: str) -> int | None:
    """Return the id of the principal that this identity is, active or not."""
    statement = select(identities.c.principal_id).where(identities.c.issuer == issuer, identities.c.subject == subject)
    return session.execute(statement).scalar()


def links(session: Session) -> list[dict[str, Any]]:
    """Return all identities, by the principal's name."""
    statement = select(identities.c.issuer, identities.c.subject, principals.c.name).join(principals)
    return [dict(row._mapping) for row in session.execute(statement.order_by(principals.c.name, identities.c.issuer))]


def add_session(
    session: Session,
    principal_id: int,
    digest: str,
    at: datetime,
    expires_at: datetime,
    parent: str | None,
    like: str | None,
) -> None:
    """Store a session's token.

    Args:
        session: The transaction.
        principal_id: Whose session it is.
        digest: The token's digest.
        at: The time.
        expires_at: When the session ends at the latest.
        parent: Digest of the API token that the session ends with, if one began it.
        like: Digest of the token that the session may do no more than, if it comes from one.
    """
    limits = select(tokens.c.caveats).where(tokens.c.digest == like).scalar_subquery() if like else None
    session.execute(
        insert(tokens).values(
            principal_id=principal_id,
            digest=digest,
            use="session",
            created_at=to_ms(at),
            expires_at=to_ms(expires_at),
            parent=parent,
            caveats=limits,
        )
    )


_LIVE = (tokens.c.use == "session", tokens.c.revoked_at.is_(None))


@dataclass(frozen=True)
class Superseded:
    """What a session's new token takes over from the one before."""

    principal_id: int
    expires_at: datetime
    parent: str | None


def supersede(session: Session, digest: str, until: datetime) -> Superseded | None:
    """Let a session's token end soon, because another one takes its place.

    Returns:
        What the new one takes over; None if it ends soon already, because another call was first.
    """
    statement = (
        update(tokens)
        .where(*_LIVE, tokens.c.digest == digest, tokens.c.expires_at > to_ms(until))
        .values(expires_at=to_ms(until))
    )
    before = session.execute(
        select(tokens.c.principal_id, tokens.c.expires_at, tokens.c.parent).where(*_LIVE, tokens.c.digest == digest)
    ).first()
    if before is None or session.execute(statement).rowcount == 0:  # type: ignore[attr-defined]
        return None
    return Superseded(before.principal_id, from_ms(before.expires_at), before.parent)


def end_sessions(session: Session, principal_id: int, at: datetime) -> int:
    """End all sessions of a principal; return how many of their tokens were valid."""
    statement = update(tokens).where(*_LIVE, tokens.c.principal_id == principal_id, tokens.c.expires_at > to_ms(at))
    return int(session.execute(statement.values(revoked_at=to_ms(at))).rowcount)  # type: ignore[attr-defined]


def end_session(session: Session, digest: str, at: datetime, soon: datetime) -> int | None:
    """End the session of a token, with what was superseded but is still valid until soon.

    A token that is itself superseded can't say which one took its place: then all of the principal's sessions end.

    Returns:
        Whose session it was; None if there is no such session.
    """
    found = session.execute(
        select(tokens.c.principal_id, tokens.c.expires_at).where(*_LIVE, tokens.c.digest == digest)
    ).first()
    if found is None or found.expires_at <= to_ms(at):
        return None
    ends = (
        [] if found.expires_at <= to_ms(soon) else [or_(tokens.c.digest == digest, tokens.c.expires_at <= to_ms(soon))]
    )
    session.execute(
        update(tokens).where(*_LIVE, tokens.c.principal_id == found.principal_id, *ends).values(revoked_at=to_ms(at))
    )
    return int(found.principal_id)
