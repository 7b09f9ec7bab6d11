"""Versions by what they were made of: the runs behind them and the data that these read; in one statement a page."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, STAGE_NONE
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
from sqlalchemy import ColumnElement, Row, Select, Table, func, literal_column, select, tuple_
from sqlalchemy.orm import Session

from lockgate.access.sight import Sight
from lockgate.database.engine import from_ms
from lockgate.database.visible import is_seen
from lockgate.errors import BadInput
from lockgate.registry.mlflow_tables import (
    datasets,
    inputs,
    latest_metrics,
    model_version_tags,
    model_versions,
    params,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
    run_tags,
    runs,
)
from lockgate.registry.runs_seen import run_is_seen
from lockgate.registry.transaction import reading

#: How much of a tag or param the database keeps in order: `migrations/versions/0011_lineage.py` has the indexes.
INDEXED_TEXT = 200
#: How many runs are looked for at most where they are in another database than the registry.
MAX_RUNS_ELSEWHERE = 10_000

Condition = ColumnElement[bool]


@dataclass(frozen=True)
class Between:
    """The values that a metric may have."""

    at_least: float | None = None
    at_most: float | None = None


@dataclass(frozen=True)
class Wanted:
    """What versions are looked for by; all of it must hold. None, or nothing, leaves a condition out."""

    run_tags: Mapping[str, str] = field(default_factory=dict)
    run_params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Between] = field(default_factory=dict)
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None
    model: str | None = None
    stage: str | None = None
    alias: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A version's place in a list: they are ordered by the models' names, then by number."""

    model: str
    version: int


@dataclass(frozen=True)
class ListedVersion:
    """A version, as MLflow's table has it."""

    place: Place
    stage: str
    source: str
    run_id: str
    description: str
    created_at: datetime


def find(
    session: Session,
    workspace: str,
    tracking: TrackingStore,
    wanted: Wanted,
    sight: Sight | None,
    after: Place | None,
    limit: int,
) -> list[ListedVersion]:
    """Return versions that somebody may see, by models' names and numbers. Prompts are none.

    A run that may not be seen is not there: nothing that it says leads to a version.

    Args:
        session: Reads the registry.
        workspace: The registry's workspace.
        tracking: Has the runs.
        wanted: The conditions.
        sight: What may be seen; None is everything.
        after: Where the list before ended.
        limit: How many at most.

    Raises:
        BadInput: if runs are in a database of their own, and too many meet the conditions.
    """
    conditions = [
        *_of_version(workspace, wanted),
        *is_seen(session, model_versions.c.name, sight),
        *_of_run(session, tracking, wanted, sight),
    ]
    if after is not None:
        conditions.append(tuple_(model_versions.c.name, model_versions.c.version) > (after.model, after.version))
    found: Select[Any] = (
        select(
            model_versions.c.name,
            model_versions.c.version,
            model_versions.c.current_stage,
            model_versions.c.source,
            model_versions.c.run_id,
            model_versions.c.description,
            model_versions.c.creation_time,
        )
        .where(*conditions)
        .order_by(model_versions.c.name, model_versions.c.version)
        .limit(limit)
    )
    return [_listed(row) for row in session.execute(found)]


def is_there(session: Session, workspace: str, model: str) -> bool:
    """Say whether MLflow has a registered model of a name that is no prompt."""
    named = select(registered_models.c.name).where(
        registered_models.c.workspace == workspace,
        registered_models.c.name == model,
        registered_models.c.name.not_in(_prompts(workspace)),
    )
    return session.execute(named).first() is not None


def stages_of(session: Session, workspace: str, model: str) -> dict[str, int]:
    """Return how many versions of a model are in each stage."""
    stage = func.coalesce(model_versions.c.current_stage, STAGE_NONE).label("stage")
    counted = (
        select(stage, func.count().label("many"))
        .where(*_is_there(workspace), model_versions.c.name == model)
        .group_by(stage)
        .order_by(stage)
    )
    return {row.stage: row.many for row in session.execute(counted)}


def _listed(row: Row[Any]) -> ListedVersion:
    return ListedVersion(
        Place(row.name, row.version),
        row.current_stage or STAGE_NONE,
        row.source or "",
        row.run_id or "",
        row.description or "",
        from_ms(row.creation_time or 0),
    )


# The registry's conditions


def _is_there(workspace: str) -> Iterator[Condition]:
    """Yield the conditions that a version is in a workspace, and that MLflow has not deleted it."""
    yield model_versions.c.workspace == workspace
    yield func.coalesce(model_versions.c.current_stage, STAGE_NONE) != STAGE_DELETED_INTERNAL


def _of_version(workspace: str, wanted: Wanted) -> Iterator[Condition]:
    yield from _is_there(workspace)
    yield model_versions.c.name.not_in(_prompts(workspace))
    if wanted.model is not None:
        yield model_versions.c.name == wanted.model
    if wanted.stage is not None:
        yield model_versions.c.current_stage == wanted.stage
    if wanted.run_id is not None:
        yield model_versions.c.run_id == wanted.run_id
    if wanted.alias is not None:
        yield _is_among(registered_model_aliases, workspace, registered_model_aliases.c.alias == wanted.alias)
    for key, value in wanted.tags.items():
        yield _is_among(
            model_version_tags, workspace, model_version_tags.c.key == key, model_version_tags.c.value == value
        )


def _prompts(workspace: str) -> Select[Any]:
    """Return the names of a workspace that MLflow's handlers take for prompts."""
    return select(registered_model_tags.c.name).where(
        registered_model_tags.c.workspace == workspace,
        registered_model_tags.c.key == IS_PROMPT_TAG_KEY,
        func.lower(registered_model_tags.c.value) == "true",
    )


def _is_among(table: Table, workspace: str, *conditions: Condition) -> Condition:
    """Return the condition that one of a table's rows is about the version."""
    named = select(table.c.name, table.c.version).where(table.c.workspace == workspace, *conditions)
    return tuple_(model_versions.c.name, model_versions.c.version).in_(named)


# The runs' conditions


def _of_run(session: Session, tracking: TrackingStore, wanted: Wanted, sight: Sight | None) -> Iterator[Condition]:
    """Yield the condition that a version is of a run that is looked for, if there is one."""
    sought = [runs.c.run_uuid.in_(found) for found in _found_runs(wanted)]
    if not sought:
        return
    matching = select(runs.c.run_uuid).where(*sought, *run_is_seen(session, tracking, sight))
    if session.get_bind().engine.url == tracking.engine.url:
        yield model_versions.c.run_id.in_(matching)
    else:
        yield model_versions.c.run_id.in_(_elsewhere(tracking, matching))


def _elsewhere(tracking: TrackingStore, matching: Select[Any]) -> list[str]:
    with reading(tracking.engine) as session:
        found = list(session.execute(matching.limit(MAX_RUNS_ELSEWHERE + 1)).scalars())
    if len(found) > MAX_RUNS_ELSEWHERE:
        raise BadInput(
            f"More than {MAX_RUNS_ELSEWHERE:,} runs meet these conditions, and they are in another database than the "
            "registry. Look for less at once: add a condition on runs."
        )
    return found


def _found_runs(wanted: Wanted) -> Iterator[Select[Any]]:
    """Yield the runs that meet each condition."""
    for key, value in wanted.run_tags.items():
        yield _having(run_tags, key, value)
    for key, value in wanted.run_params.items():
        yield _having(params, key, value)
    for key, between in wanted.metrics.items():
        yield select(latest_metrics.c.run_uuid).where(latest_metrics.c.key == key, *_lies(between))
    named = list(_of_dataset(wanted))
    if named:
        yield (
            select(inputs.c.destination_id)
            .join(datasets, datasets.c.dataset_uuid == inputs.c.source_id)
            .where(inputs.c.source_type == "DATASET", inputs.c.destination_type == "RUN", *named)
        )


def _having(table: Table, key: str, value: str) -> Select[Any]:
    begins = func.substr(table.c.value, literal_column("1"), literal_column(str(INDEXED_TEXT)))
    is_long = len(value) >= INDEXED_TEXT
    return select(table.c.run_uuid).where(
        table.c.key == key, begins == value[:INDEXED_TEXT], *([table.c.value == value] if is_long else [])
    )


def _lies(between: Between) -> Iterable[Condition]:
    yield latest_metrics.c.is_nan.is_(False)
    if between.at_least is not None:
        yield latest_metrics.c.value >= between.at_least
    if between.at_most is not None:
        yield latest_metrics.c.value <= between.at_most


def _of_dataset(wanted: Wanted) -> Iterable[Condition]:
    if wanted.dataset_name is not None:
        yield datasets.c.name == wanted.dataset_name
    if wanted.dataset_digest is not None:
        yield datasets.c.digest == wanted.dataset_digest
