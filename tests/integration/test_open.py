"""What is open to anybody: each of these calls is, and none of all the others that there are."""

import re
from collections.abc import Iterator

import httpx
from fastapi.routing import APIRoute
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import create_fastapi_app
from sqlalchemy import create_engine
from starlette.routing import BaseRoute

from lockgate.access.identity import IdentityFile
from lockgate.server import databricks, health
from lockgate.server.api import api
from lockgate.server.authentication import Authentication
from lockgate.server.inventory import paths_of
from lockgate.server.openings import Openings, openings
from lockgate.server.pages import pages
from lockgate.settings import WorkerSettings
from tests.house import House

OPEN = {
    ("GET", "/health"), ("GET", "/version"), ("GET", "/static-files/x"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/lockgate/static/lockgate.css"),
    ("GET", "/lockgate/sign-in"), ("POST", "/lockgate/sign-in"), ("GET", "/lockgate/sign-in/with"),
    ("GET", "/lockgate/sign-in/callback"),
}  # fmt: skip


def ours() -> Iterator[tuple[str, str]]:
    settings, identity, engine = WorkerSettings("", ""), IdentityFile(version=1), create_engine("sqlite://")
    shown = pages(settings, engine, identity, Authentication(engine, identity, settings))
    mounted = ("/api/lockgate/v1", api.routes), ("/lockgate", shown.routes), ("", health.router.routes)
    for prefix, routes in (*mounted, *((root, databricks.router.routes) for root in databricks.ROOTS)):
        yield from ((method, prefix + path) for method, path in calls(routes))
    yield "GET", "/lockgate/static/lockgate.css"


def calls(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from calls(included.routes)
        elif isinstance(route, APIRoute):
            yield from ((method, route.path) for method in route.methods)


def everything() -> set[tuple[str, str]]:
    """Every call that the server knows, of MLflow's and ours."""
    theirs = ((route.method, path) for route, path in paths_of(create_fastapi_app(), flask_app))
    return {(method, re.sub(r"[<{][^>}]*[>}]", "x", path)) for method, path in (*theirs, *ours())}


def is_reached(answer: httpx.Response) -> bool:
    return answer.status_code != 401


def test_these_calls_and_no_others_are_open_to_anybody(house: House) -> None:
    known = everything()
    assert known >= OPEN
    assert len(known) > 400
    with httpx.Client(base_url=house.uri, timeout=60) as stranger:
        asked = {(method, path): stranger.request(method, path) for method, path in known}
    assert {call for call, answer in asked.items() if is_reached(answer)} == OPEN


def test_another_method_is_not_open(house: House) -> None:
    paths = {path for _, path in OPEN}
    with httpx.Client(base_url=house.uri, timeout=60) as stranger:
        for path in sorted(paths):
            for method in {"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"}:
                reached = is_reached(stranger.request(method, path))
                assert reached is ((method, path) in OPEN), (method, path)
            assert is_reached(stranger.head(path)) is (("GET", path) in OPEN), path


def test_what_is_open_moves_under_a_static_prefix() -> None:
    moved: Openings = openings(create_fastapi_app(), flask_app, "/ml")
    for method, path in OPEN:
        if path.startswith("/lockgate"):
            assert moved.include(method, f"/ml{path}")
            assert not moved.include(method, path)
    for path in ("/healthz", "/ml/healthz"):
        assert moved.include("GET", path)


def test_nothing_is_open_that_only_begins_like_it() -> None:
    known = openings(create_fastapi_app(), flask_app, "")
    for path in (
        "/healthy", "/health/", "/health/x", "//health", "/lockgate/sign-in/", "/lockgate/sign-in/x", "/lockgate/sign-out",
        "/static-files", "/static-files/../api/2.0/mlflow/runs/get", "/lockgate/static/..", "/build/x", "/favicon.ico", "/",
    ):  # fmt: skip
        assert not known.include("GET", path), path
