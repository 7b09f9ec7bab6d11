"""The immutable ids of registered models and versions."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, bindparam, insert, select, update
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.engine import to_ms
from lockgate.database.tables import models, versions
from lockgate.database.visible import is_seen


@dataclass(frozen=True)
class Model:
    """A registered model, whatever it is called now."""

    id: str
    workspace: str
    name: str
    #: As MLflow tells it, in milliseconds.
    created_at: int


@dataclass(frozen=True)
class Version:
    """A version of a registered model."""

    id: str
    number: int


# Composed once: that takes longer than asking.
#: Of the living model of a name: `of` a workspace, `called` so.
IS_ALIVE = and_(
    models.c.workspace == bindparam("of"), models.c.name == bindparam("called"), models.c.deleted_at.is_(None)
)
_MODEL = select(models).where(IS_ALIVE)
_VERSION = select(versions).where(versions.c.model_id == bindparam("of"), versions.c.number == bindparam("numbered"))


def new_id() -> str:
    """Return a fresh id."""
    return uuid.uuid4().hex


def model(session: Session, workspace: str, name: str) -> Model | None:
    """Return the living model of this name."""
    row = session.execute(_MODEL, {"of": workspace, "called": name}).first()
    return Model(row.id, row.workspace, row.name, row.created_at) if row else None


def models_called(session: Session, workspace: str, name: str) -> dict[str, bool]:
    """Return the ids of the living model of this name and of those that had it when they were deleted, and whether
    each was.
    """
    called = select(models.c.id, models.c.deleted_at).where(models.c.workspace == workspace, models.c.name == name)
    return {row.id: row.deleted_at is not None for row in session.execute(called)}


def all_names(session: Session) -> dict[tuple[str, str], int]:
    """Return (workspace, name) of every living model, with its creation time."""
    rows = session.execute(
        select(models.c.workspace, models.c.name, models.c.created_at).where(models.c.deleted_at.is_(None))
    )
    return {(row.workspace, row.name): row.created_at for row in rows}


def names(session: Session, workspace: str, sight: Sight) -> list[str]:
    """Return the names of the living models of a workspace that somebody may see."""
    seen = is_seen(session, models.c.name, sight)
    living = select(models.c.name).where(models.c.workspace == workspace, models.c.deleted_at.is_(None), *seen)
    return list(session.execute(living).scalars())


def add_model(session: Session, workspace: str, name: str, created_at: int, adopted: bool) -> Model:
    """Give a new model its id. `created_at` is MLflow's creation time in milliseconds."""
    born = Model(new_id(), workspace, name, created_at)
    session.execute(
        insert(models).values(id=born.id, workspace=workspace, name=name, created_at=created_at, adopted=adopted)
    )
    return born


def rename_model(session: Session, model_id: str, name: str) -> None:
    """Follow a rename."""
    session.execute(update(models).where(models.c.id == model_id).values(name=name))


def retire_model(session: Session, model_id: str, now: datetime) -> None:
    """End a model's identity; its name may be taken by another."""
    session.execute(update(models).where(models.c.id == model_id).values(deleted_at=to_ms(now)))


def version(session: Session, model_id: str, number: int) -> Version | None:
    """Return a version of a model by its number, deleted or not."""
    row = session.execute(_VERSION, {"of": model_id, "numbered": number}).first()
    return Version(row.id, row.number) if row else None


def add_version(session: Session, model_id: str, number: int, created_at: int, registrar_id: int | None) -> Version:
    """Give a new version its id. `created_at` is MLflow's creation time in milliseconds."""
    born = Version(new_id(), number)
    session.execute(
        insert(versions).values(
            id=born.id,
            model_id=model_id,
            number=number,
            created_at=created_at,
            registrar_id=registrar_id,
        )
    )
    return born


def retire_version(session: Session, version_id: str, now: datetime) -> None:
    """End a version's identity."""
    session.execute(update(versions).where(versions.c.id == version_id).values(deleted_at=to_ms(now)))
