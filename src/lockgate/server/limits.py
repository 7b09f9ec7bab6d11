"""How much a call may send: what has to be in memory as a whole is bounded, and refused before anything is done."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.errors import TooLarge
from lockgate.server import failures
from lockgate.settings import WorkerSettings

MB = 1024 * 1024
#: Of our own routes. The largest thing they take is a policy.
OUR_LIMIT = MB

_OURS = ("/api/lockgate/", "/lockgate/")
#: Streamed to their destination as they come, so they may be of any size.
_UPLOADS = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")


def body_limit(method: str, path: str, settings: WorkerSettings) -> int | None:
    """Return how large the body of a call may be, in bytes; None if it may be of any size."""
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
    """

    def __init__(self, app: ASGIApp, settings: WorkerSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through, or answer that it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = body_limit(scope["method"], scope["path"], self._settings)
        headers = Headers(scope=scope)
        if limit is None or not ("content-length" in headers or "transfer-encoding" in headers):
            await self._app(scope, receive, send)
            return
        body = None if _declared(headers) > limit else await _read(receive, limit)
        if body is None:
            await failures.answer(_too_large(limit))(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


def _declared(headers: Headers) -> int:
    said = headers.get("content-length", "0")
    return int(said) if said.isdecimal() else 0


async def _read(receive: Receive, limit: int) -> list[Message] | None:
    """Return the messages that bring a body; None once they bring more than may come."""
    messages: list[Message] = []
    size = 0
    while True:
        message = await receive()
        messages.append(message)
        size += len(message.get("body", b""))
        if size > limit:
            return None
        if message["type"] != "http.request" or not message.get("more_body", False):
            return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    left = iter(messages)

    async def next_message() -> Message:
        kept = next(left, None)
        return kept if kept is not None else await receive()

    return next_message


def _too_large(limit: int) -> TooLarge:
    raised = "" if limit == OUR_LIMIT else " An administrator can raise it with `lockgate server --max-body-mb`."
    return TooLarge(
        f"The body of this call is larger than {limit // MB} MB. Nothing was changed. Send less at once, and large "
        f"things as artifacts.{raised}"
    )
