"""The inventory of MLflow's routes and methods is that of the MLflow that is installed."""

import asyncio
import inspect
from collections.abc import Callable

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from flask import Flask
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import create_fastapi_app
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore as Workspaces

from lockgate.access.principals import Caller, Principal, calling
from lockgate.access.roles import Permission, Role, RoleBinding
from lockgate.access.routes import ROUTES, Need, On, Right, Route, check, need_of
from lockgate.errors import Refused
from lockgate.registry.touches import TOUCHES, Kind
from lockgate.registry.tracking import GovernedTrackingStore
from lockgate.server import failures
from lockgate.server.inventory import routes_of
from lockgate.server.mlflow_app import _is_watched, _watch

READS_OF_ALL = {
    "get_budget_policy", "get_gateway_endpoint", "get_gateway_guardrail", "get_gateway_model_definition", "get_secret_info",
    "list_budget_policies", "list_endpoint_bindings", "list_endpoint_guardrail_configs", "list_gateway_endpoints",
    "list_gateway_guardrails", "list_gateway_model_definitions", "list_secret_infos", "sum_gateway_trace_cost",
    "get_latest_mcp_server_version", "get_mcp_access_endpoint", "get_mcp_server", "get_mcp_server_version",
    "get_mcp_server_version_by_alias", "search_mcp_access_endpoints", "search_mcp_server_versions", "search_mcp_servers",
    "resolve_endpoint_in_scorer", "resolve_trace_archival_config", "sanitize_metric_value",
}  # fmt: skip
#: The answer is narrowed to what the caller may see.
SEARCHES = {
    "search_datasets", "search_experiments", "search_issues", "search_logged_models", "search_runs", "search_traces",
    "get_experiment_by_name",
}  # fmt: skip
#: What no route of the server calls, or what only calls others that are asked about.
INNER = {
    "search_entities_by_destination", "search_entities_by_source", "get_active_online_scorers", "get_online_trace_details",
    "set_model_versions_tags", "log_batch_async", "log_metric_async", "log_param_async", "log_spans_async", "set_tag_async",
    "end_async_logging", "flush_async_logging", "shut_down_async_logging",
}  # fmt: skip


def principal(*bindings: str) -> Principal:
    parsed = (binding.partition(":") for binding in bindings)
    return Principal(1, "pat", bindings=tuple(RoleBinding(Role(role), pattern or "*") for role, _, pattern in parsed))


def test_every_route_is_classified_and_every_classified_one_is_there() -> None:
    derived = routes_of(create_fastapi_app(), flask_app)
    assert len(derived) > 250
    assert derived - ROUTES.keys() == set(), "MLflow has routes that access/routes.py doesn't classify"
    assert ROUTES.keys() - derived == set(), "access/routes.py classifies routes that MLflow doesn't have"


def test_the_inventory_notices_a_new_route() -> None:
    grown = create_fastapi_app()
    router = type(grown.router)()
    router.add_api_route("/new", lambda: None, methods=["POST"])
    grown.include_router(router)
    assert {route.endpoint for route in routes_of(grown, flask_app) - ROUTES.keys()} == {"test_inventory.<lambda>"}


@pytest.mark.parametrize(
    "route", [Route("POST", "_grown_tomorrow"), Route("POST", "_get_run"), Route("TRACE", "_get_run")]
)
def test_a_route_that_nobody_thought_of_is_refused_with_a_sentence(route: Route) -> None:
    with pytest.raises(Refused, match=f"doesn't know MLflow's route {route.method} {route.endpoint}"):
        need_of(route)
    assert need_of(Route("HEAD", "_get_run")) == need_of(Route("GET", "_get_run")) == Need(Right.READ, On.RUN)


def test_routers_let_nobody_through_to_what_is_not_classified() -> None:
    grown = Flask("grown")
    grown.add_url_rule("/new", "_grown_tomorrow", lambda: "through")
    grown.before_request(_watch)
    native, router = FastAPI(), APIRouter()
    router.add_api_route("/new", lambda: "through")
    native.include_router(router)
    assert _is_watched(native.router.routes[-1])
    failures.install(native)
    with calling(Caller(principal("admin"))):
        answered = grown.test_client().get("/new")
        assert answered.status_code == 403
        assert "doesn't know MLflow's route GET _grown_tomorrow" in answered.text
        assert grown.test_client().get("/newer").status_code == 404
        told = asyncio.run(get(native, "/new"))
    assert (told.status_code, told.json()["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("bindings", "let_in"),
    [
        ([], {Right.OPEN}),
        (["viewer"], {Right.OPEN, Right.READ, Right.MOVE}),
        (["reviewer"], {Right.OPEN, Right.READ, Right.MOVE}),
        (["releaser"], {Right.OPEN, Right.READ, Right.MOVE}),
        (["contributor"], {Right.OPEN, Right.READ, Right.WRITE, Right.MOVE}),
        (["contributor:pay-*"], {Right.OPEN, Right.READ, Right.WRITE, Right.MOVE}),
        (["maintainer:pay-*"], {Right.OPEN, Right.READ, Right.WRITE, Right.MOVE, Right.GOVERN}),
        (["admin"], set(Right) - {Right.OFF}),
    ],
    ids=lambda value: " ".join(sorted(str(one) for one in value)) or "none",
)
def test_who_is_let_through_where_objects_are_asked_about_later(bindings: list[str], let_in: set[Right]) -> None:
    assert {right for right in Right if passes(principal(*bindings), Need(right, On.RUN))} == let_in


def test_what_concerns_the_server_is_for_whose_role_has_no_pattern() -> None:
    need = Need(Right.WRITE, On.SERVER)
    assert passes(principal("contributor"), need)
    assert not passes(principal("contributor:pay-*"), need)
    assert not passes(principal("maintainer:pay-*"), Need(Right.GOVERN, On.SERVER))


async def get(app: FastAPI, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.get(path)


def passes(who: Principal, need: Need) -> bool:
    try:
        check(Caller(who), need)
    except Refused:
        return False
    return True


def methods(kind: type) -> dict[str, Callable[..., object]]:
    return dict(inspect.getmembers(kind, inspect.isfunction))


def test_every_method_of_the_tracking_store_is_thought_of() -> None:
    public = {name for kind in (SqlAlchemyStore, AbstractStore) for name in methods(kind) if not name.startswith("_")}
    known = TOUCHES.keys() | READS_OF_ALL | SEARCHES | INNER
    assert public - known == set(), "MLflow's tracking store has methods that registry/touches.py doesn't know"
    assert known - methods(SqlAlchemyStore).keys() == set()


def test_every_method_that_writes_asks_first() -> None:
    writing = {
        name for name, method in methods(SqlAlchemyStore).items() if "read_only=False" in inspect.getsource(method)
    }
    assert {"create_run", "log_batch", "delete_trace_tag", "create_gateway_secret"} <= writing
    writing |= {name for name, method in methods(Workspaces).items() if "read_only=False" in inspect.getsource(method)}
    for name in (name for name in writing if not name.startswith("_")):
        assert TOUCHES[name].permission in (Permission.WRITE, Permission.ADMINISTER), name
        assert name in vars(GovernedTrackingStore), name


@pytest.mark.parametrize("method", TOUCHES)
def test_what_a_method_touches_is_named_by_an_argument_of_it(method: str) -> None:
    touch = TOUCHES[method]
    parameters = inspect.signature(getattr(SqlAlchemyStore, method)).parameters
    assert {argument.partition(".")[0] for _, argument in touch.on} <= parameters.keys()
    assert touch.on or touch.permission in (Permission.WRITE, Permission.ADMINISTER)
    assert all(kind in Kind for kind, _ in touch.on)
