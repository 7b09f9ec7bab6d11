"""MLflow's hot reads, answered by us: what is usual and found. All else is answered by MLflow's own handlers.

So there is nothing here of what MLflow says when something is missing, malformed or not to be seen: such a call goes
on to MLflow, which looks again and says it.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import flask
from anyio import to_thread
from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
from mlflow.exceptions import MlflowException
from mlflow.server.constants import PROMETHEUS_EXPORTER_ENV_VAR
from mlflow.server.handlers import (
    _get_model_version,
    _get_model_version_by_alias,
    _get_model_version_download_uri,
    _get_registered_model,
)
from mlflow.server.workspace_helpers import WORKSPACE_HEADER_NAME
from mlflow.utils.validation import (
    _REGISTERED_MODEL_ALIAS_LATEST,
    _validate_model_alias_name,
    _validate_model_name,
    _validate_model_version,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.access.principals import current_caller
from lockgate.access.roles import Permission
from lockgate.access.routes import Route, check, need_of
from lockgate.errors import LockgateError
from lockgate.registry.catalog import Catalog, Json
from lockgate.registry.store import GovernedStore
from lockgate.server.once import KEY

#: Headers that make a call one that MLflow has to look at.
_UNUSUAL = frozenset(
    name.lower().encode() for name in ("Content-Length", "Transfer-Encoding", WORKSPACE_HEADER_NAME, KEY)
)
_MAX_VERSION = 2**31 - 1
Asked = Mapping[str, str]


@dataclass(frozen=True)
class Read:
    """One of MLflow's routes that is answered here.

    Attributes:
        endpoint: The name of MLflow's handler.
        parameters: What the call says, each once.
        answer: Answers; None is that MLflow has to.
    """

    endpoint: str
    parameters: frozenset[str]
    answer: Callable[[Catalog, Asked], Json | None]


def _version(catalog: Catalog, asked: Asked) -> Json | None:
    number = _number(asked)
    found = catalog.version(asked["name"], number) if number is not None else None
    return found and {"model_version": found}


def _aliased(catalog: Catalog, asked: Asked) -> Json | None:
    _validate_model_alias_name(asked["alias"])
    if asked["alias"].lower() == _REGISTERED_MODEL_ALIAS_LATEST:
        return None
    found = catalog.aliased(asked["name"], asked["alias"])
    return found and {"model_version": found}


def _download_uri(catalog: Catalog, asked: Asked) -> Json | None:
    number = _number(asked)
    found = catalog.source(asked["name"], number) if number is not None else None
    return {"artifact_uri": found} if found else None


def _model(catalog: Catalog, asked: Asked) -> Json | None:
    found = catalog.model(asked["name"])
    return found and {"registered_model": found}


def _number(asked: Asked) -> int | None:
    number: int = _validate_model_version(asked["version"])
    return number if number <= _MAX_VERSION else None


_BY_NUMBER = frozenset({"name", "version"})
READS = (
    Read(_get_model_version.__name__, _BY_NUMBER, _version),
    Read(_get_model_version_by_alias.__name__, frozenset({"name", "alias"}), _aliased),
    Read(_get_model_version_download_uri.__name__, _BY_NUMBER, _download_uri),
    Read(_get_registered_model.__name__, frozenset({"name"}), _model),
)


class NativeReads:
    """Answers reads that are usual and found; what else there is, the application behind it answers.

    Args:
        app: The application.
        catalog: Reads the registry.
        routes: What is answered here, by the paths at which MLflow has it.
    """

    def __init__(self, app: ASGIApp, catalog: Catalog, routes: Mapping[str, Read]) -> None:
        self._app = app
        self._catalog = catalog
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, or let it through."""
        read = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        asked = _asked(scope, read) if read else None
        body = await to_thread.run_sync(self._answer, read, asked) if read and asked else None
        if body is None:
            await self._app(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, read: Read, asked: Asked) -> bytes | None:
        """Return what is answered to the caller; None if MLflow has to answer."""
        try:
            caller = current_caller()
            check(caller, need_of(Route("GET", read.endpoint)))
            _validate_model_name(asked["name"])
            if not caller.principal.may(Permission.READ, asked["name"]):
                return None
            found = read.answer(self._catalog, asked)
        except (LockgateError, MlflowException):
            return None
        return json.dumps(found, separators=(",", ":")).encode() if found else None


def _asked(scope: Scope, read: Read) -> Asked | None:
    """Return what a call asks for; None if it is not as it usually is."""
    if any(name in _UNUSUAL for name, _ in scope["headers"]):
        return None
    try:
        said = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        return None
    asked = dict(said)
    return asked if len(said) == len(asked) and asked.keys() == read.parameters else None


def answers_reads(store: GovernedStore) -> bool:
    """Say whether reads are answered here.

    MLflow answers all of them where there is more to them than the database of one workspace: with workspaces, with a
    replica that it reads from, and with its exporter for Prometheus, which counts calls.
    """
    return not (
        MLFLOW_ENABLE_WORKSPACES.get() or store.read_engine is not None or PROMETHEUS_EXPORTER_ENV_VAR in os.environ
    )


def routes_of(mlflow: flask.Flask) -> Mapping[str, Read]:
    """Return what is answered here, by the paths at which MLflow has it."""
    by_endpoint = {read.endpoint: read for read in READS}
    return {
        rule.rule: by_endpoint[rule.endpoint]
        for rule in mlflow.url_map.iter_rules()
        if rule.endpoint in by_endpoint and "GET" in (rule.methods or ())
    }
