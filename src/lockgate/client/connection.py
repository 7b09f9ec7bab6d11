"""A connection to a Lockgate server, configured by the environment variables of the `mlflow` client."""

import itertools
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from lockgate.client.job_token import JobToken
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
#: For how long to try again after a first failure, in seconds: longer than a server takes to start again; but where
#: nobody has answered at all, the address may be wrong.
_PATIENCE = 20.0
_PATIENCE_AT_A_CLOSED_DOOR = 2.0
#: How long to wait before the second try, and twice as long before each further one, in seconds.
_FIRST_PAUSE = 0.2
#: What may pass: a connection that was cut, or that nobody takes; an answer that is late, or a load balancer's own.
_PASSING = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.Response)
#: Where the call has reached nobody.
_NEVER_ARRIVED = (httpx.ConnectError, httpx.ConnectTimeout)
_LOOK = (
    "It is unknown whether the change was made: look before you try again, for example with `lockgate show` or "
    "`lockgate history`."
)
#: What a load balancer answers that has no server at the moment.
_AWAY = frozenset({502, 503, 504})
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
            `MLFLOW_TRACKING_PASSWORD`; before these, in a job of GitHub's, `LOCKGATE_OIDC_AUDIENCE`.
            `MLFLOW_WORKSPACE`, `MLFLOW_TRACKING_INSECURE_TLS` and `MLFLOW_TRACKING_SERVER_CERT_PATH` mean what they
            mean to `mlflow`.
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
        request = self._http.build_request(method, path, json=body, params=given, headers=_once(method))
        response = self._sent(request)
        if not response.is_success:
            raise _error(response, self._uri)
        return response

    def _sent(self, request: httpx.Request) -> httpx.Response:
        """Send a call until it is answered: it has a key, so that what is sent twice is made once."""
        may_be_done, until = False, 0.0
        for tries in itertools.count():
            came = self._tried(request)
            if isinstance(came, httpx.Response) and not _is_worth_repeating(came):
                return came
            if tries == 0:
                nobody = isinstance(came, httpx.ConnectError)
                until = time.monotonic() + (_PATIENCE_AT_A_CLOSED_DOOR if nobody else _PATIENCE)
            may_be_done = may_be_done or not isinstance(came, _NEVER_ARRIVED)
            left = until - time.monotonic()
            if left <= 0 or not isinstance(came, _PASSING):
                return self._given_up(came, may_be_done and request.method != "GET")
            time.sleep(min(_FIRST_PAUSE * 2**tries, left))
        raise AssertionError("a count has no end")

    def _tried(self, request: httpx.Request) -> httpx.Response | httpx.TransportError:
        try:
            return self._http.send(request)
        except httpx.TransportError as error:
            return error

    def _given_up(self, came: httpx.Response | httpx.TransportError, may_be_done: bool) -> httpx.Response:
        if isinstance(came, httpx.Response) and not (may_be_done and came.status_code in _AWAY):
            return came  # It says itself what is known.
        what = f"{came.status_code}" if isinstance(came, httpx.Response) else str(came)
        then = _LOOK if may_be_done else "Is the server up, and MLFLOW_TRACKING_URI right?"
        raise Unreachable(f"No answer from {self._uri} ({what}). {then}")


def _once(method: str) -> dict[str, str]:
    return {} if method == "GET" else {"Idempotency-Key": str(uuid.uuid4())}


def _is_worth_repeating(response: httpx.Response) -> bool:
    """Say whether an answer is that of a load balancer without a server, or of a server that lost its database."""
    if response.status_code == httpx.codes.CONFLICT:
        try:
            return bool(response.json()["details"].get("outcome") == "unknown")
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return response.status_code in _AWAY


def _credentials(environment: Mapping[str, str]) -> httpx.Auth | None:
    job = JobToken.from_environment(environment)
    if job is not None:
        return job
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
    otherwise = Unreachable if response.status_code in _AWAY else LockgateError
    try:
        body = response.json()
        kind = _ERRORS.get(body["error_code"], otherwise)
        return kind(body["message"], **(body.get("details") or {}))
    except (ValueError, KeyError, TypeError):
        return otherwise(f"{uri} answered {response.status_code} and nothing that Lockgate would: is it one?")
