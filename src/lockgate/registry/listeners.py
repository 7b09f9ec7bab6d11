"""Whether anybody is told of events: webhooks of ours, or of MLflow's."""

from sqlalchemy.orm import Session

from lockgate.database import outbox, webhooks
from lockgate.registry import mlflow_webhooks


def is_anybody(session: Session) -> bool:
    """Say whether there is anybody to tell of events."""
    return webhooks.is_any_told(session) or mlflow_webhooks.is_any_told(session)


def begin_to_tell(session: Session) -> None:
    """Leave out what happened while nobody was told, as somebody is about to be: the outbox wasn't read meanwhile."""
    if not is_anybody(session):
        outbox.skip_to_end(session)
