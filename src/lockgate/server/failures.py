"""Errors to HTTP: one shape, MLflow's, for everything that goes wrong."""

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
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


def install(app: FastAPI) -> None:
    """Make an application answer every error in our shape."""

    @app.exception_handler(LockgateError)
    async def _ours(_request: Request, error: LockgateError) -> JSONResponse:
        return answer(error)

    @app.exception_handler(MlflowException)
    async def _mlflows(_request: Request, error: MlflowException) -> JSONResponse:
        return JSONResponse(json.loads(error.serialize_as_json()), error.get_http_status_code())

    @app.exception_handler(RequestValidationError)
    async def _malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(BadInput(" ".join(_sentence(problem) for problem in error.errors())))

    @app.exception_handler(HTTPException)
    async def _routing(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return answer(NotFound(f"There is nothing at {request.method} {request.url.path}."))
        body = {"error_code": "BAD_REQUEST", "message": str(error.detail), "details": {}}
        return JSONResponse(body, error.status_code, error.headers)

    @app.exception_handler(RecursionError)
    async def _too_deep(_request: Request, _error: RecursionError) -> JSONResponse:
        return answer(BadInput(TOO_DEEP))

    @app.exception_handler(Exception)
    async def _unforeseen(_request: Request, error: Exception) -> JSONResponse:
        _logger.exception("An unforeseen error", exc_info=error)
        return answer(LockgateError("Something went wrong inside Lockgate. The server's log says what."))


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    message = str(problem.get("ctx", {}).get("error") or problem["msg"])
    return f"{where}: {message}." if where else f"{message}."
