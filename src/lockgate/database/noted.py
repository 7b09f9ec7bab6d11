"""What there is about a version at all, asked in one statement: mostly nothing, and then nothing more need be asked."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from lockgate.database.engine import to_ms
from lockgate.database.identities import Model
from lockgate.database.tables import break_glass, checks, freezes, holders, holds


@dataclass(frozen=True)
class Noted:
    """Whether there is anything of each kind; true says that it is worth reading, not that it binds."""

    checks: bool
    #: Targets that the version holds.
    tenures: bool
    holds: bool
    #: One-off freezes in the model's workspace.
    freezes: bool
    #: Times that the glass was broken for the model.
    emergencies: bool


def about(session: Session, model: Model, version_id: str, now: datetime) -> Noted:
    """Return what there is about a version, its model and its workspace."""
    row = session.execute(
        select(
            exists().where(checks.c.version_id == version_id),
            exists().where(
                holders.c.model_id == model.id, holders.c.version_id == version_id, holders.c.until.is_(None)
            ),
            exists().where(holds.c.model_id == model.id, holds.c.version_id == version_id, holds.c.lifted_at.is_(None)),
            exists().where(
                freezes.c.workspace == model.workspace, freezes.c.ends_at > to_ms(now), freezes.c.lifted_at.is_(None)
            ),
            exists().where(break_glass.c.model_id == model.id),
        )
    ).one()
    return Noted(*row)
