"""In which experiments things lie: the names that patterns are bound to, in one statement for each kind of thing."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from mlflow.entities.entity_type import EntityAssociationType
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import BindParameter, Column, Select, String, Table, bindparam, cast, select

from lockgate.registry.mlflow_tables import (
    entity_associations,
    experiments,
    issues,
    label_schemas,
    logged_models,
    review_queues,
    runs,
    scorers,
    trace_info,
)
from lockgate.registry.touches import Kind

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
#: How MLflow writes places behind the server.
_PROXIED = ("mlflow-artifacts:/", "mlflow-artifacts:///")
_MAX_ID = 2**31 - 1


def _in(table: Table, key: Column[Any]) -> Select[Any]:
    of_table = table.join(experiments, experiments.c.experiment_id == table.c.experiment_id)
    return select(key.label("thing"), experiments.c.name).select_from(of_table).where(key.in_(_IDS))


# Composed once: that takes longer than asking.
_OF_DATASET = (
    select(entity_associations.c.source_id.label("thing"), experiments.c.name)
    .join(experiments, cast(experiments.c.experiment_id, String) == entity_associations.c.destination_id)
    .where(
        entity_associations.c.source_type == EntityAssociationType.EVALUATION_DATASET,
        entity_associations.c.destination_type == EntityAssociationType.EXPERIMENT,
        entity_associations.c.source_id.in_(_IDS),
    )
)
_OF: Mapping[Kind, Select[Any]] = {
    Kind.EXPERIMENT: select(experiments.c.experiment_id.label("thing"), experiments.c.name).where(
        experiments.c.experiment_id.in_(_IDS)
    ),
    Kind.RUN: _in(runs, runs.c.run_uuid),
    Kind.TRACE: _in(trace_info, trace_info.c.request_id),
    Kind.NEW_TRACE: _in(trace_info, trace_info.c.request_id),
    Kind.LOGGED_MODEL: _in(logged_models, logged_models.c.model_id),
    Kind.ISSUE: _in(issues, issues.c.issue_id),
    Kind.LABEL_SCHEMA: _in(label_schemas, label_schemas.c.schema_id),
    Kind.REVIEW_QUEUE: _in(review_queues, review_queues.c.queue_id),
    Kind.SCORER: _in(scorers, scorers.c.scorer_id),
    Kind.DATASET: _OF_DATASET,
}
_AT = select(experiments.c.name).where(experiments.c.artifact_location.in_(_IDS))


def names_of(store: SqlAlchemyStore, kind: Kind, things: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Return the names of the experiments that each thing lies in, deleted or not; nothing for what is not there."""
    if kind is Kind.NAME:
        return {name: (name,) for name in things}
    ids = [_asked(kind, thing) for thing in things]
    found: dict[str, list[str]] = {}
    if kind in _OF and (known := [one for one in ids if one is not None]):
        with store.ManagedSessionMaker() as session:
            for row in session.execute(_OF[kind], {"ids": known}):
                found.setdefault(str(row.thing), []).append(row.name)
    return {thing: found.get(str(asked), ()) for thing, asked in zip(things, ids, strict=True)}


def names_at(store: SqlAlchemyStore, path: str) -> list[str]:
    """Return the names of the experiments that a path below the server's artifacts destination belongs to.

    MLflow gives each experiment a folder of its own there; a path that leaves it, by `..`, belongs to none.
    """
    parts = [part for part in posixpath.normpath(f"/{path}").split("/") if part]
    folders = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    locations = [f"{start}{folder}" for start in _PROXIED for folder in folders]
    if not locations or ".." in path.split("/") or "\0" in path:
        return []
    with store.ManagedSessionMaker() as session:
        return [row.name for row in session.execute(_AT, {"ids": locations})]


def _asked(kind: Kind, thing: str) -> str | int | None:
    """Return an id as the database holds it: None for what can't be one."""
    if "\0" in thing:
        return None
    if kind is not Kind.EXPERIMENT:
        return thing
    try:
        number = int(thing)  # As MLflow reads it.
    except ValueError:
        return None
    return number if 0 <= number <= _MAX_ID else None
