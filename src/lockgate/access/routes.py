"""What each of MLflow's routes needs: its inventory as data. A route that does not stand here is nobody's.

The names are the routers' own, so that no spelling of a path or body plays a part: endpoints of Flask, endpoints of the
native routers with their module, root fields of GraphQL. `server/inventory.py` derives the same list from the
installed MLflow, and a test compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from lockgate.access.principals import Caller
from lockgate.access.roles import Permission
from lockgate.errors import Refused


class Route(NamedTuple):
    """A method and the endpoint that a router calls for it."""

    method: str
    endpoint: str


class Right(StrEnum):
    """What a caller must be allowed to do."""

    OPEN = "open"  # anybody, known or not
    READ = "read"
    WRITE = "write"
    MOVE = "move"  # a target: who writes where it is free, who promotes where it is not
    GOVERN = "govern"
    ADMINISTER = "administer"
    OFF = "off"  # nobody: it would run code on the server's host or change the database behind the stores


class On(StrEnum):
    """What the right is about. Beyond the server and nothing, the stores ask again, of the object that is meant."""

    NOTHING = "nothing"
    SERVER = "server"
    MODEL = "model"
    EXPERIMENT = "experiment"
    RUN = "run"
    LOGGED_MODEL = "logged-model"
    TRACE = "trace"
    DATASET = "dataset"
    ARTIFACT = "artifact"


@dataclass(frozen=True)
class Need:
    """What one route needs."""

    right: Right
    on: On


_PERMISSIONS: Mapping[Right, tuple[Permission, ...]] = {
    Right.READ: (Permission.READ,),
    Right.WRITE: (Permission.WRITE,),
    # Who may do neither is refused by the store, which knows the model and puts on record that somebody tried.
    Right.MOVE: (Permission.READ,),
    Right.GOVERN: (Permission.GOVERN,),
    Right.ADMINISTER: (Permission.ADMINISTER,),
}

# right     on           method    endpoint
_INVENTORY = """
read       nothing      GET       gateway_api.list_models
read       nothing      GET       _get_budget_policy
read       nothing      GET       _get_gateway_endpoint
read       nothing      GET       _get_gateway_guardrail
read       nothing      GET       _get_gateway_model_definition
read       nothing      GET       _get_provider_config
read       nothing      GET       _get_server_info
read       nothing      GET       _get_workspace_handler
read       nothing      GET,POST  _graphql
read       nothing      QUERY     graphql.test
read       nothing      MUTATION  graphql.testMutation
open       nothing      GET       health
read       nothing      GET       _list_budget_policies
read       nothing      GET       _list_budget_windows
read       nothing      GET       _list_endpoint_guardrail_configs
read       nothing      GET       _list_gateway_endpoint_bindings
read       nothing      GET       _list_gateway_endpoints
read       nothing      GET       _list_gateway_guardrails
read       nothing      GET       _list_gateway_model_definitions
read       nothing      GET       _list_workspaces_handler
read       nothing      GET       mcp_server_api.get_mcp_access_endpoint
read       nothing      GET       mcp_server_api.get_mcp_server
read       nothing      GET       mcp_server_api.get_mcp_server_version
read       nothing      GET       mcp_server_api.get_version_by_alias
read       nothing      GET       mcp_server_api.search_all_access_endpoints
read       nothing      GET       mcp_server_api.search_mcp_server_versions
read       nothing      GET       mcp_server_api.search_mcp_servers
read       nothing      GET       mcp_server_api.search_server_access_endpoints
off        nothing      GET,POST  _not_implemented
read       nothing      GET       serve
read       nothing      GET       serve_get_ui_telemetry
read       nothing      POST      serve_post_ui_telemetry
open       nothing      GET       serve_static_file
read       nothing      GET       server_info_api.get_server_info
read       nothing      GET       static
open       nothing      GET       version

administer server       POST      _add_guardrail_to_endpoint
off        server       GET       api.get_config
off        server       GET       api.get_providers
off        server       POST      api.install_skills_endpoint
off        server       GET       api.list_provider_models
off        server       PATCH     api.patch_session
off        server       GET       api.provider_health_check
off        server       POST      api.resolve_client_tool_result
off        server       POST      api.resolve_permission
off        server       POST      api.send_message
off        server       GET       api.stream_response
off        server       PUT       api.update_config
administer server       POST      _attach_model_to_gateway_endpoint
off        server       PATCH     _cancel_job
off        server       POST      _cancel_prompt_optimization_job
administer server       POST      _create_budget_policy
administer server       POST      _create_gateway_endpoint
administer server       POST      _create_gateway_endpoint_binding
administer server       POST      _create_gateway_guardrail
administer server       POST      _create_gateway_model_definition
administer server       POST      _create_gateway_secret
off        server       POST      _create_prompt_optimization_job
govern     server       POST      _create_webhook
administer server       POST      _create_workspace_handler
administer server       DELETE    _delete_budget_policy
administer server       POST      _delete_demo
administer server       DELETE    _delete_gateway_endpoint
administer server       DELETE    _delete_gateway_endpoint_binding
administer server       DELETE    _delete_gateway_endpoint_tag
administer server       DELETE    _delete_gateway_guardrail
administer server       DELETE    _delete_gateway_model_definition
administer server       DELETE    _delete_gateway_secret
off        server       DELETE    _delete_prompt_optimization_job
govern     server       DELETE    _delete_webhook
administer server       DELETE    _delete_workspace_handler
administer server       POST      _detach_model_from_gateway_endpoint
write      server       POST      gateway_api.anthropic_passthrough_messages
write      server       POST      gateway_api.chat_completions
write      server       POST      gateway_api.gemini_passthrough_generate_content
write      server       POST      gateway_api.gemini_passthrough_stream_generate_content
write      server       POST      gateway_api.invocations
write      server       POST      gateway_api.openai_passthrough_chat
write      server       POST      gateway_api.openai_passthrough_embeddings
write      server       POST      gateway_api.openai_passthrough_responses
write      server       POST      gateway_api.openai_passthrough_responses_compact
write      server       POST      gateway_api.raw_proxy
write      server       POST      gateway_api.typesafe_passthrough_system_one
administer server       POST      _generate_demo
administer server       GET       _get_gateway_secret_info
off        server       GET       _get_job
off        server       GET       _get_prompt_optimization_job
administer server       GET       _get_secrets_config
govern     server       GET       _get_webhook
administer server       GET       _list_supported_models
administer server       GET       _list_supported_providers
off        server       POST      _invoke_genai_evaluate_handler
off        server       POST      _invoke_issue_detection_handler
off        server       POST      _invoke_scorer_handler
off        server       PATCH     job_api.cancel_job
off        server       GET       job_api.get_job
off        server       POST      job_api.search_jobs
off        server       POST      job_api.submit_job
administer server       GET       _list_gateway_secrets
govern     server       GET       _list_webhooks
write      server       POST      mcp_server_api.create_mcp_access_endpoint
write      server       POST      mcp_server_api.create_mcp_server
write      server       POST      mcp_server_api.create_mcp_server_version
write      server       DELETE    mcp_server_api.delete_mcp_access_endpoint
write      server       DELETE    mcp_server_api.delete_mcp_server
write      server       DELETE    mcp_server_api.delete_mcp_server_alias
write      server       DELETE    mcp_server_api.delete_mcp_server_tag
write      server       DELETE    mcp_server_api.delete_mcp_server_version
write      server       DELETE    mcp_server_api.delete_mcp_server_version_tag
write      server       POST      mcp_server_api.set_mcp_server_alias
write      server       POST      mcp_server_api.set_mcp_server_tag
write      server       POST      mcp_server_api.set_mcp_server_version_tag
write      server       PATCH     mcp_server_api.update_mcp_access_endpoint
write      server       PATCH     mcp_server_api.update_mcp_server
write      server       PATCH     mcp_server_api.update_mcp_server_version
administer server       DELETE    _remove_guardrail_from_endpoint
off        server       GET,POST  _search_prompt_optimization_jobs
write      server       GET,POST  serve_gateway_proxy
open       server       GET       server_info_api.health
administer server       POST      _set_gateway_endpoint_tag
govern     server       POST      _test_webhook
administer server       POST      _update_budget_policy
administer server       PATCH     _update_endpoint_guardrail_config
administer server       POST      _update_gateway_endpoint
administer server       POST      _update_gateway_model_definition
administer server       POST      _update_gateway_secret
govern     server       PATCH     _update_webhook
administer server       PATCH     _update_workspace_handler

write      model        POST      _create_model_version
write      model        POST      _create_registered_model
write      model        DELETE    _delete_model_version
write      model        DELETE    _delete_model_version_tag
write      model        DELETE    _delete_registered_model
move       model        DELETE    _delete_registered_model_alias
write      model        DELETE    _delete_registered_model_tag
read       model        GET,POST  _get_latest_versions
read       model        GET       _get_model_version
read       model        GET       _get_model_version_by_alias
read       model        GET       _get_model_version_download_uri
read       model        GET       _get_registered_model
read       model        QUERY     graphql.mlflowSearchModelVersions
write      model        POST      _rename_registered_model
read       model        GET       _search_model_versions
read       model        GET       _search_registered_models
read       model        GET       serve_model_version_artifact
write      model        POST      _set_model_version_tag
move       model        POST      _set_registered_model_alias
write      model        POST      _set_registered_model_tag
move       model        POST      _transition_stage
write      model        PATCH     _update_model_version
write      model        PATCH     _update_registered_model

write      experiment   POST      _add_items_to_review_queue
write      experiment   POST      _create_experiment
write      experiment   POST      _create_issue
write      experiment   POST      _create_label_schema
write      experiment   POST      _create_review_queue
write      experiment   POST      _delete_experiment
write      experiment   POST      _delete_experiment_tag
write      experiment   DELETE    _delete_label_schema
write      experiment   POST      _delete_review_queue
write      experiment   DELETE    _delete_scorer
read       experiment   GET       _get_experiment
read       experiment   GET       _get_experiment_by_name
read       experiment   GET       _get_issue
read       experiment   GET       _get_label_schema
read       experiment   GET       _get_label_schema_by_name
read       experiment   GET       _get_online_scoring_configs
write      experiment   POST      _get_or_create_user_queue
read       experiment   GET       _get_review_queue
read       experiment   GET       _get_review_queue_by_name
read       experiment   GET       _get_scorer
read       experiment   QUERY     graphql.mlflowGetExperiment
read       experiment   MUTATION  graphql.mlflowSearchDatasets
write      experiment   GET       _list_label_schemas
read       experiment   GET       _list_review_queue_items
read       experiment   GET       _list_review_queues
read       experiment   GET       _list_scorer_versions
read       experiment   GET       _list_scorers
write      experiment   POST      _register_scorer
write      experiment   POST      _remove_items_from_review_queue
write      experiment   POST      _restore_experiment
read       experiment   GET,POST  _search_experiments
read       experiment   POST      _search_issues
read       experiment   POST      serve_search_datasets
write      experiment   POST      _set_experiment_tag
write      experiment   POST      _set_review_queue_item_status
write      experiment   POST      _update_experiment
write      experiment   PATCH     _update_issue
write      experiment   PATCH     _update_label_schema
write      experiment   POST      _update_review_queue
write      experiment   PUT       _upsert_online_scoring_config

read       run          POST      _create_presigned_download_url
write      run          POST      _create_presigned_upload_url
write      run          POST      _create_run
write      run          POST      _delete_run
write      run          POST      _delete_tag
read       run          GET       _get_metric_history
read       run          GET       get_metric_history_bulk_interval_handler
read       run          GET       _get_run
read       run          QUERY     graphql.mlflowGetMetricHistoryBulkInterval
read       run          QUERY     graphql.mlflowGetRun
read       run          QUERY     graphql.mlflowListArtifacts
read       run          MUTATION,QUERY graphql.mlflowSearchRuns
read       run          GET       _list_artifacts
write      run          POST      _log_batch
write      run          POST      _log_inputs
write      run          POST      _log_metric
write      run          POST      _log_model
write      run          POST      _log_outputs
write      run          POST      _log_param
write      run          POST      _restore_run
read       run          POST      _search_runs
read       run          GET       serve_artifacts
write      run          POST      serve_create_promptlab_run
read       run          GET       serve_get_metric_history_bulk
read       run          GET       serve_get_metric_history_bulk_interval
write      run          POST      serve_upload_artifact
write      run          POST      _set_tag
write      run          POST      _update_run

write      logged-model POST      _create_logged_model
write      logged-model DELETE    _delete_logged_model
write      logged-model DELETE    _delete_logged_model_tag
write      logged-model PATCH     _finalize_logged_model
read       logged-model GET       _get_logged_model
read       logged-model GET       _list_logged_model_artifacts
write      logged-model POST      _log_logged_model_params
read       logged-model POST      _search_logged_models
read       logged-model GET       serve_get_logged_model_artifact
write      logged-model PATCH     _set_logged_model_tags

read       trace        POST      _batch_get_trace_infos
read       trace        GET       _batch_get_traces
read       trace        POST      _calculate_trace_filter_correlation
write      trace        POST      _create_assessment
write      trace        DELETE    _delete_assessment
write      trace        DELETE    _delete_trace_tag
write      trace        DELETE    _delete_trace_tag_v3
write      trace        POST      _delete_traces
write      trace        PATCH     _deprecated_end_trace_v2
read       trace        GET       _deprecated_get_trace_info_v2
read       trace        GET       _deprecated_search_traces_v2
write      trace        POST      _deprecated_start_trace_v2
read       trace        GET       _get_assessment
read       trace        GET       _get_trace
read       trace        GET       _get_trace_info_v3
write      trace        POST      _link_prompts_to_trace
write      trace        POST      _link_traces_to_run
write      trace        POST      otel_api.export_traces
read       trace        POST      _query_trace_metrics
read       trace        POST      _search_traces_v3
read       trace        GET       serve_get_trace_artifact
write      trace        PATCH     _set_trace_tag
write      trace        PATCH     _set_trace_tag_v3
write      trace        POST      _start_trace_v3
write      trace        PATCH     _update_assessment

write      dataset      POST      _add_dataset_to_experiments_handler
write      dataset      POST      _create_dataset_handler
write      dataset      DELETE    _delete_dataset_handler
write      dataset      DELETE    _delete_dataset_records_handler
write      dataset      DELETE    _delete_dataset_tag_handler
read       dataset      GET       _get_dataset_experiment_ids_handler
read       dataset      GET       _get_dataset_handler
read       dataset      GET       _get_dataset_records_handler
write      dataset      POST      _remove_dataset_from_experiments_handler
read       dataset      GET,POST  _search_evaluation_datasets_handler
write      dataset      PATCH     _set_dataset_tags_handler
write      dataset      POST      _upsert_dataset_records_handler

write      artifact     POST      _abort_multipart_upload_artifact
read       artifact     GET       artifact_router.download_artifact
write      artifact     PUT       artifact_router.upload_artifact
write      artifact     POST      _complete_multipart_upload_artifact
write      artifact     POST      _create_multipart_upload_artifact
write      artifact     DELETE    _delete_artifact_mlflow_artifacts
read       artifact     GET       _download_artifact
read       artifact     GET       _get_presigned_download_url
read       artifact     GET       _list_artifacts_mlflow_artifacts
write      artifact     PUT       _upload_artifact
"""


def _read(inventory: str) -> dict[Route, Need]:
    found: dict[Route, Need] = {}
    for line in filter(None, inventory.splitlines()):
        right, on, methods, endpoint = line.split()
        for method in methods.split(","):
            found[Route(method, endpoint)] = Need(Right(right), On(on))
    return found


ROUTES: Mapping[Route, Need] = MappingProxyType(_read(_INVENTORY))


def need_of(route: Route) -> Need:
    """Return what a route needs.

    Raises:
        Refused: if nobody has thought of it.
    """
    method = "GET" if route.method == "HEAD" else route.method
    need = ROUTES.get(Route(method, route.endpoint))
    if need is None:
        raise Refused(
            f"Lockgate doesn't know MLflow's route {route.method} {route.endpoint} and so lets nobody through. If it "
            "is a feature of MLflow that you need, please report it."
        )
    return need


def check(caller: Caller, need: Need) -> None:
    """Refuse a caller who can't have what a route needs, whatever object is meant.

    Raises:
        Refused: with the roles that would do.
    """
    if need.right is Right.OPEN:
        return
    if need.right is Right.OFF:
        raise Refused("This part of MLflow is off under Lockgate: it would change things behind the gate.")
    permissions = _PERMISSIONS[need.right]
    if need.on is On.SERVER:
        caller.require(permissions[0])
    elif not any(caller.principal.may_somewhere(permission) for permission in permissions):
        caller.require_somewhere(permissions[0])
