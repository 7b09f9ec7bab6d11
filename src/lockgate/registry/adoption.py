"""Adoption: models and versions that were made before Lockgate, or behind its back, get their identity too.

What they were moved to is taken into the history as adopted; no approval is invented.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from lockgate.audit.entry import AuditEntry
from lockgate.database import history, identities, requests
from lockgate.database.identities import Model, Version
from lockgate.database.record import record
from lockgate.events.event import EventType
from lockgate.promotions.request import State
from lockgate.registry import pointers
from lockgate.registry.mlflow_tables import model_versions, registered_models


def adopt_all(session: Session, now: datetime) -> int:
    """Give every model that has no identity one; return how many there were."""
    known = identities.all_names(session)
    rows = session.execute(
        select(registered_models.c.workspace, registered_models.c.name, registered_models.c.creation_time)
    ).all()
    strangers = [row for row in rows if known.get((row.workspace, row.name)) != row.creation_time]
    for row in strangers:
        identify_model(session, row.workspace, row.name, row.creation_time, now)
    return len(strangers)


def identify_model(session: Session, workspace: str, name: str, created_at: int, now: datetime) -> Model:
    """Return the identity of a model that is in MLflow's table.

    Args:
        session: The transaction, which holds the model's row.
        workspace: Its workspace.
        name: Its name.
        created_at: Its creation time in MLflow's table; if ours differs, the model is another one than we knew.
        now: The time.
    """
    known = identities.model(session, workspace, name)
    if known is not None and known.created_at == created_at:
        return known
    if known is not None:
        _end_requests(session, known, now)
        identities.retire_model(session, known.id, now)
    adopted = identities.add_model(session, workspace, name, created_at, adopted=True)
    held = pointers.read(session, workspace, name)
    for target, numbers in sorted(held.holders.items()):
        for number in sorted(numbers):
            version = identify_version(session, adopted, number)
            history.adopt(session, adopted.id, target, version.id, now)
    found = {str(target): sorted(numbers) for target, numbers in held.holders.items()}
    entry = AuditEntry(
        EventType.MODEL_ADOPTED,
        "lockgate",
        None,
        "",
        workspace=workspace,
        model_id=adopted.id,
        model=name,
        after=found,
    )
    record(session, entry, now)
    return adopted


def _end_requests(session: Session, gone: Model, now: datetime) -> None:
    """Withdraw what was asked for a model that was deleted behind our back."""
    for request in requests.live(session, gone.id):
        outcome = "the model was deleted behind Lockgate's back"
        requests.set_state(session, request.id, State.WITHDRAWN, outcome)
        entry = AuditEntry(
            EventType.REQUEST_WITHDRAWN,
            "lockgate",
            None,
            "",
            workspace=gone.workspace,
            model_id=gone.id,
            model=gone.name,
            version=request.version,
            target=str(request.target),
            request_id=request.id,
            reason=outcome,
        )
        record(session, entry, now)


def identify_version(session: Session, model: Model, number: int) -> Version:
    """Return the identity of a version that is in MLflow's table."""
    known = identities.version(session, model.id, number)
    if known is not None:
        return known
    created_at = session.execute(
        select(model_versions.c.creation_time).where(
            model_versions.c.workspace == model.workspace,
            model_versions.c.name == model.name,
            model_versions.c.version == number,
        )
    ).scalar_one()
    return identities.add_version(session, model.id, number, created_at or 0, None)
