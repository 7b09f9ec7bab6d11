"""Who gets what from each of MLflow's routes: every class of principals calls every route, on a thing that the pattern
`inside-*` covers and on one that it doesn't. The answers are kept in `matrix.txt`, to be read and reviewed.

`LOCKGATE_WRITE_MATRIX=1 make test PYTEST_ARGS=tests/integration/test_matrix.py` writes it anew.
"""

# ruff: noqa: UP031

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import create_fastapi_app

from lockgate.access.routes import ROUTES, On, Right, Route
from lockgate.server.inventory import name_of
from tests.house import House
from tests.sides import INSIDE, OUTSIDE, Side, assessment, furnish, let_in, trace_info

pytestmark = pytest.mark.long

MATRIX = Path(__file__).with_name("matrix.txt")
VERSION = "1"

Body = dict[str, Any]

#: A legitimate call of each route that is about a thing: its body, or its query where the method has none.
CALLS: dict[str, Callable[[Side], Body]] = {
    "_create_experiment": lambda s: {"name": s.new},
    "_update_experiment": lambda s: {"experiment_id": s.experiment, "new_name": s.new},
    "_delete_experiment": lambda s: {"experiment_id": s.experiment},
    "_restore_experiment": lambda s: {"experiment_id": s.deleted_experiment},
    "_set_experiment_tag": lambda s: {"experiment_id": s.experiment, "key": "a", "value": "b"},
    "_delete_experiment_tag": lambda s: {"experiment_id": s.experiment, "key": "k"},
    "_get_experiment": lambda s: {"experiment_id": s.experiment},
    "_get_experiment_by_name": lambda s: {"experiment_name": s.experiment_name},
    "_search_experiments": lambda s: {"max_results": 1},
    "_create_run": lambda s: {"experiment_id": s.experiment},
    "_update_run": lambda s: {"run_id": s.run, "status": "RUNNING"},
    "_delete_run": lambda s: {"run_id": s.run},
    "_restore_run": lambda s: {"run_id": s.deleted_run},
    "_log_metric": lambda s: {"run_id": s.run, "key": "m", "value": 1.0, "timestamp": 1},
    "_log_param": lambda s: {"run_id": s.run, "key": s.new, "value": "v"},
    "_log_batch": lambda s: {"run_id": s.run, "tags": [{"key": "a", "value": "b"}]},
    "_log_inputs": lambda s: {"run_id": s.run, "models": [{"model_id": s.logged_model}]},
    "_log_outputs": lambda s: {"run_id": s.run, "models": [{"model_id": s.logged_model, "step": 0}]},
    "_log_model": lambda s: {
        "run_id": s.run,
        "model_json": '{"artifact_path": "m", "flavors": {}, "utc_time_created": "2026-01-01 00:00:00", "run_id": "%s"}' % s.run,
    },
    "_set_tag": lambda s: {"run_id": s.run, "key": "a", "value": "b"},
    "_delete_tag": lambda s: {"run_id": s.run, "key": "k"},
    "_get_run": lambda s: {"run_id": s.run},
    "_get_metric_history": lambda s: {"run_id": s.run, "metric_key": "m"},
    "serve_get_metric_history_bulk": lambda s: {"run_id": s.run, "metric_key": "m"},
    "serve_get_metric_history_bulk_interval": lambda s: {"run_ids": s.run, "metric_key": "m", "max_results": 10},
    "get_metric_history_bulk_interval_handler": lambda s: {"run_ids": s.run, "metric_key": "m", "max_results": 10},
    "_search_runs": lambda s: {"experiment_ids": [s.experiment]},
    "_list_artifacts": lambda s: {"run_id": s.run},
    "serve_artifacts": lambda s: {"run_uuid": s.run, "path": "model/f.txt"},
    "_create_presigned_upload_url": lambda s: {"run_id": s.run, "path": "f.txt"},
    "_create_presigned_download_url": lambda s: {"run_id": s.run, "path": "f.txt"},
    "serve_search_datasets": lambda s: {"experiment_ids": [s.experiment]},
    "serve_create_promptlab_run": lambda s: {
        "experiment_id": s.experiment, "prompt_template": "t", "prompt_parameters": [], "model_route": "r",
        "model_parameters": [], "model_input": "i", "model_output": "o", "mlflow_version": "3.17.2",
    },
    "_create_logged_model": lambda s: {"experiment_id": s.experiment, "name": "new"},
    "_finalize_logged_model": lambda s: {"model_id": s.logged_model, "status": "LOGGED_MODEL_READY"},
    "_log_logged_model_params": lambda s: {"params": [{"key": s.new, "value": "v"}]},
    "_set_logged_model_tags": lambda s: {"tags": [{"key": "a", "value": "b"}]},
    "_search_logged_models": lambda s: {"experiment_ids": [s.experiment]},
    "serve_get_logged_model_artifact": lambda s: {"artifact_file_path": "f.txt"},
    "_start_trace_v3": lambda s: trace_info(s.experiment, f"tr-{s.new}"),
    "_get_trace": lambda s: {"trace_id": s.trace},
    "_set_trace_tag": lambda s: {"key": "a", "value": "b"},
    "_set_trace_tag_v3": lambda s: {"key": "a", "value": "b"},
    "_delete_trace_tag": lambda s: {"key": "k"},
    "_delete_trace_tag_v3": lambda s: {"key": "k"},
    "_delete_traces": lambda s: {"experiment_id": s.experiment, "request_ids": [s.trace]},
    "_create_assessment": lambda s: assessment(s.trace),
    "_update_assessment": lambda s: {
        "assessment": {"trace_id": s.trace, "assessment_id": s.assessment, "rationale": "r"}, "update_mask": "rationale",
    },
    "_link_traces_to_run": lambda s: {"trace_ids": [s.trace], "run_id": s.run},
    "_link_prompts_to_trace": lambda s: {"trace_id": s.trace, "prompt_versions": [{"name": "p", "version": "1"}]},
    "_batch_get_traces": lambda s: {"trace_ids": s.trace},
    "_batch_get_trace_infos": lambda s: {"trace_ids": [s.trace]},
    "_search_traces_v3": lambda s: {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": s.experiment}}]
    },
    "_query_trace_metrics": lambda s: {
        "experiment_ids": [s.experiment], "view_type": "TRACES", "metric_name": "trace_count",
        "aggregations": [{"aggregation_type": "COUNT"}],
    },
    "_deprecated_start_trace_v2": lambda s: {
        "experiment_id": s.experiment, "timestamp_ms": 1, "request_metadata": [], "tags": [],
    },
    "serve_get_trace_artifact": lambda s: {"request_id": s.trace},
    "_create_dataset_handler": lambda s: {"name": s.new, "experiment_ids": [s.experiment]},
    "_set_dataset_tags_handler": lambda s: {"tags": '{"a": "b"}'},
    "_upsert_dataset_records_handler": lambda s: {"records": '[{"inputs": {"q": "a"}}]'},
    "_delete_dataset_records_handler": lambda s: {"dataset_record_ids": ["x"]},
    "_add_dataset_to_experiments_handler": lambda s: {"experiment_ids": [s.experiment]},
    "_remove_dataset_from_experiments_handler": lambda s: {"experiment_ids": [s.experiment]},
    "_search_evaluation_datasets_handler": lambda s: {"experiment_ids": [s.experiment]},
    "_register_scorer": lambda s: {"experiment_id": s.experiment, "name": s.new, "serialized_scorer": "{}"},
    "_list_scorers": lambda s: {"experiment_id": s.experiment},
    "_create_issue": lambda s: {"experiment_id": s.experiment, "name": "n", "description": "d"},
    "_search_issues": lambda s: {"experiment_id": s.experiment},
    "_list_label_schemas": lambda s: {"experiment_id": s.experiment},
    "_create_label_schema": lambda s: {
        "experiment_id": s.experiment, "name": s.new, "type": "FEEDBACK", "input": {"pass_fail": {}},
    },
    "_create_review_queue": lambda s: {"experiment_id": s.experiment, "name": s.new, "queue_type": "CUSTOM"},
    "_get_or_create_user_queue": lambda s: {"experiment_id": s.experiment, "user": "ada"},
    "_list_review_queues": lambda s: {"experiment_id": s.experiment},
    "_create_registered_model": lambda s: {"name": s.new},
    "_rename_registered_model": lambda s: {"name": s.model, "new_name": s.new},
    "_update_registered_model": lambda s: {"name": s.model, "description": "d"},
    "_delete_registered_model": lambda s: {"name": s.model},
    "_get_registered_model": lambda s: {"name": s.model},
    "_search_registered_models": lambda s: {"filter": f"name = '{s.model}'"},
    "_get_latest_versions": lambda s: {"name": s.model},
    "_set_registered_model_tag": lambda s: {"name": s.model, "key": "a", "value": "b"},
    "_delete_registered_model_tag": lambda s: {"name": s.model, "key": "k"},
    "_set_registered_model_alias": lambda s: {"name": s.model, "alias": "shadow", "version": VERSION},
    "_delete_registered_model_alias": lambda s: {"name": s.model, "alias": "shadow"},
    "_get_model_version_by_alias": lambda s: {"name": s.model, "alias": "shadow"},
    "_create_model_version": lambda s: {"name": s.model, "source": f"runs:/{s.run}/model", "run_id": s.run},
    "_update_model_version": lambda s: {"name": s.model, "version": VERSION, "description": "d"},
    "_delete_model_version": lambda s: {"name": s.model, "version": VERSION},
    "_get_model_version": lambda s: {"name": s.model, "version": VERSION},
    "_get_model_version_download_uri": lambda s: {"name": s.model, "version": VERSION},
    "_search_model_versions": lambda s: {"filter": f"name = '{s.model}'"},
    "_set_model_version_tag": lambda s: {"name": s.model, "version": VERSION, "key": "a", "value": "b"},
    "_delete_model_version_tag": lambda s: {"name": s.model, "version": VERSION, "key": "k"},
    "_transition_stage": lambda s: {
        "name": s.model, "version": VERSION, "stage": "Staging", "archive_existing_versions": False,
    },
    "serve_model_version_artifact": lambda s: {"name": s.model, "version": VERSION, "path": "f.txt"},
    "_list_artifacts_mlflow_artifacts": lambda s: {"path": f"{s.experiment}/{s.run}/artifacts"},
    "_graphql": lambda s: {"query": '{test(inputString: "x") {output}}'},
    "_deprecated_end_trace_v2": lambda s: {
        "timestamp_ms": 1_767_225_600_001, "status": "OK", "request_metadata": [], "tags": [],
    },
    "_deprecated_search_traces_v2": lambda s: {"experiment_ids": [s.experiment], "max_results": 5},
    "_calculate_trace_filter_correlation": lambda s: {
        "experiment_ids": [s.experiment], "filter_string1": "tag.k = 'v'", "filter_string2": "tag.k = 'w'",
    },
    "mcp_server_api.create_mcp_server": lambda s: {"name": f"com.example/{s.new}"},
}  # fmt: skip

#: Fields of GraphQL, as queries.
FIELDS: dict[str, Callable[[Side], str]] = {
    "graphql.mlflowGetExperiment": lambda s: 'input: {experimentId: "%s"}) {experiment {name}}' % s.experiment,
    "graphql.mlflowGetRun": lambda s: 'input: {runId: "%s"}) {run {info {runId}}}' % s.run,
    "graphql.mlflowListArtifacts": lambda s: 'input: {runId: "%s"}) {rootUri}' % s.run,
    "graphql.mlflowGetMetricHistoryBulkInterval": lambda s: (
        'input: {runIds: ["%s"], metricKey: "m", maxResults: 5}) {metrics {key}}' % s.run
    ),
    "graphql.mlflowSearchModelVersions": lambda s: "input: {filter: \"name='%s'\"}) {modelVersions {name}}" % s.model,
    "graphql.mlflowSearchRuns": lambda s: 'input: {experimentIds: ["%s"]}) {runs {info {runId}}}' % s.experiment,
    "graphql.mlflowSearchDatasets": lambda s: (
        'input: {experimentIds: ["%s"]}) {datasetSummaries {name}}' % s.experiment
    ),
    "graphql.test": lambda s: 'inputString: "x") {output}',
    "graphql.testMutation": lambda s: 'inputString: "x") {output}',
}

#: They look things up on the internet, or take minutes; who may call them, the unit tests say.
NOT_CALLED = {"_list_supported_models", "_list_supported_providers", "_generate_demo", "serve_get_ui_telemetry"}

#: What they need besides is not there: spans, a bucket, a label, a version whose files are not at `runs:/`.
UNFURNISHED = {
    "serve_model_version_artifact",
    "_get_trace", "_batch_get_traces", "serve_get_trace_artifact", "_create_presigned_upload_url",
    "_create_presigned_download_url", "_create_label_schema", "serve_create_promptlab_run", "_log_logged_model_params",
}  # fmt: skip

#: What may answer as if the server were at fault, and why.
_NO_WORKSPACES = "503: workspaces are off, unless `--enable-workspaces` says otherwise"
_NO_SPANS = "500: MLflow's own word for a trace whose spans nobody sent"
FAILING = {
    "_get_workspace_handler": _NO_WORKSPACES,
    "_list_workspaces_handler": _NO_WORKSPACES,
    "_create_workspace_handler": _NO_WORKSPACES,
    "_update_workspace_handler": _NO_WORKSPACES,
    "_get_trace": _NO_SPANS,
    "_batch_get_traces": _NO_SPANS,
    "_get_presigned_download_url": "501: the server's own disk can sign no URL",
}

#: After one of these succeeded the things are made anew.
SPENT = re.compile(r"delete|restore|rename|remove|outputs")


def paths() -> dict[Route, str]:
    """Where each route is, as its router has it; of twins the plain one."""
    found: dict[Route, str] = {}

    def keep(route: Route, path: str) -> None:
        if route not in found or (path.startswith("/api/"), "/2.0/" in path) > (
            found[route].startswith("/api/"), "/2.0/" in found[route],
        ):  # fmt: skip
            found[route] = path

    for rule in flask_app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            keep(Route(method, rule.endpoint), rule.rule)
    for included in create_fastapi_app().router.routes:
        router, context = getattr(included, "original_router", None), getattr(included, "include_context", None)
        for route in router.routes if router is not None else []:
            for method in route.methods:
                keep(Route(method, name_of(route.endpoint)), context.prefix + route.path)
    return found


def filled(path: str, side: Side) -> str:
    values = {
        "run_id": side.run, "model_id": side.logged_model, "trace_id": side.trace, "request_id": side.trace,
        "assessment_id": side.assessment, "dataset_id": side.dataset, "artifact_path": side.file,
        "key": "k", "tag_key": "k", "workspace_name": "default",
    }  # fmt: skip
    return re.sub(r"[<{](?:path:)?(\w+)(?::path)?[>}]", lambda match: values.get(match[1], "x"), path)


def call(client: httpx.Client, route: Route, path: str, side: Side) -> str:
    """Call a route and say how it went."""
    if route.endpoint in NOT_CALLED:
        return "-"
    if route.method in ("QUERY", "MUTATION"):
        name = route.endpoint.removeprefix("graphql.")
        query = f"{route.method.lower()} {{ {name}({FIELDS[route.endpoint](side)} }}"
        answer = client.post("/graphql", json={"query": query})
        if answer.is_success and answer.json()["errors"]:
            return "none"
        return told(answer)
    if route.endpoint in ("serve_upload_artifact", "artifact_router.upload_artifact", "_upload_artifact"):
        query = {"run_uuid": side.run, "path": "g.txt"} if route.endpoint == "serve_upload_artifact" else {}
        return told(client.request(route.method, filled(path, side), params=query, content=b"x"))
    said = CALLS.get(route.endpoint, lambda s: {})(side)
    if route.method == "GET" and route.endpoint != "_graphql":  # which reads a body in any case
        return told(client.get(filled(path, side), params=said))
    return told(client.request(route.method, filled(path, side), json=said))


def told(answer: httpx.Response) -> str:
    return "ok" if answer.status_code < 400 else str(answer.status_code)


def lines(house: House) -> Iterator[str]:
    clients = let_in(house, "matrix")
    things = {where: furnish(house, where) for where in (INSIDE, OUTSIDE)}
    known = paths()
    yield f"{'':<7}{'':<50}" + "".join(f"{name:<12}" for name in clients)
    for route, need in sorted(
        ROUTES.items(), key=lambda item: (list(On).index(item[1].on), item[0].endpoint.strip("_"), item[0])
    ):
        cells = []
        for client in clients.values():
            got = []
            for where in (INSIDE, OUTSIDE) if need.on not in (On.NOTHING, On.SERVER) else (OUTSIDE,):
                got.append(call(client, route, known.get(route, ""), things[where]))
                if got[-1] == "ok" and SPENT.search(route.endpoint) and need.right in (Right.WRITE, Right.MOVE):
                    things[where] = furnish(house, where)
            cells.append(got[0] if len(set(got)) == 1 else "|".join(got))
        yield (f"{route.method:<8} {route.endpoint:<48} " + "".join(f"{cell:<12}" for cell in cells)).rstrip()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
def test_who_gets_what_from_each_route(house: House) -> None:
    # On PostgreSQL MLflow itself answers some calls of datasets with 400; who may do what, `test_spellings` asks on both.
    told = "\n".join(lines(house)) + "\n"
    if os.environ.get("LOCKGATE_WRITE_MATRIX"):
        MATRIX.write_text(told)
    assert told == MATRIX.read_text()


def test_the_matrix_shows_each_route_and_a_call_of_it_that_passes() -> None:
    shown = {Route(*line.split()[:2]): line.split()[2:] for line in MATRIX.read_text().splitlines()[1:]}
    assert shown.keys() == ROUTES.keys()
    admin = MATRIX.read_text().splitlines()[0].split().index("admin")
    for route in ROUTES:
        if route.endpoint in (CALLS.keys() | FIELDS.keys()) - UNFURNISHED:
            assert shown[route][admin].startswith("ok"), route


def test_no_call_in_the_matrix_breaks_the_server() -> None:
    broken = {
        line.split()[1]
        for line in MATRIX.read_text().splitlines()[1:]
        for cell in line.split()[2:]
        if any(part.startswith("5") for part in cell.split("|"))
    }
    assert broken == FAILING.keys()
