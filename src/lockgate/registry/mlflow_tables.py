"""MLflow's tables as plain tables: asked so, a statement is spared the work that its mapped classes add."""

from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
    SqlRegisteredModelTag,
    SqlWebhook,
    SqlWebhookEvent,
)
from mlflow.store.tracking.dbmodels.models import (
    SqlDataset,
    SqlEntityAssociation,
    SqlExperiment,
    SqlInput,
    SqlInputTag,
    SqlIssue,
    SqlLabelSchema,
    SqlLatestMetric,
    SqlLoggedModel,
    SqlLoggedModelMetric,
    SqlParam,
    SqlReviewQueue,
    SqlRun,
    SqlScorer,
    SqlTag,
    SqlTraceInfo,
)
from sqlalchemy import Table

registered_models: Table = SqlRegisteredModel.__table__
registered_model_tags: Table = SqlRegisteredModelTag.__table__
registered_model_aliases: Table = SqlRegisteredModelAlias.__table__
model_versions: Table = SqlModelVersion.__table__
model_version_tags: Table = SqlModelVersionTag.__table__
webhooks: Table = SqlWebhook.__table__
webhook_events: Table = SqlWebhookEvent.__table__

experiments: Table = SqlExperiment.__table__
runs: Table = SqlRun.__table__
run_tags: Table = SqlTag.__table__
params: Table = SqlParam.__table__
latest_metrics: Table = SqlLatestMetric.__table__
inputs: Table = SqlInput.__table__
input_tags: Table = SqlInputTag.__table__
datasets: Table = SqlDataset.__table__
logged_model_metrics: Table = SqlLoggedModelMetric.__table__
logged_models: Table = SqlLoggedModel.__table__
trace_info: Table = SqlTraceInfo.__table__
entity_associations: Table = SqlEntityAssociation.__table__
issues: Table = SqlIssue.__table__
label_schemas: Table = SqlLabelSchema.__table__
review_queues: Table = SqlReviewQueue.__table__
scorers: Table = SqlScorer.__table__
