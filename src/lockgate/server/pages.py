"""The pages: a request with what it still needs, and those to sign in."""

from pathlib import Path

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine

from lockgate.access.identity import IdentityFile
from lockgate.access.principals import current_caller
from lockgate.access.session_tokens import form_token
from lockgate.errors import LockgateError
from lockgate.server import view
from lockgate.server.api import list_requests
from lockgate.server.authentication import Authentication, session_cookie
from lockgate.server.calls import PageToken, in_workspace
from lockgate.server.sign_in_pages import sign_in_pages
from lockgate.settings import WorkerSettings
from lockgate.wire.words import RowId
from lockgate.workflow import look
from lockgate.workflow.stores import stores

_WEB = Path(__file__).parent.parent / "web"
_templates = Jinja2Templates(_WEB / "templates")
#: Nothing inline, nothing from elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def pages(
    settings: WorkerSettings, engine: Engine, identity: IdentityFile, authentication: Authentication
) -> APIRouter:
    """Return the routes of our pages.

    Args:
        settings: The worker's settings.
        engine: The registry's database.
        identity: The identity file.
        authentication: The ways to show who one is.
    """
    router = APIRouter(include_in_schema=False)
    prefix = settings.static_prefix

    def page(request: Request, template: str, status: int = 200, **shown: object) -> HTMLResponse:
        session = session_cookie(request.headers)
        context = {"prefix": prefix, "csrf": form_token(session) if session else "", **shown}
        return _templates.TemplateResponse(request, template, context, status, headers=_HEADERS)

    router.include_router(sign_in_pages(settings, engine, identity, authentication, page, _HEADERS))

    @router.get("/requests", dependencies=[Depends(in_workspace)])
    def requests_page(request: Request, page_token: PageToken = None) -> Response:
        caller = current_caller()
        try:
            listed = list_requests(stores(), caller, page_token=page_token)
        except LockgateError as error:
            return page(request, "failure.html", error.status, message=error.message)
        return page(
            request,
            "requests.html",
            asked=listed.requests,
            next_page_token=listed.next_page_token,
            caller=caller.principal,
        )

    @router.get("/requests/{request_id}", dependencies=[Depends(in_workspace)])
    def request_page(request: Request, request_id: RowId) -> Response:
        caller = current_caller()
        try:
            asked = view.request(look.request(stores(), request_id), caller.base_url)
        except LockgateError as error:
            return page(request, "failure.html", error.status, message=error.message)
        return page(request, "request.html", asked=asked, caller=caller.principal)

    @router.get("/")
    def home() -> Response:
        return RedirectResponse(f"{prefix}/lockgate/requests", 303)

    router.mount("/static", StaticFiles(directory=_WEB / "static"))
    return router
