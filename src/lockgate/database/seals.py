"""Seals: places whose files may not change, because an approval is about them."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from lockgate.database.tables import holders, models, requests, seals, versions
from lockgate.promotions.request import State

MAX_PLACE = 500
_BOUND = (State.APPROVED, State.PROMOTED)


@dataclass(frozen=True)
class Sealed:
    """A version whose files may not change."""

    workspace: str
    model_id: str
    model: str
    version: int


def add(session: Session, version_id: str, places: Iterable[str]) -> None:
    """Note where the files of an approved version are; once is enough."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for place in places:
        statement = dialect.insert(seals).values(place=_that_fits(place), version_id=version_id)
        session.execute(statement.on_conflict_do_nothing())


def sealed_among(session: Session, version_ids: Iterable[str]) -> set[str]:
    """Return those of these versions whose places are noted already."""
    return set(session.execute(select(seals.c.version_id).where(seals.c.version_id.in_(list(version_ids)))).scalars())


def _that_fits(place: str) -> str:
    """Return a place or, where it is too long to be kept, the nearest folder above it: rather too much than nothing."""
    while len(place) > MAX_PLACE:
        place = posixpath.dirname(place)
    return place


def touched_by(session: Session, place: str, and_below: bool) -> Sealed | None:
    """Return a version whose files a write or deletion at a place would change, if there is one.

    Bound are versions that are approved, were promoted, or have held a target in another way: a rollback may go back to
    them.

    Args:
        session: The transaction.
        place: Where files would change.
        and_below: Whether all that lies below the place would change too: the place is a folder.
    """
    wanted: ColumnElement[bool] = seals.c.place.in_(_at_and_above(place))
    if and_below:
        wanted = or_(wanted, seals.c.place.startswith(_below(place), autoescape=True))
    approved = exists().where(requests.c.version_id == versions.c.id, requests.c.state.in_(_BOUND))
    served = exists().where(holders.c.version_id == versions.c.id)
    row = session.execute(
        select(models.c.workspace, models.c.id, models.c.name, versions.c.number)
        .select_from(
            seals.join(versions, seals.c.version_id == versions.c.id).join(models, versions.c.model_id == models.c.id)
        )
        .where(
            wanted,
            versions.c.deleted_at.is_(None),
            models.c.deleted_at.is_(None),
            or_(approved, served),
        )
        .limit(1)
    ).first()
    return Sealed(row.workspace, row.id, row.name, row.number) if row else None


def _at_and_above(place: str) -> list[str]:
    found = [place]
    while (above := posixpath.dirname(place)) != place:
        found.append(above)
        place = above
    return found


def _below(place: str) -> str:
    return place.rstrip("/") + "/"
