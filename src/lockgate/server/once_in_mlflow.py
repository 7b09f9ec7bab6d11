"""MLflow's own changes of registered models, made once: they take an `Idempotency-Key` as those of our API do.

What MLflow's other calls change, its tracking store commits by itself, so a key would promise there what doesn't hold:
it is refused.
"""

import functools
from collections.abc import Callable
from typing import Any

import flask
from fastapi import Response
from mlflow.exceptions import MlflowException
from mlflow.server.workspace_helpers import WORKSPACE_HEADER_NAME

from lockgate.access.routes import ROUTES, Need, On, Right
from lockgate.errors import BadInput
from lockgate.server.once import KEY, answered_once, keyed
from lockgate.workflow.stores import stores

_CHANGES_NOTHING = (Right.OPEN, Right.READ)
_CHANGES_MODELS = (Right.WRITE, Right.MOVE)


def make_once(app: flask.Flask, told: Callable[[MlflowException], flask.Response]) -> None:
    """Let each change of registered models take a key.

    Args:
        app: MLflow's application.
        told: Makes the answer that tells of an error that a handler lets fall through.
    """
    for endpoint in {route.endpoint for route, need in ROUTES.items() if _takes_key(need)}:
        if endpoint in app.view_functions:
            app.view_functions[endpoint] = _once(app.view_functions[endpoint], told)


def check_key(need: Need, key: str | None) -> None:
    """Refuse a key where it would have no effect.

    Args:
        need: What the call needs, which says what it is about.
        key: The key that came with it.

    Raises:
        BadInput: if the call is a change that takes none.
    """
    if key is not None and need.right not in _CHANGES_NOTHING and not _takes_key(need):
        raise BadInput(
            f"This call of MLflow's takes no {KEY}, and nothing was changed: repeated, it would be made again. Leave "
            "the header out. MLflow's changes of registered models and versions take one, and all of Lockgate's own."
        )


def _takes_key(need: Need) -> bool:
    return need.on is On.MODEL and need.right in _CHANGES_MODELS


def _once(view: Callable[..., Any], told: Callable[[MlflowException], flask.Response]) -> Callable[..., Any]:
    @functools.wraps(view)
    def made_once(**given: Any) -> Any:
        asked = flask.request
        key = asked.headers.get(KEY)
        if key is None:
            return view(**given)

        def make() -> Response:
            try:
                made = flask.make_response(view(**given))
            except MlflowException as error:
                made = told(error)
            return Response(made.get_data(), made.status_code, media_type=made.mimetype)

        query, workspace = asked.query_string.decode("latin-1"), asked.headers.get(WORKSPACE_HEADER_NAME)
        call = keyed(key, asked.method, asked.path, query, workspace, body=asked.get_data())
        answer = answered_once(stores().registry.engine, call, make)
        return flask.Response(bytes(answer.body), answer.status_code, dict(answer.headers))

    return made_once
