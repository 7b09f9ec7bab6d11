"""What each method of MLflow's tracking store touches, as data: the right it needs, and on what.

A method that does not stand here can't write (`lockgate.registry.bounds`), and a test fails when MLflow has one that
is missing. What is found by searching stands apart: there the answer is narrowed, not the call refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from lockgate.access.roles import Permission


class Kind(StrEnum):
    """What an argument of a method names: a thing that belongs to an experiment, or what decides to which it will."""

    EXPERIMENT = "experiment"
    NAME = "name of an experiment"
    RUN = "run"
    TRACE = "trace"
    #: A trace that the call may begin.
    NEW_TRACE = "new trace"
    LOGGED_MODEL = "logged model"
    DATASET = "dataset"
    ISSUE = "issue"
    LABEL_SCHEMA = "label schema"
    REVIEW_QUEUE = "review queue"
    SCORER = "scorer"
    LOCATION = "location"
    TRACE_TAG = "tag of a trace"


@dataclass(frozen=True)
class Touch:
    """What one method touches.

    Args:
        permission: The right that it needs.
        on: What is touched, and by which argument it is named: `run_id`, `assessment.trace_id`, also a list.
            Of a mapping, the keys. Nothing, if it concerns the whole server.
    """

    permission: Permission
    on: tuple[tuple[Kind, str], ...] = ()


def _reads(kind: Kind, argument: str) -> Touch:
    return Touch(Permission.READ, ((kind, argument),))


def _writes(*on: tuple[Kind, str]) -> Touch:
    return Touch(Permission.WRITE, on)


_IN_EXPERIMENT = _writes((Kind.EXPERIMENT, "experiment_id"))
_TO_RUN = _writes((Kind.RUN, "run_id"))
_TO_TRACE = _writes((Kind.TRACE, "trace_id"))
_TO_LOGGED_MODEL = _writes((Kind.LOGGED_MODEL, "model_id"))
_TO_DATASET = _writes((Kind.DATASET, "dataset_id"))
_DATASET_IN = _writes((Kind.DATASET, "dataset_id"), (Kind.EXPERIMENT, "experiment_ids"))
_TO_QUEUE = _writes((Kind.REVIEW_QUEUE, "queue_id"))
_OF_EXPERIMENT = _reads(Kind.EXPERIMENT, "experiment_id")
_OF_RUN = _reads(Kind.RUN, "run_id")
_OF_RUNS = _reads(Kind.RUN, "run_ids")
_OF_TRACE = _reads(Kind.TRACE, "trace_id")
_OF_TRACES = _reads(Kind.TRACE, "trace_ids")
# Several experiments are narrowed down to those that the caller may see.
_OF_EXPERIMENTS = _reads(Kind.EXPERIMENT, "experiment_ids")
_OF_DATASET = _reads(Kind.DATASET, "dataset_id")
# The gateway's secrets and endpoints belong to no experiment, and spend the server's money.
_ADMINISTERS = Touch(Permission.ADMINISTER)
# Nor do MCP servers; who may write only somewhere may not write them.
_WRITES_ALL = Touch(Permission.WRITE)

TOUCHES: Mapping[str, Touch] = MappingProxyType(
    {
        # Experiments
        "create_experiment": _writes((Kind.NAME, "name"), (Kind.LOCATION, "artifact_location")),
        "rename_experiment": _writes((Kind.EXPERIMENT, "experiment_id"), (Kind.NAME, "new_name")),
        "delete_experiment": _IN_EXPERIMENT,
        "restore_experiment": _IN_EXPERIMENT,
        "set_experiment_tag": _IN_EXPERIMENT,
        "delete_experiment_tag": _IN_EXPERIMENT,
        "get_experiment": _OF_EXPERIMENT,
        "filter_active_experiment_ids": _OF_EXPERIMENTS,
        # Runs
        "create_run": _IN_EXPERIMENT,
        "update_run_info": _TO_RUN,
        "delete_run": _TO_RUN,
        "restore_run": _TO_RUN,
        # A metric may be logged for a logged model, and then is also that one's.
        "log_metric": _writes((Kind.RUN, "run_id"), (Kind.LOGGED_MODEL, "metric.model_id")),
        "log_param": _TO_RUN,
        "log_batch": _writes((Kind.RUN, "run_id"), (Kind.LOGGED_MODEL, "metrics.model_id")),
        "log_inputs": _TO_RUN,
        "log_outputs": _writes((Kind.RUN, "run_id"), (Kind.LOGGED_MODEL, "models.model_id")),
        "record_logged_model": _TO_RUN,
        "set_tag": _TO_RUN,
        "delete_tag": _TO_RUN,
        "get_run": _OF_RUN,
        "get_metric_history": _OF_RUN,
        "get_max_step_for_metric": _OF_RUN,
        "get_metric_history_bulk": _OF_RUNS,
        "get_metric_history_bulk_interval": _OF_RUNS,
        "get_metric_history_bulk_interval_from_steps": _OF_RUN,
        # Logged models
        "create_logged_model": _writes((Kind.EXPERIMENT, "experiment_id"), (Kind.RUN, "source_run_id")),
        "finalize_logged_model": _TO_LOGGED_MODEL,
        "delete_logged_model": _TO_LOGGED_MODEL,
        "log_logged_model_params": _TO_LOGGED_MODEL,
        "set_logged_model_tags": _TO_LOGGED_MODEL,
        "delete_logged_model_tag": _TO_LOGGED_MODEL,
        "get_logged_model": _reads(Kind.LOGGED_MODEL, "model_id"),
        # Traces
        "start_trace": _writes(
            (Kind.EXPERIMENT, "trace_info.experiment_id"),
            (Kind.NEW_TRACE, "trace_info.trace_id"),
            (Kind.TRACE_TAG, "trace_info.tags"),
        ),
        "log_spans": _writes((Kind.EXPERIMENT, "location"), (Kind.NEW_TRACE, "spans.trace_id")),
        "deprecated_start_trace_v2": _writes((Kind.EXPERIMENT, "experiment_id"), (Kind.TRACE_TAG, "tags")),
        "deprecated_end_trace_v2": _writes((Kind.TRACE, "request_id"), (Kind.TRACE_TAG, "tags")),
        "delete_traces": _IN_EXPERIMENT,
        "set_trace_tag": _writes((Kind.TRACE, "trace_id"), (Kind.TRACE_TAG, "key")),
        "delete_trace_tag": _TO_TRACE,
        "create_assessment": _writes((Kind.TRACE, "assessment.trace_id")),
        "update_assessment": _TO_TRACE,
        "delete_assessment": _TO_TRACE,
        "link_traces_to_run": _writes((Kind.RUN, "run_id"), (Kind.TRACE, "trace_ids")),
        "unlink_traces_from_run": _writes((Kind.RUN, "run_id"), (Kind.TRACE, "trace_ids")),
        "link_prompts_to_trace": _TO_TRACE,
        "link_mcp_server_versions_to_trace": _TO_TRACE,
        "archive_traces": _ADMINISTERS,
        "get_trace": _OF_TRACE,
        "get_trace_info": _OF_TRACE,
        "get_assessment": _OF_TRACE,
        "get_mcp_server_versions_for_trace": _OF_TRACE,
        "batch_get_traces": _OF_TRACES,
        "batch_get_trace_infos": _OF_TRACES,
        "query_trace_metrics": _OF_EXPERIMENTS,
        "calculate_trace_filter_correlation": _OF_EXPERIMENTS,
        "find_completed_sessions": _OF_EXPERIMENT,
        # Datasets
        "create_dataset": _writes((Kind.EXPERIMENT, "experiment_ids")),
        "delete_dataset": _TO_DATASET,
        "set_dataset_tags": _TO_DATASET,
        "delete_dataset_tag": _TO_DATASET,
        "upsert_dataset_records": _TO_DATASET,
        "delete_dataset_records": _TO_DATASET,
        "add_dataset_to_experiments": _DATASET_IN,
        "remove_dataset_from_experiments": _DATASET_IN,
        "get_dataset": _OF_DATASET,
        "get_dataset_experiment_ids": _OF_DATASET,
        "_load_dataset_records": _OF_DATASET,
        "_search_datasets": _OF_EXPERIMENTS,
        # Scorers, issues, labels, reviews of traces
        "register_scorer": _IN_EXPERIMENT,
        "delete_scorer": _IN_EXPERIMENT,
        "upsert_online_scoring_config": _IN_EXPERIMENT,
        "get_scorer": _OF_EXPERIMENT,
        "list_scorers": _OF_EXPERIMENT,
        "list_scorers_across_experiments": _OF_EXPERIMENTS,
        "list_scorer_versions": _OF_EXPERIMENT,
        "get_online_scoring_configs": _reads(Kind.SCORER, "scorer_ids"),
        "create_issue": _IN_EXPERIMENT,
        "update_issue": _writes((Kind.ISSUE, "issue_id")),
        "get_issue": _reads(Kind.ISSUE, "issue_id"),
        "create_label_schema": _IN_EXPERIMENT,
        "update_label_schema": _writes((Kind.LABEL_SCHEMA, "schema_id")),
        "delete_label_schema": _writes((Kind.LABEL_SCHEMA, "schema_id")),
        "get_label_schema": _reads(Kind.LABEL_SCHEMA, "schema_id"),
        "get_label_schema_by_name": _OF_EXPERIMENT,
        # MLflow makes the default one when somebody first looks.
        "list_label_schemas": _IN_EXPERIMENT,
        "create_review_queue": _IN_EXPERIMENT,
        "get_or_create_user_queue": _IN_EXPERIMENT,
        "update_review_queue": _TO_QUEUE,
        "delete_review_queue": _TO_QUEUE,
        "add_items_to_review_queue": _TO_QUEUE,
        "remove_items_from_review_queue": _TO_QUEUE,
        "set_review_queue_item_status": _TO_QUEUE,
        "get_review_queue": _reads(Kind.REVIEW_QUEUE, "queue_id"),
        "get_review_queue_by_name": _OF_EXPERIMENT,
        "list_review_queues": _OF_EXPERIMENT,
        "list_review_queue_items": _reads(Kind.REVIEW_QUEUE, "queue_id"),
        # The gateway
        **dict.fromkeys(
            (
                "create_gateway_secret",
                "update_gateway_secret",
                "delete_gateway_secret",
                "create_gateway_model_definition",
                "update_gateway_model_definition",
                "delete_gateway_model_definition",
                "create_gateway_endpoint",
                "update_gateway_endpoint",
                "delete_gateway_endpoint",
                "set_gateway_endpoint_tag",
                "delete_gateway_endpoint_tag",
                "attach_model_to_endpoint",
                "detach_model_from_endpoint",
                "create_endpoint_binding",
                "delete_endpoint_binding",
                "create_budget_policy",
                "update_budget_policy",
                "delete_budget_policy",
                "create_gateway_guardrail",
                "delete_gateway_guardrail",
                "add_guardrail_to_endpoint",
                "remove_guardrail_from_endpoint",
                "update_endpoint_guardrail_config",
            ),
            _ADMINISTERS,
        ),
        # MCP servers
        **dict.fromkeys(
            (
                "create_mcp_server",
                "update_mcp_server",
                "delete_mcp_server",
                "set_mcp_server_tag",
                "delete_mcp_server_tag",
                "set_mcp_server_alias",
                "delete_mcp_server_alias",
                "create_mcp_server_version",
                "update_mcp_server_version",
                "delete_mcp_server_version",
                "set_mcp_server_version_tag",
                "delete_mcp_server_version_tag",
                "create_mcp_access_endpoint",
                "update_mcp_access_endpoint",
                "delete_mcp_access_endpoint",
            ),
            _WRITES_ALL,
        ),
    }
)
