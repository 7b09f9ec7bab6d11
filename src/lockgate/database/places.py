"""Places where versions keep their files, and what is known of those."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, bindparam, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.tables import places
from lockgate.evidence.manifest import FileDigest, Hashing


@dataclass(frozen=True)
class KnownFile:
    """A file that was hashed, and the mark by which the storage knew it then."""

    path: str
    size: int
    sha256: str
    mark: str

    @property
    def digest(self) -> FileDigest:
        """The part that evidence needs."""
        return FileDigest(self.path, self.size, self.sha256)


@dataclass(frozen=True)
class KnownPlace:
    """What is known of a place. While it is pending, its files are those that were hashed so far."""

    location: str
    fingerprint: str
    state: Hashing
    reason: str = ""
    files: tuple[KnownFile, ...] = ()
    bytes_done: int = 0
    bytes_total: int = 0
    #: Until when somebody hashes it, in milliseconds: the name of the lease.
    claimed_until: int | None = None
    #: When its present state was found, in milliseconds.
    hashed_at: int | None = None


_PLACE = select(places).where(places.c.place == bindparam("at"))


def load(session: Session, location: str) -> KnownPlace | None:
    """Return what is known of a place."""
    row = session.execute(_PLACE, {"at": _key(location)}).first()
    return _known(row) if row is not None else None


def save(session: Session, known: KnownPlace) -> None:
    """Write down what is known of a place, whatever was known before and whoever is at it."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {
        "location": known.location,
        "fingerprint": known.fingerprint,
        "state": known.state.value,
        "reason": known.reason,
        "files": _text(known.files),
        "bytes_done": known.bytes_done,
        "bytes_total": known.bytes_total,
        "claimed_until": known.claimed_until,
        "hashed_at": known.hashed_at,
    }
    statement = dialect.insert(places).values(place=_key(known.location), **values)
    session.execute(statement.on_conflict_do_update(index_elements=[places.c.place], set_=values))


def is_anything_waiting(session: Session, now: datetime) -> bool:
    """Say whether a place waits to be hashed and nobody is at it."""
    return session.execute(select(places.c.place).where(_is_waiting(now)).limit(1)).first() is not None


def claim(session: Session, now: datetime, until: datetime) -> KnownPlace | None:
    """Take on the smallest place that waits to be hashed; None if none does.

    Args:
        session: The transaction, to be committed at once.
        now: The time.
        until: When the claim ends by itself, unless it is renewed.
    """
    statement = select(places).where(_is_waiting(now)).order_by(places.c.bytes_total).limit(1)
    row = session.execute(statement.with_for_update(skip_locked=True)).first()
    if row is None:
        return None
    session.execute(update(places).where(places.c.place == row.place).values(claimed_until=to_ms(until)))
    return _known(row, to_ms(until))


def keep(session: Session, lease: KnownPlace, **changes: Any) -> bool:
    """Change a place that one has claimed; returns whether the claim still held.

    Args:
        session: The transaction, to be committed at once.
        lease: The place as it was claimed or last kept.
        **changes: Fields of `KnownPlace`.
    """
    values = {name: _column(value) for name, value in changes.items()}
    mine = and_(places.c.place == _key(lease.location), places.c.claimed_until == lease.claimed_until)
    # By what comes back and not by a count, which not every driver has.
    return session.execute(update(places).where(mine).values(values).returning(places.c.place)).first() is not None


def _is_waiting(now: datetime) -> Any:
    free = or_(places.c.claimed_until.is_(None), places.c.claimed_until < to_ms(now))
    return and_(places.c.state == Hashing.PENDING.value, free)


def _known(row: Row[Any], claimed_until: int | None = None) -> KnownPlace:
    return KnownPlace(
        location=row.location,
        fingerprint=row.fingerprint,
        state=Hashing(row.state),
        reason=row.reason,
        files=tuple(KnownFile(**file) for file in json.loads(row.files)),
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        claimed_until=claimed_until or row.claimed_until,
        hashed_at=row.hashed_at,
    )


def _column(value: Any) -> Any:
    if isinstance(value, tuple):
        return _text(value)
    return value.value if isinstance(value, Hashing) else value


def _text(files: Iterable[KnownFile]) -> str:
    return json.dumps([asdict(file) for file in files], sort_keys=True, separators=(",", ":"))


def _key(location: str) -> str:
    return hashlib.sha256(location.encode()).hexdigest()
