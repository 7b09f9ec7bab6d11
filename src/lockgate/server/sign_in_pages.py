"""The pages to sign in with a token or a password, and to sign out."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Engine

from lockgate.access.identity import IdentityFile
from lockgate.access.principals import Caller
from lockgate.access.session_tokens import LIFETIME, form_token, is_form_token
from lockgate.errors import LockgateError, Refused, Unauthenticated
from lockgate.server import forgery
from lockgate.server.authentication import caller_address, session_of
from lockgate.server.cookies import Cookie, cookie, give_cookie, take_cookie
from lockgate.server.drawing import HEADERS, Drawing
from lockgate.settings import WorkerSettings
from lockgate.workflow import signing_in, tokens

_FORM_SECONDS = 12 * 3600
_SESSION_SECONDS = int(LIFETIME.total_seconds())

_Text = Annotated[str, Form(max_length=2_000)]
_WantedField = Annotated[str, Form(alias="next", max_length=2_000)]
#: The page that somebody was on the way to, as the address of a page to sign in says it.
Wanted = Annotated[str, Query(alias="next", max_length=2_000)]


class SignInPages:
    """The form to sign in, what it sends, and signing out.

    Args:
        settings: The worker's settings.
        engine: The registry's database.
        identity: The identity file.
        drawing: Draws pages.
    """

    def __init__(self, settings: WorkerSettings, engine: Engine, identity: IdentityFile, drawing: Drawing) -> None:
        self._settings = settings
        self._engine = engine
        self._identity = identity
        self._drawing = drawing

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.get("/sign-in")(self.sign_in_page)
        router.post("/sign-in")(self.sign_in)
        router.post("/sign-out")(self.sign_out)
        return router

    def sign_in_page(
        self, request: Request, token: Annotated[str | None, Query(max_length=500)] = None, wanted: Wanted = ""
    ) -> Response:
        """Show the form; or, at the address that the first start prints, sign in with the token in it."""
        if token is None:
            return self.form(request, wanted)
        # A token in a URL ends up in logs and histories: only one that is used up here and now may stand there.
        address = caller_address(request)
        try:
            session, principal = signing_in.by_token(
                self._engine, token, "sign-in", address, self.session_before(request)
            )
        except Unauthenticated as error:
            return self.form(request, "", error)
        made = tokens.create(self._engine, Caller(principal, address), principal.name, None).token
        self._keep(request, session)
        return self._drawing.page(request, "welcome.html", token=made, caller=principal, csrf=form_token(session))

    def sign_in(
        self,
        request: Request,
        token: _Text = "",
        name: _Text = "",
        password: _Text = "",
        wanted: _WantedField = "",
        csrf_token: _Text = "",
    ) -> Response:
        """Sign in with what the form holds, or show it again with what is wrong."""
        try:
            self._check_form(request, csrf_token)
            session = self._session(request, token.strip(), name.strip(), password)
        except LockgateError as error:
            return self.form(request, wanted, error)
        return self.entered(request, session, wanted)

    def sign_out(self, request: Request) -> Response:
        """End the session."""
        signing_in.sign_out(self._engine, session_of(request) or "", caller_address(request))
        take_cookie(request, Cookie.SESSION, self._settings)
        return RedirectResponse(f"{self._settings.static_prefix}/lockgate/sign-in", 303, HEADERS)

    def form(self, request: Request, wanted: str, wrong: LockgateError | None = None) -> Response:
        """Return the page to sign in.

        Args:
            request: The call.
            wanted: Where signing in leads.
            wrong: Why it did not work.
        """
        try:
            self.session_before(request)
            kept = cookie(request, Cookie.FORM, self._settings)
        except Unauthenticated as error:
            kept, wrong = None, error
        kept = kept or secrets.token_urlsafe(32)
        give_cookie(request, Cookie.FORM, kept, self._settings, _FORM_SECONDS)
        return self._drawing.page(
            request,
            "sign_in.html",
            wrong.status if wrong else 200,
            providers=self._identity.providers,
            next=wanted,
            wrong=wrong.message if wrong else "",
            csrf=form_token(kept),
        )

    def entered(self, request: Request, session: str, wanted: str) -> Response:
        """Return the answer that lets a browser in, on to the page that it was on the way to."""
        self._keep(request, session)
        return RedirectResponse(local(wanted) or f"{self._settings.static_prefix}/", 303, HEADERS)

    def session_before(self, request: Request) -> str | None:
        """Return the session that a browser has before it signs in anew.

        Raises:
            Unauthenticated: if it has two.
        """
        return cookie(request, Cookie.SESSION, self._settings)

    def _session(self, request: Request, token: str, name: str, password: str) -> str:
        address, before = caller_address(request), self.session_before(request)
        if token:
            return signing_in.by_token(self._engine, token, "api", address, before)[0]
        principal = signing_in.by_password(self._engine, name, password, address)
        return signing_in.begin(self._engine, principal, "password", address, before)

    def _check_form(self, request: Request, given: str) -> None:
        """Refuse to sign a browser in that did not ask for it: it would work under somebody else's name unawares."""
        forgery.check_origin(request, self._settings)
        kept = cookie(request, Cookie.FORM, self._settings)
        if kept is None or not is_form_token(kept, given):
            raise Refused("This page to sign in is out of date. Send the form once more.")

    def _keep(self, request: Request, session: str) -> None:
        give_cookie(request, Cookie.SESSION, session, self._settings, _SESSION_SECONDS)


def local(path: str) -> str | None:
    """Return a path of this site, or None for anything that could lead elsewhere."""
    lasting = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if lasting else None
