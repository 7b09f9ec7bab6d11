"""The pages: a request with what it still needs, the history of a model, webhooks, and those to sign in."""

from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy import Engine

from lockgate.access.identity import IdentityFile
from lockgate.access.principals import current_caller
from lockgate.errors import BadInput, NotFound
from lockgate.server import view
from lockgate.server.api import history, list_requests
from lockgate.server.authentication import Authentication
from lockgate.server.calls import PageToken, in_workspace
from lockgate.server.drawing import WEB, Drawing
from lockgate.server.provider_pages import ProviderPages
from lockgate.server.sign_in_pages import SignInPages
from lockgate.server.webhook_pages import WebhookPages
from lockgate.settings import WorkerSettings
from lockgate.wire.words import RowId
from lockgate.workflow import look
from lockgate.workflow.stores import stores


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
    drawing = Drawing(settings)
    signing_in = SignInPages(settings, engine, identity, drawing)
    router.include_router(signing_in.router())
    router.include_router(ProviderPages(settings, engine, identity, authentication, signing_in).router())
    router.include_router(WebhookPages(settings, drawing).router())

    @router.get("/requests", dependencies=[Depends(in_workspace)])
    def requests_page(request: Request, page_token: PageToken = None) -> Response:
        listed = list_requests(stores(), current_caller(), page_token=page_token)
        return drawing.page(request, "requests.html", asked=listed.requests, next_page_token=listed.next_page_token)

    @router.get("/requests/{request_id}", dependencies=[Depends(in_workspace)])
    def request_page(request: Request, request_id: RowId) -> Response:
        asked = view.request(look.request(stores(), request_id), current_caller().base_url)
        return drawing.page(request, "request.html", asked=asked)

    @router.get("/models/{name}/history", dependencies=[Depends(in_workspace)])
    def history_page(request: Request, name: str, target: str = "", at: str = "") -> Response:
        held = history(name, stores(), current_caller(), target.strip() or None, _in_utc(at))
        return drawing.page(request, "history.html", model=name, held=held.history, target=target, at=at)

    @router.get("/")
    def home() -> Response:
        return RedirectResponse(f"{settings.static_prefix}/lockgate/requests", 303)

    router.mount("/static", StaticFiles(directory=WEB / "static"))

    @router.get("/{path:path}")
    def nothing(path: str) -> Response:
        raise NotFound(f"There is no page {path}. Those that there are stand at the top.")

    return router


def _in_utc(at: str) -> datetime | None:
    """Read a moment as a form gives it, without a time zone."""
    if not at.strip():
        return None
    try:
        moment = datetime.fromisoformat(at.strip())
    except ValueError:
        raise BadInput("That is no time. Write it as in 2026-05-12T14:00, in UTC.") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
