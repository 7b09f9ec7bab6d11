"""What MLflow's stores read for somebody whose reading is limited: as if the rest were not there.

Every SELECT of MLflow's mapped classes in a session that only reads gets the condition that its rows may be seen, in
subqueries and counts as well. So pages are full, tokens lead on only if there is more, and a search that MLflow grows
tomorrow is limited before anybody has looked at it; a class of which nobody said how it is limited makes a test fail.
Plain tables (`registry/mlflow_tables.py`) are not limited: what Lockgate itself decides about does not depend on who is
looking, nor does what runs as `LOCKGATE`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from mlflow.entities.entity_type import EntityAssociationType
from mlflow.store.model_registry.dbmodels import models as registry
from mlflow.store.tracking.dbmodels import models as tracking
from mlflow.store.workspace.dbmodels.models import SqlWorkspace
from sqlalchemy import ColumnElement, Select, String, and_, cast, event, false, or_, select
from sqlalchemy.orm import LoaderCriteriaOption, ORMExecuteState, Session, with_loader_criteria

from lockgate.access.principals import current_caller
from lockgate.access.sight import Sight, sight_of
from lockgate.database.visible import matches_sight
from lockgate.registry.mlflow_tables import entity_associations, experiments, runs, trace_info
from lockgate.registry.transaction import SessionMaker, told_by_mlflow

Condition = ColumnElement[bool]
#: Says for each of MLflow's mapped classes which of its rows may be seen. The first argument is the database's kind.
Rules = Callable[[str, Sight], Sequence[tuple[type[Any], Condition]]]


def current_sight() -> Sight | None:
    """Return what the caller may see; None if that is everything.

    Raises:
        MlflowException: if nobody is calling. What Lockgate reads for itself, it reads as `LOCKGATE`.
    """
    with told_by_mlflow():
        return sight_of(current_caller().principal)


def showing(make_session: SessionMaker, rules: Rules) -> SessionMaker:
    """Return a maker of sessions in which a caller reads only what they may see.

    Args:
        make_session: MLflow's own maker.
        rules: What may be seen.
    """

    @contextmanager
    def make(read_only: bool = True) -> Iterator[Session]:
        sight = current_sight() if read_only else None
        with make_session(read_only=read_only) as session:
            if sight is not None:
                _limit(session, rules(session.get_bind().dialect.name, sight))
            yield session

    return make


def _limit(session: Session, seen: Sequence[tuple[type[Any], Condition]]) -> None:
    options: list[LoaderCriteriaOption] = [with_loader_criteria(kind, condition) for kind, condition in seen]

    @event.listens_for(session, "do_orm_execute")
    def _narrow(state: ORMExecuteState) -> None:
        # What is loaded along with a row goes by the row's own conditions, which SQLAlchemy passes on.
        if state.is_orm_statement and state.is_select and not (state.is_column_load or state.is_relationship_load):
            state.statement = state.statement.options(*options)


# The registry: everything there has the name of its model.

_OF_MODEL = (
    registry.SqlRegisteredModel,
    registry.SqlRegisteredModelTag,
    registry.SqlRegisteredModelAlias,
    registry.SqlModelVersion,
    registry.SqlModelVersionTag,
)


def in_registry(dialect: str, sight: Sight) -> Sequence[tuple[type[Any], Condition]]:
    """Return what may be seen of the registry. MLflow's webhooks tell of every model, so they are for who sees all."""
    of_model = [(kind, matches_sight(dialect, kind.name, sight)) for kind in _OF_MODEL]
    return [*of_model, (registry.SqlWebhook, false())]


# The tracking store: everything there belongs to an experiment, by its id, or through its run, trace or dataset.

_OF_EXPERIMENT = tuple(
    mapper.class_
    for mapper in tracking.Base.registry.mappers
    if "experiment_id" in mapper.columns
    # An endpoint need not belong to an experiment; assessments of older versions of MLflow only know their trace.
    and mapper.class_ not in (tracking.SqlExperiment, tracking.SqlGatewayEndpoint, tracking.SqlAssessments)
)
_OF_RUN = (tracking.SqlMetric.run_uuid,)
_OF_TRACE = (
    tracking.SqlAssessments.trace_id,
    tracking.SqlTraceMetrics.request_id,
    tracking.SqlSpanMetrics.trace_id,
)
#: Evaluation datasets have no name that roles are bound to: they are seen by who sees an experiment of theirs.
_OF_DATASET = (tracking.SqlEvaluationDataset.dataset_id, tracking.SqlEvaluationDatasetRecord.dataset_id)

#: The mapped classes that have no condition of their own, and why they need none.
UNLIMITED: Mapping[type[Any], str] = MappingProxyType(
    {
        **dict.fromkeys(
            (tracking.SqlParam, tracking.SqlTag, tracking.SqlLatestMetric),
            "Read by the id of a run that was asked about, or joined to runs, which are limited.",
        ),
        **dict.fromkeys(
            (tracking.SqlTraceTag, tracking.SqlTraceMetadata),
            "Read by the ids of traces that were found or asked about, or joined to them.",
        ),
        **dict.fromkeys(
            (tracking.SqlInput, tracking.SqlInputTag),
            "Read by the id of a run, logged model or dataset that was found, or joined to one.",
        ),
        tracking.SqlEvaluationDatasetTag: "Read along with its dataset, or joined to it.",
        tracking.SqlScorerVersion: "Read by the id of its scorer, which is limited, or joined to it.",
        **dict.fromkeys(
            (tracking.SqlReviewQueueItem, tracking.SqlReviewQueueUser, tracking.SqlReviewQueueLabelSchema),
            "Read by the id of its review queue, which is limited and asked about.",
        ),
        **dict.fromkeys(
            (
                tracking.SqlGatewayBudgetPolicy,
                tracking.SqlGatewayEndpointBinding,
                tracking.SqlGatewayEndpointModelMapping,
                tracking.SqlGatewayEndpointTag,
                tracking.SqlGatewayGuardrail,
                tracking.SqlGatewayGuardrailConfig,
                tracking.SqlGatewayModelDefinition,
                tracking.SqlGatewaySecret,
            ),
            "The gateway belongs to the server: any role may read it, and its secrets have a route for admins only.",
        ),
        **dict.fromkeys(
            (
                tracking.SqlMCPAccessEndpoint,
                tracking.SqlMCPServer,
                tracking.SqlMCPServerAlias,
                tracking.SqlMCPServerTag,
                tracking.SqlMCPServerVersion,
                tracking.SqlMCPServerVersionTag,
            ),
            "MCP servers belong to no experiment: any role may read them.",
        ),
        **dict.fromkeys(
            (tracking.SqlJob, tracking.SqlJobLock, tracking.SqlSchedulerLease),
            "MLflow's jobs are off, and nobody reads their tables.",
        ),
        SqlWorkspace: "Workspaces belong to the server: any role may read which there are.",
        registry.SqlWebhookEvent: "Read along with its webhook, which is limited.",
    }
)


def in_tracking(dialect: str, sight: Sight) -> Sequence[tuple[type[Any], Condition]]:
    """Return what may be seen of the tracking store."""
    by_name = matches_sight(dialect, experiments.c.name, sight)
    seen = select(experiments.c.experiment_id).where(by_name)
    runs_seen = select(runs.c.run_uuid).where(runs.c.experiment_id.in_(seen))
    traces_seen = select(trace_info.c.request_id).where(trace_info.c.experiment_id.in_(seen))
    # Associations hold ids as text.
    seen_as_text = select(cast(experiments.c.experiment_id, String)).where(by_name)
    datasets_seen = select(entity_associations.c.source_id).where(
        entity_associations.c.source_type == EntityAssociationType.EVALUATION_DATASET,
        entity_associations.c.destination_type == EntityAssociationType.EXPERIMENT,
        entity_associations.c.destination_id.in_(seen_as_text),
    )
    endpoint = tracking.SqlGatewayEndpoint
    return [
        (tracking.SqlExperiment, matches_sight(dialect, tracking.SqlExperiment.name, sight)),
        *((kind, kind.experiment_id.in_(seen)) for kind in _OF_EXPERIMENT),
        *((column.class_, column.in_(runs_seen)) for column in _OF_RUN),
        *((column.class_, column.in_(traces_seen)) for column in _OF_TRACE),
        *((column.class_, column.in_(datasets_seen)) for column in _OF_DATASET),
        (tracking.SqlEntityAssociation, _names_only(seen_as_text)),
        (endpoint, or_(endpoint.experiment_id.is_(None), endpoint.experiment_id.in_(seen))),
    ]


def _names_only(experiments_seen: Select[Any]) -> Condition:
    """Return the condition that an association names no other experiments."""
    of = tracking.SqlEntityAssociation
    return and_(
        or_(of.source_type != EntityAssociationType.EXPERIMENT, of.source_id.in_(experiments_seen)),
        or_(of.destination_type != EntityAssociationType.EXPERIMENT, of.destination_id.in_(experiments_seen)),
    )
