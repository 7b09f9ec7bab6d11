"""What protected targets hold although no decision brought it there."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, and_, exists, literal, select, union_all
from sqlalchemy.orm import Session

from lockgate.database.engine import from_ms
from lockgate.database.tables import holders, models, principals, protected, versions
from lockgate.registry.mlflow_tables import model_versions, registered_model_aliases


@dataclass(frozen=True)
class Unexplained:
    """A version that a protected target holds."""

    workspace: str
    model: str
    version: int
    target: str
    #: Since when; None if even the history doesn't know.
    since: datetime | None
    #: Why no decision explains it, in a sentence.
    why: str


_pointers = union_all(
    select(
        registered_model_aliases.c.workspace,
        registered_model_aliases.c.name,
        registered_model_aliases.c.version,
        (literal("alias:") + registered_model_aliases.c.alias).label("target"),
    ),
    select(
        model_versions.c.workspace,
        model_versions.c.name,
        model_versions.c.version,
        (literal("stage:") + model_versions.c.current_stage).label("target"),
    ),
).subquery()
_UNEXPLAINED: Select[Any] = (
    select(_pointers, holders.c.since, holders.c.behind, principals.c.name.label("by"))
    .select_from(_pointers)
    .join(protected, protected.c.target == _pointers.c.target)
    .outerjoin(
        models,
        and_(
            models.c.workspace == _pointers.c.workspace,
            models.c.name == _pointers.c.name,
            models.c.deleted_at.is_(None),
        ),
    )
    .outerjoin(versions, and_(versions.c.model_id == models.c.id, versions.c.number == _pointers.c.version))
    .outerjoin(
        holders,
        and_(
            holders.c.model_id == models.c.id,
            holders.c.version_id == versions.c.id,
            holders.c.target == _pointers.c.target,
            holders.c.until.is_(None),
        ),
    )
    .outerjoin(principals, principals.c.id == holders.c.by_id)
    .where(holders.c.decision_id.is_(None))
    .order_by(_pointers.c.workspace, _pointers.c.name, _pointers.c.target, _pointers.c.version)
)
_GONE: Select[Any] = (
    select(models.c.workspace, models.c.name, versions.c.number.label("version"), holders.c.target, holders.c.since)
    .select_from(holders)
    .join(models, models.c.id == holders.c.model_id)
    .join(versions, versions.c.id == holders.c.version_id)
    .join(protected, protected.c.target == holders.c.target)
    .where(
        holders.c.until.is_(None),
        ~exists().where(
            _pointers.c.workspace == models.c.workspace,
            _pointers.c.name == models.c.name,
            _pointers.c.version == versions.c.number,
            _pointers.c.target == holders.c.target,
        ),
    )
    .order_by(models.c.workspace, models.c.name, holders.c.target)
)


def find(session: Session) -> list[Unexplained]:
    """Return what no decision explains, in every workspace."""
    there = [_unexplained(row, _why(row)) for row in session.execute(_UNEXPLAINED)]
    gone = [_unexplained(row, "The history says that it is there, and it is not.") for row in session.execute(_GONE)]
    return [*there, *gone]


def _unexplained(row: Row[Any], why: str) -> Unexplained:
    since = from_ms(row.since) if row.since is not None else None
    return Unexplained(row.workspace, row.name, row.version, row.target, since, why)


def _why(row: Row[Any]) -> str:
    if row.since is None:
        return "The history does not know of it: it was moved behind Lockgate's back."
    if row.behind:
        return "It was moved past the server, while the guard did not protect it."
    if row.by is None:
        return "It was there before Lockgate."
    return f"{row.by} moved it there while no rule protected the target."
