"""How much a call may send: what has to be in memory as a whole is bounded, and refused before anything is done."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.errors import TooLarge
from lockgate.server import bodies, failures
from lockgate.server.openings import Openings
from lockgate.settings import WorkerSettings

KB = 1024
MB = 1024 * KB
#: Of a form of a page, the only thing that somebody may send before they are known.
FORM_LIMIT = 64 * KB
#: Of our own routes. The largest thing they take is a policy.
OUR_LIMIT = MB

_OURS = ("/api/lockgate/", "/lockgate/")
#: Streamed to their destination as they come, so they may be of any size.
_UPLOADS = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")


def body_limit(method: str, path: str, settings: WorkerSettings, openings: Openings) -> int | None:
    """Return how large the body of a call may be, in bytes; None if it may be of any size."""
    if openings.include(method, path):
        return FORM_LIMIT if method == "POST" else 0
    inner = path.removeprefix(settings.static_prefix)
    if method == "PUT" and inner.startswith(_UPLOADS):
        return None
    return OUR_LIMIT if inner.startswith(_OURS) else settings.max_body_mb * MB


class Limits:
    """Refuses bodies that are too large, also those that don't say beforehand how large they are.

    A body is read as a whole before the application is called, as MLflow does anyway: however slowly it comes, it
    holds no thread and no transaction.

    Args:
        app: The application.
        settings: The worker's settings.
        openings: What may be called by anybody, and so takes less.
    """

    def __init__(self, app: ASGIApp, settings: WorkerSettings, openings: Openings) -> None:
        self._app = app
        self._settings = settings
        self._openings = openings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through, or answer that it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = body_limit(scope["method"], scope["path"], self._settings, self._openings)
        headers = Headers(scope=scope)
        if limit is None or not ("content-length" in headers or "transfer-encoding" in headers):
            await self._app(scope, receive, send)
            return
        body = None if _declared(headers) > limit else await bodies.read(receive, limit)
        if body is None:
            await failures.answer(too_large(limit))(scope, receive, send)
            return
        await self._app(scope, bodies.again(body, receive), send)


def _declared(headers: Headers) -> int:
    said = headers.get("content-length", "0")
    return int(said) if said.isdecimal() else 0


def too_large(limit: int) -> TooLarge:
    """Return what to answer to a body of more than so many bytes."""
    if limit == 0:
        return TooLarge("This call takes no body. Send it without one.")
    size = f"{limit // MB} MB" if limit >= MB else f"{limit // KB} KB"
    raised = " An administrator can raise it with `lockgate server --max-body-mb`." if limit > OUR_LIMIT else ""
    return TooLarge(
        f"The body of this call is larger than {size}. Nothing was changed. Send less at once, and large "
        f"things as artifacts.{raised}"
    )
