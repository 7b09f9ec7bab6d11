"""What there is about a version at all, asked in one statement: mostly nothing, and then nothing more need be asked."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BindParameter, bindparam, exists, select
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


# Composed once: that takes longer than asking.
_version: BindParameter[str] = bindparam("version")
_model: BindParameter[str] = bindparam("model")
_NOTED = select(
    exists().where(checks.c.version_id == _version),
    exists().where(holders.c.model_id == _model, holders.c.version_id == _version, holders.c.until.is_(None)),
    exists().where(holds.c.model_id == _model, holds.c.version_id == _version, holds.c.lifted_at.is_(None)),
    exists().where(
        freezes.c.workspace == bindparam("of"), freezes.c.ends_at > bindparam("at"), freezes.c.lifted_at.is_(None)
    ),
    exists().where(break_glass.c.model_id == _model),
)


def about(session: Session, model: Model, version_id: str, now: datetime) -> Noted:
    """Return what there is about a version, its model and its workspace."""
    wanted = {"version": version_id, "model": model.id, "of": model.workspace, "at": to_ms(now)}
    return Noted(*session.execute(_NOTED, wanted).one())
