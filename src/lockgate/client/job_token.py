"""A job of GitHub Actions shows who it is with its platform's own token, and asks for a new one before that ends."""

import time
from collections.abc import Callable, Generator, Mapping

import httpx

from lockgate.errors import Unauthenticated

#: GitHub's tokens last five minutes. A job may wait for hours.
_KEPT_SECONDS = 120.0
_TIMEOUT_SECONDS = 30.0


class JobToken(httpx.Auth):
    """Sends the token of the job.

    Args:
        url: Where the platform gives tokens.
        bearer: What the job shows there.
        audience: Whom the token is for, as the server's identity file says.
        clock: Tells the time in seconds.
    """

    def __init__(self, url: str, bearer: str, audience: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = httpx.URL(url).copy_merge_params({"audience": audience})
        self._bearer = bearer
        self._clock = clock
        self._token, self._since = "", 0.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "JobToken | None":
        """Return the token of this job, if `LOCKGATE_OIDC_AUDIENCE` says whom it is for.

        Args:
            environment: The variables of the job.

        Raises:
            Unauthenticated: if this job may have no token.
        """
        audience = environment.get("LOCKGATE_OIDC_AUDIENCE")
        if not audience:
            return None
        url, bearer = (environment.get(f"ACTIONS_ID_TOKEN_REQUEST_{part}", "") for part in ("URL", "TOKEN"))
        if not (url and bearer):
            raise Unauthenticated(
                "LOCKGATE_OIDC_AUDIENCE is set, and this is no job of GitHub Actions that may have a token. Give the "
                "job `permissions: {id-token: write}`; elsewhere set MLFLOW_TRACKING_TOKEN instead."
            )
        return cls(url, bearer, audience)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Put the token into a request."""
        if not self._token or self._clock() - self._since >= _KEPT_SECONDS:
            self._token, self._since = self.new(), self._clock()
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request

    def new(self) -> str:
        """Return a new token.

        Raises:
            Unauthenticated: if the platform gives none.
        """
        try:
            # A client of its own: the server's certificate is not the platform's.
            given = httpx.get(self._url, headers={"Authorization": f"Bearer {self._bearer}"}, timeout=_TIMEOUT_SECONDS)
            return str(given.raise_for_status().json()["value"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated(
                f"GitHub gave this job no token ({type(error).__name__}). Run the job again."
            ) from None
