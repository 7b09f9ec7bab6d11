"""Talking to OpenID providers: their metadata, keys, and the exchange of a code. Never inside a transaction."""

import asyncio
import base64
import hashlib
import hmac
import logging
import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from joserfc.jwk import KeySet

from lockgate.access.identity import Issuing, Provider
from lockgate.access.jwt import UnknownKey, public_keys, verified
from lockgate.binding import is_kept_secret
from lockgate.errors import LockgateError, Unauthenticated

_logger = logging.getLogger("lockgate.server")
#: How long one question to a provider may take, however it trickles in, and how long calls wait for another's.
_DEADLINE_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0
_MAX_BYTES = 1_000_000
#: How long keys are believed without asking, and how soon they may be asked for again for a key not among them.
_FRESH_SECONDS = 3600.0
_AGAIN_SECONDS = 60.0
_AGAIN_WITHOUT_SECONDS = 5.0
#: How long they are believed while the issuer does not answer.
_STALE_SECONDS = 24 * 3600.0
_NO_ANSWER = "The identity provider does not answer as it should. Try again in a moment."


class ProviderUnreachable(LockgateError):
    """The provider does not answer as it should: try again, or sign in another way."""

    code = "TEMPORARILY_UNAVAILABLE"
    status = 503


class Keys:
    """An issuer's public keys, as this process has last seen them.

    Args:
        issuer: The issuer's URL.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._keys = KeySet([])
        self._metadata: dict[str, Any] = {}
        self._fetched: float | None = None
        self._tried: float | None = None

    def claims(self, entry: Issuing, token: str, audience: tuple[str, ...]) -> dict[str, Any]:
        """Return the claims of a token of this issuer.

        Raises:
            Unauthenticated: if it is not valid.
            ProviderUnreachable: if the keys can't be had.
        """
        at = datetime.now(UTC)
        try:
            return verified(token, self._known(), entry.algorithms, entry.issuer, audience, at)
        except UnknownKey:
            self._fetch(_AGAIN_SECONDS, _PATIENCE_SECONDS)
        try:
            return verified(token, self._keys, entry.algorithms, entry.issuer, audience, at)
        except UnknownKey:
            raise Unauthenticated("The token is signed with a key that its issuer does not publish.") from None

    def metadata(self) -> dict[str, Any]:
        """Return what the issuer says about itself.

        Raises:
            ProviderUnreachable: if it does not answer, or says it is somebody else.
        """
        self._known()
        return self._metadata

    def _known(self) -> KeySet:
        if self._fetched is None or time.monotonic() - self._fetched > _FRESH_SECONDS:
            again = _AGAIN_WITHOUT_SECONDS if self._fetched is None else _AGAIN_SECONDS
            # While one call asks, the others go on with the keys that there are. Without any they wait, but not once it
            # is known that there may be no answer: each call that waits keeps a thread from all others.
            self._fetch(again, _PATIENCE_SECONDS if self._tried is None else 0)
        # Keys that were good this morning are better than nobody getting in.
        if self._fetched is None or time.monotonic() - self._fetched > _STALE_SECONDS:
            raise ProviderUnreachable(_NO_ANSWER)
        return self._keys

    def _fetch(self, not_before: float, patience: float) -> None:
        """Get the keys, unless they were asked for less than this many seconds ago.

        Args:
            not_before: The seconds.
            patience: How long to wait while another call asks, in seconds; 0 not to wait.

        Raises:
            ProviderUnreachable: if that took longer.
        """
        if not self._lock.acquire(timeout=patience):
            if patience:
                raise ProviderUnreachable(_NO_ANSWER)
            return
        try:
            if self._tried is None or time.monotonic() - self._tried >= not_before:
                self._ask()
                # From its end: those who waited meanwhile don't ask one after the other.
                self._tried = time.monotonic()
        finally:
            self._lock.release()

    def _ask(self) -> None:
        try:
            metadata = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if metadata.get("issuer") != self._issuer:
                raise ProviderUnreachable("it calls itself another issuer than the identity file does")
            self._keys = public_keys(_get(_endpoint(metadata, "jwks_uri")))
            self._metadata, self._fetched = metadata, time.monotonic()
        except ProviderUnreachable as error:
            _logger.warning("No keys from the identity provider %s: %s", self._issuer, error.message)


class SigningIn:
    """One browser's way to a provider and back.

    Everything that must not be guessed is derived from one secret, which only a cookie of that browser holds: so the
    answer is of use in that browser alone, and no server process needs to remember anything.

    Args:
        provider: The provider.
        keys: Its keys.
        secret: The secret.
        back: Where the provider sends the browser back to.
    """

    def __init__(self, provider: Provider, keys: Keys, secret: str, back: str) -> None:
        self._provider = provider
        self._keys = keys
        self._secret = secret
        self._back = back

    def url(self) -> str:
        """Return where to send the browser."""
        asked = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": self._back,
            "scope": " ".join(self._provider.scopes),
            "state": self._derived("state"),
            "nonce": self._derived("nonce"),
            "code_challenge": _base64(hashlib.sha256(self._derived("verifier").encode()).digest()),
            "code_challenge_method": "S256",
        }
        endpoint = _endpoint(self._keys.metadata(), "authorization_endpoint")
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def claims(self, answer: Mapping[str, str]) -> dict[str, Any]:
        """Return who the provider says has signed in.

        Args:
            answer: The parameters that the browser came back with.

        Raises:
            Unauthenticated: if the answer is not one to what this browser was sent for.
            ProviderUnreachable: if the provider does not do its part.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(), self._derived("state").encode()):
            raise Unauthenticated("This answer does not belong to a sign-in that began in this browser. Begin again.")
        if answer.get("iss", self._provider.issuer) != self._provider.issuer:
            raise Unauthenticated("This answer comes from another provider than it was asked of. Begin again.")
        if "error" in answer or not answer.get("code"):
            raise Unauthenticated(f"{self._provider.name} did not let you in. Begin again, or ask its administrators.")
        token = self._exchange(answer["code"])
        claims = self._keys.claims(self._provider, token, (self._provider.client_id,))
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), self._derived("nonce").encode()):
            raise Unauthenticated("The provider's token belongs to another sign-in. Begin again.")
        if claims.get("azp", self._provider.client_id) != self._provider.client_id:
            raise Unauthenticated("The provider's token was given to another application. Begin again.")
        return claims

    def _exchange(self, code: str) -> str:
        metadata = self._keys.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": self._derived("verifier"),
        }
        headers = {"Accept": "application/json"}
        secret = os.environ.get(self._provider.client_secret_env or "", "")
        ways = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret and "client_secret_basic" in ways:
            pair = f"{quote(self._provider.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._provider.client_id, **({"client_secret": secret} if secret else {})}
        answer = _asked("POST", _endpoint(metadata, "token_endpoint"), data=form, headers=headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated(f"{self._provider.name} gave no identity for this sign-in. Begin again.")
        return token

    def _derived(self, what: str) -> str:
        return _base64(hmac.new(self._secret.encode(), f"lockgate {what}".encode(), hashlib.sha256).digest())


def _get(url: str) -> dict[str, Any]:
    return _asked("GET", url)


def _asked(method: str, url: str, **options: Any) -> dict[str, Any]:
    """Ask a provider, following it nowhere else and reading no more than an answer of ours can be."""
    try:
        # A loop of its own, since only a task can be ended wherever it is: httpx itself limits each step, not all.
        answer = asyncio.run(asyncio.wait_for(_read(method, url, options), _DEADLINE_SECONDS))
        found = answer.json() if answer.is_success else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError):
        raise ProviderUnreachable(_NO_ANSWER) from None
    if answer.status_code in (400, 401) and method == "POST":
        raise Unauthenticated(
            "The identity provider did not accept the sign-in. Begin again; if that does not help, an "
            "administrator compares client_id and secret with the provider's."
        )
    if not isinstance(found, dict):
        raise ProviderUnreachable(_NO_ANSWER)
    return found


async def _read(method: str, url: str, options: Mapping[str, Any]) -> httpx.Response:
    async with (
        httpx.AsyncClient(follow_redirects=False, timeout=_DEADLINE_SECONDS) as client,
        client.stream(method, url, **options) as answer,
    ):
        content = b""
        async for chunk in answer.aiter_bytes():
            content += chunk
            if len(content) > _MAX_BYTES:
                raise ProviderUnreachable("The identity provider's answer is too long.")
        return httpx.Response(answer.status_code, content=content)


def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
    url = metadata.get(name)
    if not isinstance(url, str) or not is_kept_secret(url):
        raise ProviderUnreachable(f"The identity provider's metadata has no `{name}` that can be used.")
    return url


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
