"""What is so of a model while its row is locked, in one statement: the time, its identity, what its targets hold,
and whether it is one of MLflow's prompts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from sqlalchemy import and_, bindparam, func, literal, null, select, union_all
from sqlalchemy.orm import Session

from lockgate.database.engine import ClockMs, from_ms
from lockgate.database.identities import IS_ALIVE, Model, Version
from lockgate.database.tables import models, versions
from lockgate.registry import pointers
from lockgate.registry.mlflow_tables import registered_model_tags
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
    is_prompt: bool


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
    # As MLflow's handlers tell prompts from models.
    select(literal("prompt"), registered_model_tags.c.name, null(), null()).where(
        registered_model_tags.c.workspace == bindparam("of"),
        registered_model_tags.c.name == bindparam("called"),
        registered_model_tags.c.key == IS_PROMPT_TAG_KEY,
        func.lower(registered_model_tags.c.value) == "true",
    ),
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
    held = [row for row in rows if row.kind in ("stage", "alias")]
    return Present(
        now,
        known,
        pointers.of_rows((row.kind, row.name, row.number) for row in held),
        {row.number: Version(row.id, row.number) for row in held if row.id is not None},
        is_prompt=any(row.kind == "prompt" for row in rows),
    )
