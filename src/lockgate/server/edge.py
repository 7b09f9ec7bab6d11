"""The edge: who is calling. Nothing passes anonymously but health checks and the way to sign in."""

import base64
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

import anyio
from sqlalchemy import Engine
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lockgate.access.credentials import NOBODYS_HASH, TOKEN_PREFIX, password_matches, token_digest
from lockgate.access.principals import Caller, Principal, calling
from lockgate.access.roles import Permission
from lockgate.database import people
from lockgate.errors import LockgateError, Refused, Unauthenticated
from lockgate.registry.transaction import reading
from lockgate.server import failures
from lockgate.server.last_use import LastUse
from lockgate.settings import WorkerSettings

SESSION_COOKIE = "lockgate_session"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN_PATHS = frozenset({"/health", "/version", "/healthz", "/readyz", "/lockgate/sign-in", "/favicon.ico"})
_OPEN_FOLDERS = ("/static-files/", "/lockgate/static/")


class Edge:
    """Authenticates every call before the application sees it.

    Args:
        app: What is behind the edge.
        engine: The registry's database, where principals are.
        settings: The worker's settings.
    """

    def __init__(self, app: ASGIApp, engine: Engine, settings: WorkerSettings) -> None:
        self._app = app
        self._engine = engine
        self._settings = settings
        self._last_use = LastUse(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a call through as somebody, or answer that it may not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        if self._is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            caller = await anyio.to_thread.run_sync(self._identify, request)
        except LockgateError as error:
            await self._refuse(request, error)(scope, receive, send)
            return
        with calling(caller):
            await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        inner = path.removeprefix(self._settings.static_prefix)
        return inner in _OPEN_PATHS or (inner.startswith(_OPEN_FOLDERS) and ".." not in inner)

    def _identify(self, request: Request) -> Caller:
        principal = self._authenticate(request)
        if not principal.may_somewhere(Permission.READ):
            raise Refused(
                f"{principal.name} has no role yet. Ask an administrator for one "
                f"(`lockgate users add {principal.name} --role viewer`)."
            )
        address = request.client.host if request.client else ""
        return Caller(principal, address, base_url(request, self._settings))

    def _authenticate(self, request: Request) -> Principal:
        header = request.headers.get("authorization")
        if header is not None:
            return self._by_header(header)
        session_token = _cookie(request.headers)
        if session_token is None:
            raise Unauthenticated(
                "Sign in first: set MLFLOW_TRACKING_TOKEN (`lockgate tokens create` makes one), or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
        _check_same_origin(request)
        return self._by_token(session_token, "session")

    def _by_header(self, header: str) -> Principal:
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_token(credentials.strip(), "api")
        if scheme.lower() == "basic":
            return self._by_password(*_decode_basic(credentials.strip()))
        raise Unauthenticated("This way to authenticate is not known here. Use a bearer token or basic.")

    def _by_token(self, token: str, use: str) -> Principal:
        with reading(self._engine) as session:
            found = people.of_token(session, token_digest(token), use)
        if found is None:
            raise Unauthenticated(
                "The token is not valid (any more). An administrator makes a new one with `lockgate tokens create`."
            )
        if use == "api":
            self._last_use.note(found.token_id)
        return found

    def _by_password(self, name: str, password: str) -> Principal:
        if password.startswith(TOKEN_PREFIX):
            owner = self._by_token(password, "api")
            if owner.name == name:
                return owner
            raise Unauthenticated("The user name or the password is wrong.")
        with reading(self._engine) as session:
            stored = people.stored_password(session, name) if "\0" not in name else None
        matches = password_matches(stored[1] if stored else NOBODYS_HASH, password)
        if stored is None or not matches:
            raise Unauthenticated("The user name or the password is wrong.")
        with reading(self._engine) as session:
            return people.load(session, [stored[0]])[stored[0]]

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


def _cookie(headers: Headers) -> str | None:
    try:
        cookies: Mapping[str, object] = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None
    found = cookies.get(SESSION_COOKIE)
    return str(getattr(found, "value", "")) or None


def _check_same_origin(request: Request) -> None:
    """Refuse a change that another site makes a signed-in browser send.

    Browsers say where a call comes from in `Origin` and `Sec-Fetch-Site`
    (https://www.w3.org/TR/fetch-metadata/); one that says neither on a change is not trusted.
    """
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise Refused("This change came from another site, so it is refused.")
    if site is None and (origin is None or urlsplit(origin).netloc != request.headers.get("host")):
        raise Refused("This change does not say that it comes from this site, so it is refused.")


def _decode_basic(credentials: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        raise Unauthenticated("The basic credentials are malformed.") from None
    return name, password
