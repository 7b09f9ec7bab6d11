"""Which runs may be seen, for statements of ours over MLflow's tracking tables."""

from collections.abc import Collection

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.visible import is_seen
from lockgate.registry.mlflow_tables import experiments, runs


def run_is_seen(session: Session, tracking: TrackingStore, sight: Sight | None) -> list[ColumnElement[bool]]:
    """Return the conditions that a run's experiment may be seen, and is in the workspace; none if all of them are.

    Args:
        session: On a database of the kind that will be asked.
        tracking: Has the runs.
        sight: What may be seen; None is everything.
    """
    named = is_seen(session, experiments.c.name, sight)
    if isinstance(tracking, WorkspaceAwareSqlAlchemyStore):
        named.append(experiments.c.workspace == tracking._get_active_workspace())
    return [runs.c.experiment_id.in_(select(experiments.c.experiment_id).where(*named))] if named else []


def seen_among(
    session: Session, tracking: TrackingStore, run_ids: Collection[str], sight: Sight | None
) -> Collection[str]:
    """Return those of some runs that may be seen.

    Args:
        session: Reads the tracking store.
        tracking: Has the runs.
        run_ids: The runs.
        sight: What may be seen; None is everything.
    """
    conditions = run_is_seen(session, tracking, sight)
    if not conditions:
        return run_ids
    seen = select(runs.c.run_uuid).where(runs.c.run_uuid.in_(run_ids), *conditions)
    return list(session.execute(seen).scalars())
