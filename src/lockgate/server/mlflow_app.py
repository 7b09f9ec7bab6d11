"""MLflow's ASGI application as we mount it: the same, but for what would go around the gate."""

from collections.abc import Callable

import flask
from fastapi import FastAPI
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreatePresignedUploadUrl
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as fastapi_app
from mlflow.server.handlers import (
    _create_presigned_upload_url,
    _create_workspace_handler,
    _delete_workspace_handler,
    _get_request_message,
    _update_workspace_handler,
)
from mlflow.utils.uri import append_to_uri_path
from starlette.routing import BaseRoute

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.errors import BadInput, LockgateError, Refused
from lockgate.registry.authorship import LOGGED_MODEL, RUN
from lockgate.registry.places import real_place
from lockgate.server import failures
from lockgate.workflow.stores import stores

#: Routers of MLflow's that run code on the server's host or change the database behind the stores.
_LEFT_OUT = ("mlflow.server.assistant.api", "mlflow.server.job_api")


def governed_mlflow() -> FastAPI:
    """Return MLflow's application without the assistant and the jobs, and with its other side doors watched."""
    kept = [route for route in fastapi_app.router.routes if not _is_left_out(route)]
    unknown = sorted(_CHECKS.keys() - flask_app.view_functions.keys())
    if unknown or len(kept) == len(fastapi_app.router.routes):
        raise RuntimeError(
            f"MLflow's routes are not those that Lockgate watches ({unknown}); it can't be mounted safely."
        )
    fastapi_app.router.routes[:] = kept
    flask_app.before_request(_watch)
    flask_app.register_error_handler(RecursionError, _too_deep)
    governed: FastAPI = fastapi_app
    return governed


def _is_left_out(route: BaseRoute) -> bool:
    original = getattr(route, "original_router", None)
    inner = [route] if original is None else list(original.routes)
    return any(getattr(getattr(one, "endpoint", None), "__module__", "") in _LEFT_OUT for one in inner)


def _watch() -> flask.Response | None:
    """Check what Flask's own router decided this call is, before its handler runs."""
    check = _CHECKS.get(flask.request.endpoint or "")
    if check is None:
        return None
    try:
        check()
    except LockgateError as error:
        body = {"error_code": error.code, "message": error.message}
        return flask.make_response(flask.jsonify(body), error.status)
    except MlflowException as error:
        return flask.Response(error.serialize_as_json(), error.get_http_status_code(), mimetype="application/json")
    return None


def _too_deep(_error: RecursionError) -> flask.Response:
    body = {"error_code": BadInput.code, "message": failures.TOO_DEEP}
    return flask.make_response(flask.jsonify(body), BadInput.status)


def _upload() -> None:
    # This handler writes to a run's folder without asking the tracking store.
    current_caller().require_somewhere(Permission.WRITE)
    tracking = stores().tracking
    run_id, path = flask.request.args.get("run_uuid"), flask.request.args.get("path")
    if run_id and path:
        file = append_to_uri_path(_artifacts_of(run_id), path)
        tracking.authorship.refuse_if_sealed(real_place(tracking, file))
    tracking.authorship.note(RUN, run_id)


def _presign() -> None:
    # This handler signs an upload that goes around the server, with the server's own keys.
    current_caller().require_somewhere(Permission.WRITE)
    tracking = stores().tracking
    asked = _get_request_message(CreatePresignedUploadUrl())
    root = _artifacts_of(asked.run_id) if asked.run_id else _artifacts_of_model(asked.model_id)
    if root and asked.path:
        file = append_to_uri_path(root, asked.path)
        tracking.authorship.refuse_if_sealed(real_place(tracking, file))
    tracking.authorship.note(RUN, asked.run_id)
    tracking.authorship.note(LOGGED_MODEL, asked.model_id)


def _artifacts_of(run_id: str) -> str:
    try:
        return str(stores().tracking.get_run(run_id).info.artifact_uri)
    except MlflowException:
        return ""  # MLflow's handler says that there is no such run.


def _artifacts_of_model(model_id: str) -> str:
    try:
        return str(stores().tracking.get_logged_model(model_id).artifact_location)
    except MlflowException:
        return ""  # MLflow's handler says that there is no such logged model.


def _change_workspace() -> None:
    current_caller().require(Permission.ADMINISTER)


def _delete_workspace() -> None:
    current_caller().require(Permission.ADMINISTER)
    raise Refused(
        "Deleting a workspace would delete or move its registered models without any gate. Delete or rename the "
        "models one by one, and leave the empty workspace."
    )


_CHECKS: dict[str, Callable[[], None]] = {
    "serve_upload_artifact": _upload,
    _create_presigned_upload_url.__name__: _presign,
    _create_workspace_handler.__name__: _change_workspace,
    _update_workspace_handler.__name__: _change_workspace,
    _delete_workspace_handler.__name__: _delete_workspace,
}
