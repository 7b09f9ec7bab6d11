"""A connection to a Lockgate server, configured by the environment variables of the `mlflow` client."""

import os
from collections.abc import Mapping
from typing import Any

import httpx

from lockgate.errors import (
    AlreadyExists,
    BadInput,
    Conflict,
    LockgateError,
    NotFound,
    Refused,
    Unauthenticated,
)

DEFAULT_URI = "http://localhost:5000"
_API = "/api/lockgate/v1"
_TIMEOUT = httpx.Timeout(60, connect=10)
_ERRORS: dict[str, type[LockgateError]] = {
    kind.code: kind for kind in (AlreadyExists, BadInput, Conflict, NotFound, Refused, Unauthenticated)
}


class Unreachable(LockgateError):
    """The server can't be reached: check the address, or whether it runs."""


class Connection:
    """Calls a server's API.

    Args:
        uri: The server: what `MLFLOW_TRACKING_URI` says.
        environment: Where the credentials come from: `MLFLOW_TRACKING_TOKEN`, or `MLFLOW_TRACKING_USERNAME` and
            `MLFLOW_TRACKING_PASSWORD`; `MLFLOW_WORKSPACE`, `MLFLOW_TRACKING_INSECURE_TLS` and
            `MLFLOW_TRACKING_SERVER_CERT_PATH` mean what they mean to `mlflow`.
    """

    def __init__(self, uri: str, environment: Mapping[str, str] = os.environ) -> None:
        if not uri.startswith(("http://", "https://")):
            raise BadInput(f"MLFLOW_TRACKING_URI must name a Lockgate server (http://...), not {uri!r}.")
        insecure = environment.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._http = httpx.Client(
            base_url=uri.rstrip("/") + _API,
            auth=_credentials(environment),
            headers=_headers(environment),
            timeout=_TIMEOUT,
            verify=not insecure and (environment.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True),
        )
        self._uri = uri

    @classmethod
    def from_environment(cls) -> "Connection":
        """Connect to the server that `MLFLOW_TRACKING_URI` names."""
        return cls(os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI)

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **parameters: str | int | None
    ) -> Any:
        """Call the API.

        Args:
            method: The HTTP method.
            path: The path below the API's own.
            body: The JSON body.
            **parameters: Of the query; None leaves one out.

        Returns:
            The answer's JSON; None if it has none.

        Raises:
            LockgateError: with what the server said, of the kind that it said.
        """
        response = self._answer(method, path, body, parameters)
        try:
            return response.json() if response.content else None
        except ValueError:
            raise LockgateError(f"{self._uri} answered, but not with JSON: is it a Lockgate server?") from None

    def lines(self, path: str, **parameters: str | int | None) -> list[bytes]:
        """Get something that comes as lines.

        Args:
            path: The path below the API's own.
            **parameters: Of the query; None leaves one out.

        Raises:
            LockgateError: with what the server said, of the kind that it said.
        """
        # Only this ends a line here: a text may hold other characters that do elsewhere.
        return [line for line in self._answer("GET", path, None, parameters).content.split(b"\n") if line]

    def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None, parameters: Mapping[str, str | int | None]
    ) -> httpx.Response:
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            response = self._http.request(method, path, json=body, params=given)
        except httpx.TransportError as error:
            raise Unreachable(
                f"No answer from {self._uri} ({error}). Is the server up, and MLFLOW_TRACKING_URI right?"
            ) from None
        if not response.is_success:
            raise _error(response, self._uri)
        return response


def _credentials(environment: Mapping[str, str]) -> httpx.Auth | None:
    token = environment.get("MLFLOW_TRACKING_TOKEN", "").strip()
    if any(character.isspace() for character in token):
        raise BadInput("MLFLOW_TRACKING_TOKEN holds more than one word: it is one token and nothing else.")
    name = environment.get("MLFLOW_TRACKING_USERNAME")
    password = environment.get("MLFLOW_TRACKING_PASSWORD")
    # The mlflow client prefers the user name too where both are given.
    if name and password:
        return httpx.BasicAuth(name, password)
    return _Bearer(token) if token else None


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    workspace = environment.get("MLFLOW_WORKSPACE")
    return {"X-MLFLOW-WORKSPACE": workspace} if workspace else {}


def _error(response: httpx.Response, uri: str) -> LockgateError:
    try:
        body = response.json()
        kind = _ERRORS.get(body["error_code"], LockgateError)
        return kind(body["message"], **(body.get("details") or {}))
    except (ValueError, KeyError, TypeError):
        return LockgateError(f"{uri} answered {response.status_code} and nothing that Lockgate would: is it one?")
