"""What MLflow's tracking tables say of a run, as far as evidence needs it: what `get_run` says, in two statements."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlInput,
    SqlInputTag,
    SqlLatestMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from sqlalchemy import BindParameter, and_, bindparam, literal, null, select, union_all
from sqlalchemy.orm import Session

from lockgate.evidence.record import Dataset


@dataclass(frozen=True)
class KnownRun:
    """A run."""

    id: str
    experiment_id: str
    artifact_uri: str
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    #: In the order of their names, digests and contexts.
    datasets: tuple[Dataset, ...]


_run_id: BindParameter[str] = bindparam("run_id")
_no_text = null().cast(SqlParam.value.type)
_no_number = null().cast(SqlLatestMetric.value.type)
_no_flag = null().cast(SqlLatestMetric.is_nan.type)
_SAID = union_all(
    select(
        literal("metric").label("kind"),
        SqlLatestMetric.key.label("key"),
        SqlLatestMetric.value.label("number"),
        SqlLatestMetric.is_nan.label("is_nan"),
        _no_text.label("text"),
    ).where(SqlLatestMetric.run_uuid == _run_id),
    select(literal("param"), SqlParam.key, _no_number, _no_flag, SqlParam.value).where(SqlParam.run_uuid == _run_id),
    select(literal("tag"), SqlTag.key, _no_number, _no_flag, SqlTag.value).where(SqlTag.run_uuid == _run_id),
)


def read_run(tracking: TrackingStore, run_id: str | None) -> KnownRun | None:
    """Return a run, deleted or not; None if there is none of this id in the active workspace."""
    if not run_id:
        return None
    with tracking.ManagedSessionMaker() as session:
        inputs = _inputs(tracking, session, run_id)
        if not inputs:
            return None
        said: dict[str, dict[str, str]] = {"param": {}, "tag": {}}
        metrics: dict[str, float] = {}
        for row in session.execute(_SAID, {"run_id": run_id}):
            if row.kind == "metric":
                metrics[row.key] = math.nan if row.is_nan else row.number
            else:
                said[row.kind][row.key] = row.text
    datasets = sorted(
        (Dataset(row.name, row.digest, row.context or "") for row in inputs if row.name is not None),
        key=lambda dataset: (dataset.name, dataset.digest, dataset.context),
    )
    first = inputs[0]
    return KnownRun(
        run_id, str(first.experiment_id), first.artifact_uri, metrics, said["param"], said["tag"], tuple(datasets)
    )


@dataclass(frozen=True)
class RunPlace:
    """Where a run belongs, and where it keeps its files."""

    experiment_id: str
    artifact_uri: str


def place_of_run(tracking: TrackingStore, run_id: str) -> RunPlace | None:
    """Return where a run is; None if there is none of this id in the active workspace."""
    with tracking.ManagedSessionMaker() as session:
        row = (
            tracking._get_query(session, SqlRun)
            .filter(SqlRun.run_uuid == run_id)
            .with_entities(SqlRun.experiment_id, SqlRun.artifact_uri)
            .first()
        )
    return RunPlace(str(row.experiment_id), row.artifact_uri) if row else None


def _inputs(tracking: TrackingStore, session: Session, run_id: str) -> list[SqlRun]:
    """Return a row for each dataset that the run had as input, one if it had none; no row if there is no run."""
    is_input = and_(SqlInput.destination_type == "RUN", SqlInput.destination_id == SqlRun.run_uuid)
    is_context = and_(SqlInputTag.input_uuid == SqlInput.input_uuid, SqlInputTag.name == MLFLOW_DATASET_CONTEXT)
    rows: list[SqlRun] = (
        # MLflow's own query, which keeps to the active workspace.
        tracking._get_query(session, SqlRun)
        .filter(SqlRun.run_uuid == run_id)
        .outerjoin(SqlInput, is_input)
        .outerjoin(SqlDataset, SqlDataset.dataset_uuid == SqlInput.source_id)
        .outerjoin(SqlInputTag, is_context)
        .with_entities(
            SqlRun.experiment_id,
            SqlRun.artifact_uri,
            SqlDataset.name,
            SqlDataset.digest,
            SqlInputTag.value.label("context"),
        )
        .all()
    )
    return rows
