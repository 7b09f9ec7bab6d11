"""What MLflow's tracking tables say of a run, as far as evidence needs it: what `get_run` says, in two statements."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from sqlalchemy import BindParameter, Row, Select, and_, bindparam, literal, null, select, union_all
from sqlalchemy.orm import Session

from lockgate.evidence.record import Dataset
from lockgate.registry.mlflow_tables import (
    datasets,
    experiments,
    input_tags,
    inputs,
    latest_metrics,
    logged_model_metrics,
    params,
    run_tags,
    runs,
)


@dataclass(frozen=True)
class KnownRun:
    """A run."""

    id: str
    experiment_id: str
    artifact_uri: str
    metrics: Mapping[str, float]
    #: Names of metrics that were logged for a logged model, each with the model's id.
    metrics_of_models: frozenset[tuple[str, str]]
    params: Mapping[str, str]
    tags: Mapping[str, str]
    #: In the order of their names, digests and contexts.
    datasets: tuple[Dataset, ...]


# Composed once: that takes longer than asking.
_run_id: BindParameter[str] = bindparam("run_id")
_no_text = null().cast(params.c.value.type)
_no_number = null().cast(latest_metrics.c.value.type)
_no_flag = null().cast(latest_metrics.c.is_nan.type)
_SAID = union_all(
    select(
        literal("metric").label("kind"),
        latest_metrics.c.key.label("key"),
        latest_metrics.c.value.label("number"),
        latest_metrics.c.is_nan.label("is_nan"),
        _no_text.label("text"),
    ).where(latest_metrics.c.run_uuid == _run_id),
    select(literal("param"), params.c.key, _no_number, _no_flag, params.c.value).where(params.c.run_uuid == _run_id),
    select(literal("tag"), run_tags.c.key, _no_number, _no_flag, run_tags.c.value).where(
        run_tags.c.run_uuid == _run_id
    ),
    select(
        literal("of model"), logged_model_metrics.c.metric_name, _no_number, _no_flag, logged_model_metrics.c.model_id
    )
    .where(logged_model_metrics.c.run_id == _run_id)
    .distinct(),
)
#: A row for each dataset that the run had as input, one if it had none.
_INPUTS: Select[Any] = (
    select(
        runs.c.experiment_id,
        runs.c.artifact_uri,
        datasets.c.name,
        datasets.c.digest,
        input_tags.c.value.label("context"),
    )
    .select_from(runs)
    .outerjoin(inputs, and_(inputs.c.destination_type == "RUN", inputs.c.destination_id == runs.c.run_uuid))
    .outerjoin(datasets, datasets.c.dataset_uuid == inputs.c.source_id)
    .outerjoin(
        input_tags, and_(input_tags.c.input_uuid == inputs.c.input_uuid, input_tags.c.name == MLFLOW_DATASET_CONTEXT)
    )
    .where(runs.c.run_uuid == _run_id)
)
_PLACE: Select[Any] = select(runs.c.experiment_id, runs.c.artifact_uri).where(runs.c.run_uuid == _run_id)


def _in_workspace(statement: Select[Any]) -> Select[Any]:
    return statement.join(experiments, experiments.c.experiment_id == runs.c.experiment_id).where(
        experiments.c.workspace == bindparam("of")
    )


_INPUTS_IN_WORKSPACE = _in_workspace(_INPUTS)
_PLACE_IN_WORKSPACE = _in_workspace(_PLACE)


def read_run(tracking: TrackingStore, run_id: str | None) -> KnownRun | None:
    """Return a run, deleted or not; None if there is none of this id in the active workspace."""
    if not run_id:
        return None
    with tracking.ManagedSessionMaker() as session:
        with_inputs = _ask(tracking, session, run_id, _INPUTS, _INPUTS_IN_WORKSPACE)
        if not with_inputs:
            return None
        said: dict[str, dict[str, str]] = {"param": {}, "tag": {}}
        metrics: dict[str, float] = {}
        of_models: set[tuple[str, str]] = set()
        for row in session.execute(_SAID, {"run_id": run_id}):
            match row.kind:
                case "metric":
                    metrics[row.key] = math.nan if row.is_nan else row.number
                case "of model":
                    of_models.add((row.key, row.text))
                case kind:
                    said[kind][row.key] = row.text
    found = (Dataset(row.name, row.digest, row.context or "") for row in with_inputs if row.name is not None)
    first = with_inputs[0]
    return KnownRun(
        run_id,
        str(first.experiment_id),
        first.artifact_uri,
        metrics,
        frozenset(of_models),
        said["param"],
        said["tag"],
        tuple(sorted(found, key=lambda dataset: (dataset.name, dataset.digest, dataset.context))),
    )


@dataclass(frozen=True)
class RunPlace:
    """Where a run belongs, and where it keeps its files."""

    experiment_id: str
    artifact_uri: str


def place_of_run(tracking: TrackingStore, run_id: str) -> RunPlace | None:
    """Return where a run is; None if there is none of this id in the active workspace."""
    with tracking.ManagedSessionMaker() as session:
        found = _ask(tracking, session, run_id, _PLACE, _PLACE_IN_WORKSPACE)
    return RunPlace(str(found[0].experiment_id), found[0].artifact_uri) if found else None


def _ask(
    tracking: TrackingStore, session: Session, run_id: str, anywhere: Select[Any], in_workspace: Select[Any]
) -> list[Row[Any]]:
    """Ask about a run as MLflow's own store does: of the active workspace, where there are workspaces."""
    if isinstance(tracking, WorkspaceAwareSqlAlchemyStore):
        of = {"run_id": run_id, "of": tracking._get_active_workspace()}
        return list(session.execute(in_workspace, of))
    return list(session.execute(anywhere, {"run_id": run_id}))
