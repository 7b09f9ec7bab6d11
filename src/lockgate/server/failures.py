"""Errors to HTTP: one shape, MLflow's, for everything that goes wrong."""

import json
import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from mlflow.exceptions import MlflowException
from starlette.exceptions import HTTPException

from lockgate.errors import BadInput, LockgateError, NotFound

TOO_DEEP = "This call is nested too deeply to be read. Send something flatter."
_logger = logging.getLogger("lockgate.server")


def answer(error: LockgateError) -> JSONResponse:
    """Return the answer that tells of an error."""
    # Half a surrogate pair that somebody sent cannot be sent back.
    message = error.message.encode(errors="backslashreplace").decode()
    body = {"error_code": error.code, "message": message, "details": dict(error.details)}
    headers = {"WWW-Authenticate": 'Bearer realm="lockgate"'} if error.status == 401 else {}
    if "retry_after" in error.details:
        headers["Retry-After"] = str(error.details["retry_after"])
    return JSONResponse(body, error.status, headers)


def _in_json(_request: Request, error: LockgateError) -> Response:
    return answer(error)


def install(app: FastAPI, show: Callable[[Request, LockgateError], Response] = _in_json) -> None:
    """Make an application answer every error in our shape.

    Args:
        app: The application.
        show: Makes the answer that tells of an error of ours.
    """

    @app.exception_handler(LockgateError)
    async def _ours(request: Request, error: LockgateError) -> Response:
        return show(request, error)

    @app.exception_handler(MlflowException)
    async def _mlflows(_request: Request, error: MlflowException) -> JSONResponse:
        return JSONResponse(json.loads(error.serialize_as_json()), error.get_http_status_code())

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: RequestValidationError) -> Response:
        return show(request, BadInput(" ".join(_sentence(problem) for problem in error.errors())))

    @app.exception_handler(HTTPException)
    async def _routing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return show(request, NotFound(f"There is nothing at {request.method} {request.url.path}."))
        body = {"error_code": "BAD_REQUEST", "message": str(error.detail), "details": {}}
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(RecursionError)
    async def _too_deep(request: Request, _error: RecursionError) -> Response:
        return show(request, BadInput(TOO_DEEP))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        _logger.exception("An unforeseen error", exc_info=error)
        return show(request, LockgateError("Something went wrong inside Lockgate. The server's log says what."))


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    message = str(problem.get("ctx", {}).get("error") or problem["msg"])
    return f"{where}: {message}." if where else f"{message}."
