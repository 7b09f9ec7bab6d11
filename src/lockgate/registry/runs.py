"""What MLflow's tracking tables say of a run, as far as evidence needs it: what `get_run` says, in one statement."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Executable,
    Row,
    Select,
    String,
    and_,
    bindparam,
    cast,
    literal,
    null,
    select,
    union_all,
)

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
_no_text = null().cast(String)
_no_number = null().cast(latest_metrics.c.value.type)
_no_flag = null().cast(latest_metrics.c.is_nan.type)
_PLACE: Select[Any] = select(runs.c.experiment_id, runs.c.artifact_uri).where(runs.c.run_uuid == _run_id)


def _in_workspace(statement: Select[Any]) -> Select[Any]:
    return statement.join(experiments, experiments.c.experiment_id == runs.c.experiment_id).where(
        experiments.c.workspace == bindparam("of")
    )


def _said(run: Select[Any]) -> CompoundSelect[Any]:
    """Return a statement for all that is said of a run; without a row of the run itself there is no such run."""
    return union_all(
        run.with_only_columns(
            literal("run").label("kind"),
            cast(runs.c.experiment_id, String).label("key"),
            _no_number.label("number"),
            _no_flag.label("is_nan"),
            runs.c.artifact_uri.label("text"),
            _no_text.label("context"),
        ),
        select(
            literal("metric"),
            latest_metrics.c.key,
            latest_metrics.c.value,
            latest_metrics.c.is_nan,
            _no_text,
            _no_text,
        ).where(latest_metrics.c.run_uuid == _run_id),
        select(literal("param"), params.c.key, _no_number, _no_flag, params.c.value, _no_text).where(
            params.c.run_uuid == _run_id
        ),
        select(literal("tag"), run_tags.c.key, _no_number, _no_flag, run_tags.c.value, _no_text).where(
            run_tags.c.run_uuid == _run_id
        ),
        select(
            literal("metric of model"),
            logged_model_metrics.c.metric_name,
            _no_number,
            _no_flag,
            logged_model_metrics.c.model_id,
            _no_text,
        )
        .where(logged_model_metrics.c.run_id == _run_id)
        .distinct(),
        select(literal("dataset"), datasets.c.name, _no_number, _no_flag, datasets.c.digest, input_tags.c.value)
        .select_from(inputs)
        .join(datasets, datasets.c.dataset_uuid == inputs.c.source_id)
        .outerjoin(
            input_tags,
            and_(input_tags.c.input_uuid == inputs.c.input_uuid, input_tags.c.name == MLFLOW_DATASET_CONTEXT),
        )
        .where(inputs.c.destination_type == "RUN", inputs.c.destination_id == _run_id),
    )


_PLACE_IN_WORKSPACE = _in_workspace(_PLACE)
_SAID = _said(_PLACE)
_SAID_IN_WORKSPACE = _said(_PLACE_IN_WORKSPACE)


def read_run(tracking: TrackingStore, run_id: str | None) -> KnownRun | None:
    """Return a run, deleted or not; None if there is none of this id in the active workspace."""
    if not run_id:
        return None
    said: dict[str, list[Row[Any]]] = {}
    for row in _ask(tracking, run_id, _SAID, _SAID_IN_WORKSPACE):
        said.setdefault(row.kind, []).append(row)
    if "run" not in said:
        return None
    run = said["run"][0]
    used = (Dataset(row.key, row.text, row.context or "") for row in said.get("dataset", ()))
    return KnownRun(
        id=run_id,
        experiment_id=run.key,
        artifact_uri=run.text,
        metrics={row.key: math.nan if row.is_nan else row.number for row in said.get("metric", ())},
        metrics_of_models=frozenset((row.key, row.text) for row in said.get("metric of model", ())),
        params={row.key: row.text for row in said.get("param", ())},
        tags={row.key: row.text for row in said.get("tag", ())},
        datasets=tuple(sorted(used, key=lambda dataset: (dataset.name, dataset.digest, dataset.context))),
    )


@dataclass(frozen=True)
class RunPlace:
    """Where a run belongs, and where it keeps its files."""

    experiment_id: str
    artifact_uri: str


def place_of_run(tracking: TrackingStore, run_id: str) -> RunPlace | None:
    """Return where a run is; None if there is none of this id in the active workspace."""
    found = _ask(tracking, run_id, _PLACE, _PLACE_IN_WORKSPACE)
    return RunPlace(str(found[0].experiment_id), found[0].artifact_uri) if found else None


def _ask(tracking: TrackingStore, run_id: str, anywhere: Executable, in_workspace: Executable) -> Sequence[Row[Any]]:
    """Ask about a run as MLflow's own store does: of the active workspace, where there are workspaces."""
    with tracking.ManagedSessionMaker() as session:
        if isinstance(tracking, WorkspaceAwareSqlAlchemyStore):
            of = {"run_id": run_id, "of": tracking._get_active_workspace()}
            return list(session.execute(in_workspace, of))
        return list(session.execute(anywhere, {"run_id": run_id}))
