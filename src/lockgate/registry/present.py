"""What is so of a model while its row is locked, in one statement: the time, its identity, what its targets hold."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, literal, null, select, union_all
from sqlalchemy.orm import Session

from lockgate.database.engine import ClockMs, from_ms
from lockgate.database.identities import IS_ALIVE, Model, Version
from lockgate.database.tables import models, versions
from lockgate.registry import pointers
from lockgate.registry.pointers import Pointers


@dataclass(frozen=True)
class Present:
    """What is so now."""

    now: datetime
    #: The living model that we know by the name, if we know one.
    known: Model | None
    pointers: Pointers
    #: The versions that targets hold, by number; those that we know.
    versions: Mapping[int, Version]


_held = pointers.HELD.subquery()
# Composed once: that takes longer than asking.
_PRESENT = union_all(
    select(
        literal("clock").label("kind"),
        null().cast(models.c.name.type).label("name"),
        ClockMs().label("number"),
        null().cast(models.c.id.type).label("id"),
    ),
    select(literal("model"), models.c.name, models.c.created_at, models.c.id).where(IS_ALIVE),
    select(_held.c.kind, _held.c.name, _held.c.version, versions.c.id).select_from(
        _held.outerjoin(models, IS_ALIVE).outerjoin(
            versions, and_(versions.c.model_id == models.c.id, versions.c.number == _held.c.version)
        )
    ),
)


def read(session: Session, workspace: str, name: str) -> Present:
    """Return what is so of a model of MLflow's; we may not know it yet."""
    rows = session.execute(_PRESENT, {"of": workspace, "called": name}).all()
    now = next(from_ms(row.number) for row in rows if row.kind == "clock")
    known = next((Model(row.id, workspace, row.name, row.number) for row in rows if row.kind == "model"), None)
    held = [row for row in rows if row.kind not in ("clock", "model")]
    return Present(
        now,
        known,
        pointers.of_rows((row.kind, row.name, row.number) for row in held),
        {row.number: Version(row.id, row.number) for row in held if row.id is not None},
    )
