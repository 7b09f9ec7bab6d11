"""MLflow's middlewares, each once and only for the calls that it does something for.

Those for security stand around the whole application (`server/app.py`), so MLflow's own application needs them no
more. The two others are of a kind that starts tasks and streams for every call; what they do, most calls don't need.
"""

from collections.abc import Callable, Mapping
from functools import partial

from fastapi import FastAPI
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.server import fastapi_security
from mlflow.server.handlers import _add_static_prefix
from mlflow.server.workspace_helpers import WORKSPACE_HEADER_NAME
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

_SECURITY = (
    fastapi_security.HostValidationMiddleware,
    fastapi_security.SecurityHeadersMiddleware,
    fastapi_security.CORSBlockingMiddleware,
    CORSMiddleware,
)
#: Whether a call needs what a middleware does.
Needs = Callable[[Scope], bool]


class Only:
    """A middleware for some calls; the others pass by.

    Args:
        app: What is behind the middleware.
        needs: Says of a call whether it needs the middleware.
        middleware: The middleware, and what it is made with.
    """

    def __init__(self, app: ASGIApp, needs: Needs, middleware: Middleware) -> None:
        self._needs = needs
        self._past = app
        self._through: ASGIApp = middleware.cls(app, *middleware.args, **middleware.kwargs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through the middleware, or past it."""
        chosen = self._through if scope["type"] == "http" and self._needs(scope) else self._past
        await chosen(scope, receive, send)


def lighten(app: FastAPI) -> None:
    """Take the middlewares that stand elsewhere off MLflow's application, and let calls past those they don't need.

    One that is not known here stays as it is.
    """
    needs: dict[str, Needs] = {
        "workspace_context_middleware": _names_a_workspace,
        "gateway_timing_middleware": partial(_is_under, _add_static_prefix("/gateway/")),
    }
    kept = [one for one in app.user_middleware if one.cls not in _SECURITY]
    app.user_middleware[:] = [_only(one, needs) for one in kept]


def _only(middleware: Middleware, needs: Mapping[str, Needs]) -> Middleware:
    needed = needs.get(getattr(middleware.kwargs.get("dispatch"), "__name__", ""))
    return middleware if needed is None else Middleware(Only, needs=needed, middleware=middleware)


def _names_a_workspace(scope: Scope) -> bool:
    # A header where workspaces are not enabled is refused, so MLflow has to see it.
    return MLFLOW_ENABLE_WORKSPACES.get() or WORKSPACE_HEADER_NAME in Headers(scope=scope)


def _is_under(folder: str, scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith(folder)
