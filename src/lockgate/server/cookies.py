"""The cookies of browsers, read and given: out of reach of scripts, of plain http where there is https, of other sites.

Over https their names say how they may be set (RFC 6265bis, cookie name prefixes): browsers take a `__Host-` cookie
from this very host only, and neither kind from plain http. So what a sibling site plants has another name than ours.
"""

from enum import StrEnum

from starlette.datastructures import MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockgate.errors import Unauthenticated
from lockgate.settings import WorkerSettings

_GIVEN = "lockgate.given_cookies"


class Cookie(StrEnum):
    """What browsers keep for us."""

    SESSION = "lockgate_session"
    #: Belongs to the form to sign in as a session belongs to all others.
    FORM = "lockgate_form"
    #: Kept while the browser is at a provider.
    AWAY = "lockgate_away"


class GivenCookies:
    """Adds to an answer the cookies that were given or taken away while it was made.

    It stands outside of MLflow's middleware, which lets only one cookie of an answer through.

    Args:
        app: What is behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and add to its answer."""
        given: dict[str, str] = {}
        scope[_GIVEN] = given

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for line in given.values():
                    headers.append("set-cookie", line)
            await send(message)

        await self._app(scope, receive, send_with_cookies)


def cookie(request: Request, kept: Cookie, settings: WorkerSettings) -> str | None:
    """Return what a browser keeps for us; None if it keeps nothing.

    Raises:
        Unauthenticated: if the cookie comes twice. One of the two is somebody else's, and nothing says which.
    """
    name = cookie_name(kept, request, settings)
    chunks = (chunk for line in request.headers.getlist("cookie") for chunk in line.split(";"))
    found = [parsed[name] for parsed in map(cookie_parser, chunks) if name in parsed]
    if len(found) > 1:
        raise Unauthenticated(
            f"Your browser sends the cookie {name} twice, so another site or an older sign-in left one that does not "
            "belong here. Delete the cookies of this site and its domain, then sign in."
        )
    return found[0] or None if found else None


def give_cookie(request: Request, kept: Cookie, value: str, settings: WorkerSettings, seconds: int) -> None:
    """Let a browser keep something for some seconds. What is given last to an answer's browser counts."""
    line = Response()
    line.set_cookie(
        name := cookie_name(kept, request, settings),
        value,
        max_age=seconds,
        httponly=True,
        samesite="lax",
        secure=_is_secure(request, settings),
        path=f"{settings.static_prefix}/",
    )
    request.scope[_GIVEN][name] = line.headers["set-cookie"]


def take_cookie(request: Request, kept: Cookie, settings: WorkerSettings) -> None:
    """Let a browser forget something."""
    give_cookie(request, kept, "", settings, 0)


def cookie_name(kept: Cookie, request: Request, settings: WorkerSettings) -> str:
    """Return what a cookie is called where the call came to."""
    if not _is_secure(request, settings):
        return kept.value
    # `__Host-` is for the whole host, which a static prefix shares with others.
    return f"__Secure-{kept}" if settings.static_prefix else f"__Host-{kept}"


def _is_secure(request: Request, settings: WorkerSettings) -> bool:
    return request.scope["scheme"] == "https" or settings.public_url.startswith("https:")
