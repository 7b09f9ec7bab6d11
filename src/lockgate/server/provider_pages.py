"""The way to an OpenID provider and back."""

import base64
import json
import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Engine

from lockgate.access.claims import claimed
from lockgate.access.identity import IdentityFile, Provider
from lockgate.access.principals import Principal
from lockgate.errors import LockgateError, NotFound
from lockgate.server.authentication import Authentication, caller_address
from lockgate.server.cookies import Cookie, cookie, give_cookie, take_cookie
from lockgate.server.drawing import HEADERS
from lockgate.server.edge import base_url
from lockgate.server.oidc import SigningIn
from lockgate.server.sign_in_pages import SignInPages, Wanted, local
from lockgate.settings import WorkerSettings
from lockgate.workflow import identities, signing_in

_AWAY_SECONDS = 600


class ProviderPages:
    """Sends browsers to a provider and lets them in when they come back.

    Args:
        settings: The worker's settings.
        engine: The registry's database.
        identity: The identity file.
        authentication: The ways to show who one is.
        sign_in_pages: The form that this begins at and, where it fails, ends at.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        identity: IdentityFile,
        authentication: Authentication,
        sign_in_pages: SignInPages,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._identity = identity
        self._authentication = authentication
        self._sign_in_pages = sign_in_pages

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(include_in_schema=False)
        router.get("/sign-in/with")(self.go)
        router.get("/sign-in/callback")(self.back)
        return router

    def go(self, request: Request, provider: Annotated[str, Query(max_length=60)], wanted: Wanted = "") -> Response:
        """Send a browser to a provider."""
        kept = {"secret": secrets.token_urlsafe(32), "provider": provider, "next": local(wanted) or ""}
        try:
            answer = RedirectResponse(self._going(request, kept).url(), 303, HEADERS)
        except LockgateError as error:
            return self._sign_in_pages.form(request, wanted, error)
        give_cookie(request, Cookie.AWAY, _packed(kept), self._settings, _AWAY_SECONDS)
        return answer

    def back(self, request: Request) -> Response:
        """Let a browser in that comes back from a provider, or show the form with what is wrong."""
        address = caller_address(request)
        kept: dict[str, str] = {}
        try:
            before = self._sign_in_pages.session_before(request)
            kept = _unpacked(cookie(request, Cookie.AWAY, self._settings))
            principal = self._principal(request, kept)
        except LockgateError as error:
            if kept and not isinstance(error, NotFound):
                signing_in.refused_by_provider(self._engine, kept["provider"], address, error.message)
            # What the browser keeps stays: a forged return must not end a sign-in that is under way.
            return self._sign_in_pages.form(request, kept.get("next", ""), error)
        take_cookie(request, Cookie.AWAY, self._settings)
        session = signing_in.begin(self._engine, principal, f"provider {kept['provider']}", address, before)
        return self._sign_in_pages.entered(request, session, kept["next"])

    def _principal(self, request: Request, kept: dict[str, str]) -> Principal:
        provider = self._provider(kept.get("provider", ""))
        claims = self._going(request, kept).claims(dict(request.query_params))
        return identities.principal_of(self._engine, provider, claimed(provider, claims))

    def _going(self, request: Request, kept: dict[str, str]) -> SigningIn:
        provider = self._provider(kept["provider"])
        back = f"{base_url(request, self._settings)}/lockgate/sign-in/callback"
        return SigningIn(provider, self._authentication.keys(provider.issuer), kept["secret"], back)

    def _provider(self, name: str) -> Provider:
        found = next((provider for provider in self._identity.providers if provider.name == name), None)
        if found is None:
            raise NotFound("This sign-in has been under way for too long, or began elsewhere. Begin again.")
        return found


def _packed(kept: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(kept).encode()).decode()


def _unpacked(kept: str | None) -> dict[str, str]:
    """Read what a browser kept while it was away; nothing of it is believed, but it is of use only to that browser."""
    try:
        found = json.loads(base64.urlsafe_b64decode(kept or ""))
    except ValueError:
        return {}
    whole = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in ("secret", "provider", "next"))
    return found if whole else {}
