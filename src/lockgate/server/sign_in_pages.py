"""The pages to sign in and out."""

import base64
import json
import secrets
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Engine

from lockgate.access.claims import claimed
from lockgate.access.identity import IdentityFile, Provider
from lockgate.access.principals import Caller
from lockgate.access.session_tokens import form_token, is_form_token
from lockgate.errors import LockgateError, NotFound, Refused, Unauthenticated
from lockgate.server import forgery
from lockgate.server.authentication import SESSION_COOKIE, Authentication, caller_address, cookie, session_cookie
from lockgate.server.cookies import delete_cookie, set_cookie, set_session_cookie
from lockgate.server.edge import base_url
from lockgate.server.oidc import SigningIn
from lockgate.settings import WorkerSettings
from lockgate.workflow import identities, signing_in, tokens

#: Draws a page of a template; the status follows.
Page = Callable[..., Response]

#: Belongs to the sign-in form as a session belongs to all others.
_FORM_COOKIE = "lockgate_form"
#: What a browser keeps while it is at a provider.
_AWAY_COOKIE = "lockgate_away"
_AWAY_SECONDS = 600
_FORM_SECONDS = 12 * 3600

Next = Annotated[str, Query(max_length=2_000)]
_Text = Annotated[str, Form(max_length=2_000)]


def sign_in_pages(
    settings: WorkerSettings,
    engine: Engine,
    identity: IdentityFile,
    authentication: Authentication,
    page: Page,
    headers: dict[str, str],
) -> APIRouter:
    """Return the routes to sign in and out.

    Args:
        settings: The worker's settings.
        engine: The registry's database.
        identity: The identity file.
        authentication: The ways to show who one is.
        page: Draws a page.
        headers: What every answer of a page carries.
    """
    router = APIRouter(include_in_schema=False)
    prefix = settings.static_prefix

    def form(request: Request, status: int = 200, next: str = "", wrong: str = "") -> Response:
        kept = cookie(request.headers, _FORM_COOKIE) or secrets.token_urlsafe(32)
        shown = {"providers": identity.providers, "next": next, "wrong": wrong, "csrf": form_token(kept)}
        answer = page(request, "sign_in.html", status, **shown)
        set_cookie(answer, _FORM_COOKIE, kept, request, settings, _FORM_SECONDS)
        return answer

    def entered(request: Request, session: str, next: str) -> Response:
        answer = RedirectResponse(_local(next) or f"{prefix}/", 303, headers)
        set_session_cookie(answer, session, request, settings)
        return answer

    def check_form(request: Request, given: str) -> None:
        """Refuse to sign a browser in that did not ask for it: it would work under somebody else's name unawares."""
        forgery.check_origin(request, settings)
        kept = cookie(request.headers, _FORM_COOKIE)
        if kept is None or not is_form_token(kept, given):
            raise Refused("This page to sign in is out of date. Send the form once more.")

    @router.get("/sign-in")
    def sign_in_page(
        request: Request, token: Annotated[str | None, Query(max_length=500)] = None, next: Next = ""
    ) -> Response:
        if token is None:
            return form(request, next=next)
        # A token in a URL ends up in logs and histories: only one that is used up here and now may stand there.
        replaces = session_cookie(request.headers)
        try:
            session, principal = signing_in.by_token(engine, token, "sign-in", caller_address(request), replaces)
        except Unauthenticated as error:
            return form(request, 401, wrong=error.message)
        made = tokens.create(engine, Caller(principal, caller_address(request)), principal.name, None).token
        welcome = page(request, "welcome.html", token=made, caller=principal, csrf=form_token(session))
        set_session_cookie(welcome, session, request, settings)
        return welcome

    @router.post("/sign-in")
    def sign_in(
        request: Request,
        token: _Text = "",
        name: _Text = "",
        password: _Text = "",
        next: _Text = "",
        csrf_token: _Text = "",
    ) -> Response:
        address, replaces = caller_address(request), session_cookie(request.headers)
        try:
            check_form(request, csrf_token)
            if token.strip():
                return entered(request, signing_in.by_token(engine, token.strip(), "api", address, replaces)[0], next)
            principal = signing_in.by_password(engine, name.strip(), password, address)
            return entered(request, signing_in.begin(engine, principal, "password", address, replaces), next)
        except LockgateError as error:
            return form(request, error.status, next, error.message)

    @router.get("/sign-in/with")
    def go_to_provider(request: Request, provider: Annotated[str, Query(max_length=60)], next: Next = "") -> Response:
        kept = {"secret": secrets.token_urlsafe(32), "provider": provider, "next": _local(next) or ""}
        try:
            answer = RedirectResponse(going(request, kept).url(), 303, headers)
        except LockgateError as error:
            return form(request, error.status, next, error.message)
        packed = base64.urlsafe_b64encode(json.dumps(kept).encode()).decode()
        set_cookie(answer, _AWAY_COOKIE, packed, request, settings, _AWAY_SECONDS)
        return answer

    @router.get("/sign-in/callback")
    def back_from_provider(request: Request) -> Response:
        kept = _unpacked(cookie(request.headers, _AWAY_COOKIE))
        address, name = caller_address(request), kept.get("provider", "")
        try:
            provider = _provider(identity, name)
            claims = going(request, kept).claims(dict(request.query_params))
            principal = identities.principal_of(engine, provider, claimed(provider, claims))
        except LockgateError as error:
            if not isinstance(error, NotFound):
                signing_in.refused_by_provider(engine, name, address, error.message)
            return form(request, error.status, kept.get("next", ""), error.message)
        # What the browser kept while away stays for its minutes: without a code, which works once, it is of no use, and
        # MLflow's middleware lets only one cookie of an answer through.
        how, replaces = f"provider {provider.name}", session_cookie(request.headers)
        return entered(request, signing_in.begin(engine, principal, how, address, replaces), kept["next"])

    def going(request: Request, kept: dict[str, str]) -> SigningIn:
        provider = _provider(identity, kept["provider"])
        back = f"{base_url(request, settings)}/lockgate/sign-in/callback"
        return SigningIn(provider, authentication.keys(provider.issuer), kept["secret"], back)

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        signing_in.sign_out(engine, session_cookie(request.headers) or "", caller_address(request))
        answer = RedirectResponse(f"{prefix}/lockgate/sign-in", 303, headers)
        delete_cookie(answer, SESSION_COOKIE, settings, "/")
        return answer

    return router


def _provider(identity: IdentityFile, name: str) -> Provider:
    found = next((provider for provider in identity.providers if provider.name == name), None)
    if found is None:
        raise NotFound("This sign-in has been under way for too long, or began elsewhere. Begin again.")
    return found


def _unpacked(kept: str | None) -> dict[str, str]:
    """Read what a browser kept while it was away; nothing of it is believed, but it is of use only to that browser."""
    try:
        found = json.loads(base64.urlsafe_b64decode(kept or ""))
    except ValueError:
        return {}
    whole = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("secret", "provider", "next"))
    return found if whole else {}


def _local(path: str) -> str | None:
    """Return a path of this site, or None for anything that could lead elsewhere."""
    lasting = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if lasting else None
