"""MLflow's ASGI application as we mount it: the same, but each route lets through only who may call it.

What a call is, its routers decide; we ask `access/routes.py` about the endpoint that they chose, and never read a path
or a body to find out. What the call is about, the stores ask when MLflow's handlers have read it.
"""

import json
import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import flask
from fastapi import Depends, FastAPI, Request
from graphql import GraphQLError
from mlflow.exceptions import MlflowException
from mlflow.protos.service_pb2 import CreatePresignedUploadUrl
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as fastapi_app
from mlflow.server.handlers import (
    _create_presigned_upload_url,
    _delete_workspace_handler,
    _get_request_message,
    _graphql,
)
from mlflow.utils.uri import append_to_uri_path
from starlette.routing import BaseRoute, Mount
from werkzeug.exceptions import HTTPException

from lockgate.access.calls import current_call
from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.routes import Need, Right, Route, check, need_of
from lockgate.errors import BadInput, LockgateError, Refused
from lockgate.registry.authorship import LOGGED_MODEL, RUN
from lockgate.registry.bounds import require
from lockgate.registry.places import real_place
from lockgate.registry.touches import Kind
from lockgate.registry.transaction import told_by_mlflow
from lockgate.server import failures
from lockgate.server.flask_bridge import FlaskBridge
from lockgate.server.inventory import graphql_fields, name_of
from lockgate.server.mlflow_auth import keep_out
from lockgate.server.mlflow_middleware import lighten
from lockgate.server.once import KEY
from lockgate.server.once_in_mlflow import check_key, make_once
from lockgate.workflow.stores import stores

_logger = logging.getLogger("lockgate.server")
#: Functions of MLflow's that do nothing but read what was sent.
_READING = frozenset({_get_request_message.__name__, "from_proto"})


def governed_mlflow() -> FastAPI:
    """Return MLflow's application with every route watched, and without those that are off."""
    unknown = sorted(_CHECKS.keys() - flask_app.view_functions.keys())
    if unknown:
        raise RuntimeError(f"MLflow lacks endpoints that Lockgate watches ({unknown}); it can't be mounted safely.")
    keep_out()
    fastapi_app.router.routes[:] = [route for route in fastapi_app.router.routes if _is_watched(route)]
    flask_app.before_request(_watch)
    # Some of MLflow's handlers let its errors fall through, which it would answer with 500.
    flask_app.register_error_handler(MlflowException, _told)
    flask_app.register_error_handler(RecursionError, _too_deep)
    flask_app.register_error_handler(GraphQLError, _malformed_graphql)
    flask_app.register_error_handler(Exception, _unforeseen)
    make_once(flask_app, _told)
    for route, field in graphql_fields():
        field.resolve = partial(_resolve, route, field.resolve)
    lighten(fastapi_app)
    governed: FastAPI = fastapi_app
    return governed


def _is_watched(route: BaseRoute) -> bool:
    """Make a router of MLflow's ask before each of its routes; say whether it is one to keep."""
    if isinstance(route, Mount) and _leads_to_flask(route):
        route.app = FlaskBridge(flask_app)
        return True  # It is watched by its own hook.
    router, context = getattr(route, "original_router", None), getattr(route, "include_context", None)
    if router is None or context is None:
        raise RuntimeError(f"MLflow's route {route} is not one that Lockgate can watch; it can't be mounted safely.")
    context.dependencies.insert(0, Depends(_watch_native))
    return not all(_is_off(one) for one in router.routes)


def _leads_to_flask(mount: Mount) -> bool:
    return getattr(mount.app, "app", None) is flask_app


def _is_off(route: Any) -> bool:
    try:
        return all(need_of(Route(method, name_of(route.endpoint))).right is Right.OFF for method in route.methods)
    except (AttributeError, Refused):
        return False


async def _watch_native(request: Request) -> None:
    """Check what a native router decided that this call is, before its handler runs."""
    with told_by_mlflow():
        need = need_of(Route(request.method, name_of(request.scope["endpoint"])))
        _check(need)
        check_key(need, request.headers.get(KEY))


def _watch() -> flask.Response | None:
    """Check what Flask's own router decided this call is, before its handler runs."""
    endpoint = flask.request.endpoint
    if endpoint is None or flask.request.method == "OPTIONS":
        return None  # Flask answers by itself: there is no such route, or these are its methods.
    try:
        need = need_of(Route(flask.request.method, endpoint))
        _check(need)
        check_key(need, flask.request.headers.get(KEY))
        if endpoint in _CHECKS:
            _CHECKS[endpoint]()
    except LockgateError as error:
        return _answer(error)
    except MlflowException as error:
        return _told(error)
    return None


def _told(error: MlflowException) -> flask.Response:
    return flask.Response(error.serialize_as_json(), error.get_http_status_code(), mimetype="application/json")


def _resolve(route: Route, resolve: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Check what GraphQL decided that a field of the call is, before it is resolved."""
    with told_by_mlflow():
        _check(need_of(route))
    return resolve(*args, **kwargs)


def _check(need: Need) -> None:
    if need.right is Right.READ:
        current_call().only_reads = True
    if need.right is not Right.OPEN:
        check(current_caller(), need)


def _answer(error: LockgateError) -> flask.Response:
    body = {"error_code": error.code, "message": error.message, "details": dict(error.details)}
    return flask.make_response(flask.jsonify(body), error.status)


def _too_deep(_error: RecursionError) -> flask.Response:
    return _answer(BadInput(failures.TOO_DEEP))


def _malformed_graphql(error: GraphQLError) -> flask.Response:
    return _answer(BadInput(f"This is no GraphQL that can be read: {error.message}"))


def _unforeseen(error: Exception) -> flask.Response | HTTPException:
    """Say what is wrong with a call that a handler of MLflow's stumbled over, or that it is not the caller's fault."""
    if isinstance(error, HTTPException):
        return error
    if isinstance(error, LockgateError):
        return _answer(error)
    # MLflow's handlers take a body for an object without a look at it.
    if not _may_be_object(flask.request.get_json(force=True, silent=True)):
        return _answer(BadInput("The body of this call must be a JSON object."))
    if _while_reading(error):
        return _answer(
            BadInput(
                "A value of this call is of another type than the call takes, such as a list for a number, or is none "
                "of those that it knows."
            )
        )
    _logger.exception("MLflow's %s failed", flask.request.endpoint, exc_info=error)
    return _answer(LockgateError("Something went wrong inside MLflow. The server's log says what."))


def _may_be_object(body: object) -> bool:
    try:
        # Old clients encode a body twice, and MLflow decodes it so.
        return isinstance(json.loads(body) if isinstance(body, str) else body, dict | None)
    except ValueError:
        return False


def _while_reading(error: Exception) -> bool:
    """Say whether MLflow had not come further than making a message of what was sent, and values of the message."""
    return any(frame.name in _READING for frame in traceback.extract_tb(error.__traceback__))


# Handlers that go past the stores


def _upload() -> None:
    # This handler writes to a run's folder without asking the tracking store.
    run_id, path = flask.request.args.get("run_uuid"), flask.request.args.get("path")
    tracking = stores().tracking
    if run_id:
        require(tracking, Permission.WRITE, Kind.RUN, [run_id])
    if run_id and path:
        file = append_to_uri_path(_artifacts_of(run_id), path)
        place = real_place(tracking, file)
        tracking.authorship.refuse_if_sealed(place)
        # An experiment may keep its runs' files within another run's folder.
        tracking.authorship.note_folder(place)
    tracking.authorship.note(RUN, run_id)


def _presign() -> None:
    # This handler signs an upload that goes around the server, with the server's own keys.
    tracking = stores().tracking
    asked = _get_request_message(CreatePresignedUploadUrl())
    for kind, thing in ((Kind.RUN, asked.run_id), (Kind.LOGGED_MODEL, asked.model_id)):
        if thing:
            require(tracking, Permission.WRITE, kind, [thing])
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


def _ask_graphql() -> None:
    # This handler fails without a query.
    asked = flask.request.get_json(force=True, silent=True)
    if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
        raise BadInput("A call of GraphQL needs a JSON object with the `query`, as text.")


def _read_version() -> None:
    # This handler looks for a run's files by HTTP, at a server that it does not know, and fails.
    name, version, path = (flask.request.args.get(one) for one in ("name", "version", "path"))
    try:
        location = stores().registry.get_model_version_download_uri(name, version) if name and version and path else ""
    except MlflowException:
        return  # The handler says that there is no such version.
    if urlsplit(location).scheme == "runs":
        raise BadInput(
            f"The files of version {version} of '{name}' are those of a run ({location}), and this call does not "
            f"follow that. Get them from the run: `mlflow artifacts download -u {location}`."
        )


def _delete_workspace() -> None:
    raise Refused(
        "Deleting a workspace would delete or move its registered models without any gate. Delete or rename the "
        "models one by one, and leave the empty workspace."
    )


_CHECKS: dict[str, Callable[[], None]] = {
    "serve_upload_artifact": _upload,
    _create_presigned_upload_url.__name__: _presign,
    _delete_workspace_handler.__name__: _delete_workspace,
    _graphql.__name__: _ask_graphql,
    "serve_model_version_artifact": _read_version,
}
