"""The edge: who is calling. Nothing passes anonymously but health checks and the way to sign in."""

from datetime import UTC, datetime
from urllib.parse import quote

import anyio
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.access.principals import Caller, Principal, calling
from lockgate.access.roles import Permission
from lockgate.access.session_tokens import is_due
from lockgate.errors import LockgateError, Refused, Unauthenticated
from lockgate.server import failures, forgery
from lockgate.server.authentication import Authentication, Found, caller_address
from lockgate.server.cookies import set_session_cookie
from lockgate.settings import WorkerSettings
from lockgate.workflow import signing_in

_OPEN_PATHS = frozenset({"/health", "/version", "/healthz", "/readyz", "/favicon.ico", "/lockgate/sign-in"})
_OPEN_FOLDERS = ("/static-files/", "/lockgate/static/", "/lockgate/sign-in/")


class Edge:
    """Authenticates every call before the application sees it.

    Args:
        app: What is behind the edge.
        engine: The registry's database, where sessions are.
        settings: The worker's settings.
        authentication: The ways to show who one is.
    """

    def __init__(self, app: ASGIApp, engine: Engine, settings: WorkerSettings, authentication: Authentication) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings
        self._authentication = authentication

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through as somebody, or answer that it may not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope, receive)
        if self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            found = await anyio.to_thread.run_sync(self._authentication.who, request)
            caller = self._caller(request, found.principal)
            if found.by_itself and forgery.is_change(request):
                receive = await self._meant(request, found, receive)
        except LockgateError as error:
            await self._refuse(request, error)(scope, receive, send)
            return
        renewed = await self._renewed(found.session)
        with calling(caller):
            await self._app(scope, receive, self._giving(request, renewed, send) if renewed else send)

    def _is_open(self, path: str) -> bool:
        inner = path.removeprefix(self._settings.static_prefix)
        return inner in _OPEN_PATHS or (inner.startswith(_OPEN_FOLDERS) and ".." not in inner)

    def _caller(self, request: Request, principal: Principal) -> Caller:
        if not principal.may_somewhere(Permission.READ):
            raise Refused(
                f"{principal.name} has no role yet. Ask an administrator for one "
                f"(`lockgate users add {principal.name} --role viewer`)."
            )
        return Caller(principal, caller_address(request), base_url(request, self._settings))

    async def _meant(self, request: Request, found: Found, receive: Receive) -> Receive:
        """Refuse a change that another site makes a browser send; return how to read what is let through."""
        form = await forgery.read_form(request) if forgery.is_form(request) else None
        forgery.check_change(request, self._settings, found.session, form)
        return receive if form is None else _again(form, receive)

    async def _renewed(self, session: str | None) -> str | None:
        if session is None or not is_due(session, datetime.now(UTC)):
            return None
        try:
            return await anyio.to_thread.run_sync(signing_in.renew, self._engine, session)
        except LockgateError:
            return None  # The database is busy: the next call tries again.

    def _giving(self, request: Request, session: str, send: Send) -> Send:
        cookies = Response()
        set_session_cookie(cookies, session, request, self._settings)

        async def giving(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [header for header in cookies.raw_headers if header[0] == b"set-cookie"]
                taken = any(header[0].lower() == b"set-cookie" for header in message.get("headers", []))
                # An answer that sets the cookie itself, such as that of signing out, has the last word.
                message = {**message, "headers": [*message.get("headers", []), *([] if taken else given)]}
            await send(message)

        return giving

    def _refuse(self, request: Request, error: LockgateError) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "") and request.method == "GET"
        if isinstance(error, Unauthenticated) and wants_page:
            wanted = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
            return RedirectResponse(f"{self._settings.static_prefix}/lockgate/sign-in?next={wanted}", 303)
        return failures.answer(error)


def base_url(request: Request, settings: WorkerSettings) -> str:
    """Return where the caller reaches us: as configured, else as the call says."""
    if settings.public_url:
        return settings.public_url
    host = request.headers.get("host", "localhost")
    return f"{request.scope.get('scheme', 'http')}://{host}{settings.static_prefix}"


def _again(content: bytes, receive: Receive) -> Receive:
    """Return what gives a body that has been read once more, and then what comes after it."""
    left = [content]

    async def receiving() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return receiving
