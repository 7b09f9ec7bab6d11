"""What every answer tells a browser, so that nothing that somebody uploaded runs as a page of ours."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.settings import WorkerSettings

#: A year. Not for subdomains: they are somebody else's to decide about.
_HSTS = "max-age=31536000"
#: What MLflow's UI consists of, the only thing here that needs scripts. Our pages say themselves what they need.
_UI = ("/static-files/",)
_UI_INDEX = ("", "/")


class BrowserHeaders:
    """Adds headers to the answers of an application where they don't say more themselves.

    Everything but MLflow's UI is sandboxed. MLflow sends artifacts as attachments; a browser that shows one all the
    same, or an answer of an API, then runs no script of it and gives it no cookie. What scripts fetch is not
    affected, so MLflow's UI shows artifacts as ever.

    Args:
        app: The application.
        settings: The worker's settings.
    """

    def __init__(self, app: ASGIApp, settings: WorkerSettings) -> None:
        self._app = app
        self._prefix = settings.static_prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and add to its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                if scope["scheme"] == "https":
                    headers["Strict-Transport-Security"] = _HSTS
                if not self._is_ui(scope["path"]):
                    headers.setdefault("Content-Security-Policy", "sandbox; default-src 'none'")
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _is_ui(self, path: str) -> bool:
        inner = path.removeprefix(self._prefix)
        return inner in _UI_INDEX or inner.startswith(_UI)
