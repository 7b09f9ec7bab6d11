"""What must not change or vanish behind an approval: the files of approved versions, and the runs, experiments and
logged models behind what protected targets serve.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from lockgate.access.principals import current_caller
from lockgate.audit.entry import AuditEntry, AuditOutcome
from lockgate.database import policies, seals
from lockgate.database.engine import now
from lockgate.database.record import record
from lockgate.database.seals import Sealed
from lockgate.database.tables import holders, models, versions
from lockgate.errors import RefusedOnRecord
from lockgate.events.event import EventType
from lockgate.promotions.target import Target
from lockgate.registry.mlflow_tables import model_versions
from lockgate.registry.transaction import reading, transaction


@dataclass(frozen=True)
class Serving:
    """A version that a protected target serves, and what is behind it."""

    workspace: str
    model_id: str
    model: str
    version: int
    version_id: str
    target: Target
    run_id: str
    locations: tuple[str, ...]


def refuse_if_sealed(engine: Engine, place: str, and_below: bool) -> None:
    """Refuse to write or delete files of an approved version.

    Args:
        engine: The registry's database.
        place: Where files would change, as `lockgate.registry.places.real_place` spells it.
        and_below: Whether all that lies below the place would change too.

    Raises:
        Refused: naming the version.
    """
    with reading(engine) as session:
        sealed = seals.touched_by(session, place, and_below)
    if sealed is None:
        return
    reason = (
        f"The files of version {sealed.version} of '{sealed.model}' were approved, so they can't be written over or "
        "deleted, and nothing can be put beside them. Log what is new in a run of its own and register that as a new "
        "version."
    )
    _refuse(engine, reason, sealed)


def refuse_if_serving(engine: Engine, what: str, is_behind: Callable[[Serving], bool]) -> None:
    """Refuse to delete what is behind a version that a protected target serves.

    Args:
        engine: The registry's database.
        what: What would be deleted: `run 123`.
        is_behind: Whether it is behind a version.

    Raises:
        Refused: naming the version and its target.
    """
    with reading(engine) as session:
        found = next(filter(is_behind, serving(session)), None)
    if found is None:
        return
    reason = (
        f"{what} can't be deleted: it is behind version {found.version} of '{found.model}', which holds "
        f"{found.target}. Promote another version in its place first."
    )
    _refuse(engine, reason, found)


def serving(session: Session) -> list[Serving]:
    """Return the versions that protected targets serve, and what is behind them."""
    policy = policies.current(session).policy
    rows = session.execute(
        select(
            models.c.workspace,
            models.c.id,
            models.c.name,
            versions.c.number,
            holders.c.version_id,
            holders.c.target,
            model_versions.c.run_id,
            model_versions.c.source,
            model_versions.c.storage_location,
        )
        .select_from(
            holders.join(models, holders.c.model_id == models.c.id)
            .join(versions, holders.c.version_id == versions.c.id)
            .join(
                model_versions,
                (model_versions.c.workspace == models.c.workspace)
                & (model_versions.c.name == models.c.name)
                & (model_versions.c.version == versions.c.number),
            )
        )
        .where(holders.c.until.is_(None), models.c.deleted_at.is_(None), versions.c.deleted_at.is_(None))
    )
    return [
        Serving(
            row.workspace,
            row.id,
            row.name,
            row.number,
            row.version_id,
            Target.stored(row.target),
            row.run_id or "",
            tuple(filter(None, (row.storage_location, row.source))),
        )
        for row in rows
        if policy.protects(Target.stored(row.target))
    ]


def _refuse(engine: Engine, reason: str, about: Sealed | Serving) -> None:
    caller = current_caller()
    with transaction(engine) as session:
        entry = AuditEntry(
            EventType.WRITE_REFUSED,
            caller.principal.name,
            caller.principal.id or None,
            caller.address,
            outcome=AuditOutcome.REFUSED,
            workspace=about.workspace,
            model_id=about.model_id,
            model=about.model,
            version=about.version,
            reason=reason,
        )
        record(session, entry, now(session))
        raise RefusedOnRecord(reason)
