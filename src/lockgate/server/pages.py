"""The pages: sign in, and a request with what it still needs."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import Engine

from lockgate.access.principals import Caller, current_caller
from lockgate.errors import LockgateError
from lockgate.server import view
from lockgate.server.api import PageToken, in_workspace, list_requests
from lockgate.server.edge import SESSION_COOKIE
from lockgate.settings import WorkerSettings
from lockgate.wire import RowId
from lockgate.workflow import look, people, tokens
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


def pages(settings: WorkerSettings, engine: Engine) -> APIRouter:
    """Return the routes of our pages.

    Args:
        settings: The worker's settings.
        engine: The registry's database.
    """
    router = APIRouter(include_in_schema=False)
    prefix = settings.static_prefix

    def page(request: Request, template: str, status: int = 200, **shown: object) -> HTMLResponse:
        context = {"prefix": prefix, **shown}
        return _templates.TemplateResponse(request, template, context, status, headers=_HEADERS)

    @router.get("/sign-in")
    def sign_in_page(
        request: Request,
        token: Annotated[str | None, Query(max_length=500)] = None,
        next: Annotated[str, Query(max_length=2_000)] = "",
    ) -> Response:
        # A token in a URL ends up in logs: only one that is used up here and now may stand there.
        if token is None:
            return page(request, "sign_in.html", wrong=False, next=next)
        signed_in = people.sign_in(engine, token, "sign-in")
        if signed_in is None:
            return page(request, "sign_in.html", 401, wrong=True, next="")
        session_token, principal = signed_in
        made = tokens.create(engine, Caller(principal), principal.name, None).token
        welcome = page(request, "welcome.html", token=made, caller=principal)
        return remember(request, welcome, session_token)

    @router.post("/sign-in")
    def sign_in(
        request: Request,
        token: Annotated[str, Form(max_length=500)],
        next: Annotated[str, Form(max_length=2_000)] = "",
    ) -> Response:
        signed_in = people.sign_in(engine, token.strip(), "api")
        if signed_in is None:
            return page(request, "sign_in.html", 401, wrong=True, next=next)
        return remember(request, RedirectResponse(_local(next) or f"{prefix}/", 303, _HEADERS), signed_in[0])

    def remember(request: Request, answer: Response, session_token: str) -> Response:
        answer.set_cookie(
            SESSION_COOKIE,
            session_token,
            max_age=int(people.SESSION_LIFETIME.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https" or settings.public_url.startswith("https:"),
            path=f"{prefix}/",
        )
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        people.sign_out(engine, request.cookies.get(SESSION_COOKIE, ""))
        answer = RedirectResponse(f"{prefix}/lockgate/sign-in", 303, _HEADERS)
        answer.delete_cookie(SESSION_COOKIE, path=f"{prefix}/")
        return answer

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


def _local(path: str) -> str | None:
    """Return a path of this site, or None for anything that could lead elsewhere."""
    lasting = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if lasting else None
