"""The edge: who is calling. Nothing passes anonymously but what is open to anybody (`openings.py`)."""

from datetime import UTC, datetime
from urllib.parse import quote

import anyio
from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.access.principals import Caller, Principal, calling
from lockgate.access.roles import Permission
from lockgate.access.session_tokens import LIFETIME, is_due
from lockgate.errors import LockgateError, Refused, Unauthenticated
from lockgate.server import bodies, failures, forgery
from lockgate.server.authentication import Authentication, Found, caller_address
from lockgate.server.cookies import Cookie, give_cookie
from lockgate.server.drawing import Drawing, wants_page
from lockgate.server.limits import FORM_LIMIT, too_large
from lockgate.server.openings import Openings
from lockgate.server.refusals import OnRecord
from lockgate.settings import WorkerSettings
from lockgate.workflow import signing_in


class Edge:
    """Authenticates every call before the application sees it.

    Args:
        app: What is behind the edge.
        engine: The registry's database, where sessions are.
        settings: The worker's settings.
        authentication: The ways to show who one is.
        openings: What may be called by anybody.
    """

    def __init__(
        self,
        app: ASGIApp,
        engine: Engine,
        settings: WorkerSettings,
        authentication: Authentication,
        openings: Openings,
    ) -> None:
        self._app = app
        self._on_record = OnRecord(app, engine)
        self._engine = engine
        self._settings = settings
        self._authentication = authentication
        self._openings = openings
        self._drawing = Drawing(settings)
        self._pages = f"{settings.static_prefix}/lockgate"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through as somebody, or answer that it may not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        if self._openings.include(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            found = await anyio.to_thread.run_sync(self._authentication.who, request)
        except LockgateError as error:
            await self._refuse(request, error)(scope, receive, send)
            return
        caller = Caller(found.principal, caller_address(request), base_url(request, self._settings))
        try:
            if found.by_itself and forgery.is_change(request):
                receive = await self._meant(request, found, receive)
        except LockgateError as error:
            await self._on_record.refused(caller, scope, error.message)
            await self._refuse(request, error)(scope, receive, send)
            return
        if not self._may_come_in(request, found.principal):
            refused = _no_role(found.principal)
            await self._on_record.refused(caller, scope, refused.message)
            await self._without_role(request, found.principal, refused)(scope, receive, send)
            return
        await self._renew(request, found.session)
        with calling(caller):
            await self._on_record(caller, scope, receive, send)

    def _may_come_in(self, request: Request, principal: Principal) -> bool:
        # Who may do nothing may still leave.
        return principal.may_somewhere(Permission.READ) or request.scope["path"] == f"{self._pages}/sign-out"

    async def _meant(self, request: Request, found: Found, receive: Receive) -> Receive:
        """Refuse a change that another site makes a browser send; return how to read what is let through."""
        if not forgery.is_form(request):
            forgery.check_change(request, self._settings, found.session, None)
            return receive
        form = await bodies.read(receive, FORM_LIMIT)
        if form is None:
            raise too_large(FORM_LIMIT)
        forgery.check_change(request, self._settings, found.session, bodies.content(form))
        return bodies.again(form, receive)

    async def _renew(self, request: Request, session: str | None) -> None:
        """Give a session a new token if it is time. An answer that ends the session has the last word."""
        if session is None or not is_due(session, datetime.now(UTC)):
            return
        try:
            renewed = await anyio.to_thread.run_sync(signing_in.renew, self._engine, session)
        except LockgateError:
            return  # The database is busy: the next call tries again.
        if renewed is not None:
            give_cookie(request, Cookie.SESSION, renewed, self._settings, int(LIFETIME.total_seconds()))

    def _refuse(self, request: Request, error: LockgateError) -> Response:
        if not wants_page(request):
            return failures.answer(error)
        if isinstance(error, Unauthenticated):
            return RedirectResponse(f"{self._pages}/sign-in{_on_the_way_to(request)}", 303)
        return self._drawing.failure(request, error)

    def _without_role(self, request: Request, principal: Principal, refused: Refused) -> Response:
        if wants_page(request):
            return self._drawing.page(request, "no_role.html", Refused.status, caller=principal)
        return failures.answer(refused)


def _no_role(principal: Principal) -> Refused:
    return Refused(
        f"{principal.name} has no role yet. Ask an administrator for one "
        f"(`lockgate users add {principal.name} --role viewer`)."
    )


def base_url(request: Request, settings: WorkerSettings) -> str:
    """Return where the caller reaches us: as configured, else as the call says."""
    if settings.public_url:
        return settings.public_url
    host = request.headers.get("host", "localhost")
    return f"{request.scope.get('scheme', 'http')}://{host}{settings.static_prefix}"


def _on_the_way_to(request: Request) -> str:
    """Return the query that makes signing in lead to what was asked for. A change is not repeated after it."""
    if forgery.is_change(request):
        return ""
    return "?next=" + quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""))
