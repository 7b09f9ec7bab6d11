"""MLflow's middlewares: those that stand around the whole application are taken off, others only stand aside."""

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from mlflow.server.fastapi_app import create_fastapi_app
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Receive, Scope, Send

from lockgate.server.mlflow_middleware import Only, lighten


class Unknown:
    """What a later MLflow may bring along."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def get(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    async def called() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            return await client.get(path)

    return anyio.run(called)


def test_of_mlflows_own_none_is_left_that_every_call_bears() -> None:
    app = create_fastapi_app()
    before = {one.cls for one in app.user_middleware}
    lighten(app)
    assert len(before) > 1
    assert [one.cls for one in app.user_middleware] == [Only, Only]


def test_one_that_is_not_known_stays() -> None:
    app = FastAPI()
    app.add_middleware(Unknown)  # type: ignore[arg-type]

    @app.middleware("http")
    async def of_tomorrow(request: Request, call_next):  # type: ignore[no-untyped-def]
        return await call_next(request)

    lighten(app)
    assert [one.cls for one in app.user_middleware] == [BaseHTTPMiddleware, Unknown]


@pytest.mark.parametrize(("path", "is_timed"), [("/gateway/x", True), ("/ping", False)])
def test_only_calls_of_the_gateway_are_timed(path: str, is_timed: bool) -> None:
    app = create_fastapi_app()
    lighten(app)
    answer = get(app, path)
    assert answer.status_code == 404
    assert ("x-mlflow-gateway-duration-ms" in answer.headers) == is_timed


def test_a_workspace_that_is_named_is_looked_at_also_where_there_are_none() -> None:
    app = create_fastapi_app()
    lighten(app)
    assert get(app, "/ping", **{"X-MLFLOW-WORKSPACE": "team"}).json()["error_code"] == "FEATURE_DISABLED"
    assert get(app, "/ping").status_code == 404
