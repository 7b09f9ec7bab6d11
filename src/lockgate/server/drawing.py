"""Drawing a page: its template in the product's look, with the headers that every page of ours carries."""

import re
from datetime import UTC, datetime
from pathlib import Path

from fastapi import Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from lockgate.access.principals import Principal, current_caller
from lockgate.access.roles import Permission
from lockgate.access.session_tokens import form_token
from lockgate.errors import LockgateError, Unauthenticated
from lockgate.server import failures
from lockgate.server.authentication import session_of
from lockgate.settings import WorkerSettings

WEB = Path(__file__).parent.parent / "web"
#: Nothing inline, nothing from elsewhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_templates = Jinja2Templates(WEB / "templates")


def _prose(text: str) -> Markup:
    """Return a sentence of ours for a page, with the commands in it set apart."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704


def _time(at: datetime) -> str:
    """Return a time as people read it, in UTC."""
    moment = at.astimezone(UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03} UTC"


_templates.env.filters["prose"] = _prose
_templates.env.filters["time"] = _time


class Drawing:
    """Draws pages.

    Args:
        settings: The worker's settings.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._prefix = settings.static_prefix

    def page(self, request: Request, template: str, status: int = 200, **shown: object) -> Response:
        """Return a page: that of whoever is calling, where nothing else is said.

        Args:
            request: The call.
            template: The name of its template.
            status: The status of the answer.
            shown: What the template shows.
        """
        session = session_of(request)
        # Without a session there is no form: who a proxy signed in can't sign out here.
        csrf = form_token(session) if session else ""
        caller = _caller()
        tells = caller is not None and caller.may_somewhere(Permission.GOVERN)
        context = {"prefix": self._prefix, "csrf": csrf, "caller": caller, "tells": tells, **shown}
        return _templates.TemplateResponse(request, template, context, status, headers=HEADERS)

    def failure(self, request: Request, error: LockgateError) -> Response:
        """Return the page that tells of an error."""
        return self.page(request, "failure.html", error.status, message=error.message)

    def told(self, request: Request, error: LockgateError) -> Response:
        """Return the answer that tells of an error: a page where pages are, else what programs read."""
        if request.url.path.startswith(f"{self._prefix}/lockgate/"):
            return self.failure(request, error)
        return failures.answer(error)


def wants_page(request: Request) -> bool:
    """Say whether somebody will look at the answer in a browser."""
    return "text/html" in request.headers.get("accept", "")


def _caller() -> Principal | None:
    try:
        return current_caller().principal
    except Unauthenticated:
        return None
