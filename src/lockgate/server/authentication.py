"""Finding out who is calling, from what the call brings along."""

import base64
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from starlette.requests import Request

from lockgate.access.claims import claimed
from lockgate.access.credentials import TOKEN_PREFIX, token_digest
from lockgate.access.identity import IdentityFile, Platform, Provider
from lockgate.access.jwt import claimed_issuer, end_of, looks_like_jwt
from lockgate.access.principals import Principal
from lockgate.database import people
from lockgate.errors import TooManyAttempts, Unauthenticated
from lockgate.registry.transaction import asking
from lockgate.server.cookies import Cookie, cookie
from lockgate.server.last_use import LastUse
from lockgate.server.oidc import Keys
from lockgate.server.proxies import forwarded_user
from lockgate.settings import WorkerSettings
from lockgate.workflow import identities, signing_in
from lockgate.workflow.signing_in import WRONG_PASSWORD, WRONG_TOKEN

_SESSION = "lockgate.session"


@dataclass(frozen=True)
class Found:
    """Who is calling, and whether their browser says so by itself whatever page makes it call."""

    principal: Principal
    by_itself: bool = False
    session: str | None = None


class Authentication:
    """Knows the ways to show who one is.

    Args:
        engine: The registry's database, where principals are.
        identity: The identity file.
        settings: The worker's settings.
    """

    def __init__(self, engine: Engine, identity: IdentityFile, settings: WorkerSettings) -> None:
        self._engine = engine
        self._identity = identity
        self._settings = settings
        self._last_use = LastUse(engine)
        self._keys = {entry.issuer: Keys(entry.issuer) for entry in identity.issuers}

    def keys(self, issuer: str) -> Keys:
        """Return the keys of an issuer of the file, the same for all calls of this process."""
        return self._keys[issuer]

    def who(self, request: Request) -> Found:
        """Return who is calling.

        Raises:
            Unauthenticated: if nobody known is.
        """
        header = request.headers.get("authorization")
        if header is not None:
            return Found(self._by_header(header, caller_address(request)))
        name = forwarded_user(request.scope)
        if name is not None:
            return Found(identities.named(self._engine, name), by_itself=True)
        session = cookie(request, Cookie.SESSION, self._settings)
        if session is None:
            raise Unauthenticated(
                "Sign in first: set MLFLOW_TRACKING_TOKEN (`lockgate tokens create` makes one), or "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
            )
        found = Found(self._by_session(session), by_itself=True, session=session)
        request.scope[_SESSION] = session
        return found

    def _by_header(self, header: str, address: str) -> Principal:
        scheme, _, credentials = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._by_bearer(credentials.strip(), address)
        if scheme.lower() == "basic":
            return self._by_basic(*_decode_basic(credentials.strip()), address)
        raise Unauthenticated("This way to authenticate is not known here. Use a bearer token or basic.")

    def _by_bearer(self, token: str, address: str) -> Principal:
        return self._by_jwt(token) if looks_like_jwt(token) else self._by_api_token(token, address)

    def _by_api_token(self, token: str, address: str) -> Principal:
        found = self._of_token(token, "api")
        if found is None:
            signing_in.refused_token(self._engine, address)
            raise Unauthenticated(f"{WRONG_TOKEN} An administrator makes a new one with `lockgate tokens create`.")
        self._last_use.note(found.token_id)
        return found

    def _by_session(self, token: str) -> Principal:
        found = self._of_token(token, "session")
        if found is None:
            raise Unauthenticated("You are signed out. Sign in again.")
        return found

    def _of_token(self, token: str, use: str) -> Principal | None:
        with asking(self._engine) as connection:
            return people.of_token(connection, token_digest(token), use)

    def _by_basic(self, name: str, password: str, address: str) -> Principal:
        if not password.startswith(TOKEN_PREFIX):
            return self._by_password(name, password, address)
        owner = self._by_api_token(password, address)
        if owner.name != name:
            raise Unauthenticated(WRONG_PASSWORD)
        return owner

    def _by_password(self, name: str, password: str, address: str) -> Principal:
        try:
            return signing_in.by_password(self._engine, name, password, address)
        except TooManyAttempts as error:
            # On 429 MLflow's client would wait in silence for as long as Retry-After says, and for minutes without it;
            # 401 it shows to its user at once.
            raise Unauthenticated(error.message, **error.details) from None

    def _by_jwt(self, token: str) -> Principal:
        entry = self._identity.issuing(claimed_issuer(token))
        if entry is None or not entry.audience:
            raise Unauthenticated(
                "Tokens of this issuer are not accepted here. The server's identity file names the issuers that are."
            )
        claims = self._keys[entry.issuer].claims(entry, token, entry.audience)
        match entry:
            case Provider():
                who = identities.principal_of(self._engine, entry, claimed(entry, claims))
                return replace(who, ends_at=end_of(claims))
            case Platform():
                account = entry.account_for(claims)
                if account is None:
                    raise Unauthenticated(
                        "The job's token is genuine, but no entry of the server's identity file trusts a job with its "
                        "claims (repository, branch, environment, ...)."
                    )
                return replace(identities.service_account(self._engine, account), ends_at=end_of(claims), is_job=True)


def caller_address(request: Request) -> str:
    """Return where a call comes from."""
    return request.client.host if request.client else ""


def session_of(request: Request) -> str | None:
    """Return the session that says who is calling, if it is a session that says so."""
    session: str | None = request.scope.get(_SESSION)
    return session


def _decode_basic(credentials: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:
        raise Unauthenticated("The basic credentials are malformed.") from None
    return name, password
