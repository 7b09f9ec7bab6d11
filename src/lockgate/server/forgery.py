"""Whether a change that a browser sends by itself, with its cookie, is meant: docs/decisions/0015-forged-changes.md."""

from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request

from lockgate.access.session_tokens import is_form_token
from lockgate.errors import Refused
from lockgate.settings import WorkerSettings

TOKEN_HEADER = "x-csrf-token"  # noqa: S105
TOKEN_FIELD = "csrf_token"  # noqa: S105
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"
#: What a form of another site can send without asking us first (https://fetch.spec.whatwg.org/#cors-safelisted-method).
_SIMPLE_METHODS = frozenset({"POST"})
_SIMPLE_CONTENT = frozenset({"", _FORM, "multipart/form-data", "text/plain"})


def is_change(request: Request) -> bool:
    """Say whether a call could change something."""
    return request.method not in _SAFE_METHODS


def is_form(request: Request) -> bool:
    """Say whether a call's body is a form of a page."""
    return _content_type(request) == _FORM


def check_origin(request: Request, settings: WorkerSettings) -> None:
    """Refuse a change that does not say, as browsers do, that it comes from this site.

    Raises:
        Refused: if it says otherwise, or nothing.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in (None, "same-origin") or (origin is not None and origin not in _origins(request, settings, site)):
        raise Refused("This change came from another site, so it is refused.")
    if site is None and origin is None:
        raise Refused(
            "This change does not say that it comes from this site, so it is refused. Programs send a token of their "
            "own (`Authorization: Bearer ...`), not a browser's cookie."
        )


def check_change(request: Request, settings: WorkerSettings, cookie: str | None, form: bytes | None) -> None:
    """Refuse a change that was sent with a session, unless a page of ours or MLflow's UI sent it.

    Args:
        request: The call.
        settings: The worker's settings.
        cookie: The session; None if a proxy signed the caller in, so that no page has a token.
        form: The body, if it is a form.

    Raises:
        Refused: if neither the token of the session's forms came with it, nor it is one that only a script of
            this site can send.
    """
    check_origin(request, settings)
    given = request.headers.get(TOKEN_HEADER) or _field(form)
    if given is not None:
        if cookie is None or not is_form_token(cookie, given):
            raise Refused("The page that sent this is out of date. Load it again and repeat what you did.")
        return
    if request.method in _SIMPLE_METHODS and _content_type(request) in _SIMPLE_CONTENT:
        raise Refused(
            "This change came without the page's token, so it is refused. Load the page again and repeat what you did."
        )


def _origins(request: Request, settings: WorkerSettings, site: str | None) -> set[str]:
    host = request.headers.get("host", "")
    own = {f"{request.scope.get('scheme', 'http')}://{host}"}
    if settings.public_url:
        public = urlsplit(settings.public_url)
        own.add(f"{public.scheme}://{public.netloc}")
    if site == "same-origin":
        # The browser itself compared the schemes; ours may be that between a proxy and us.
        own |= {f"https://{host}", f"http://{host}"}
    return own


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _field(form: bytes | None) -> str | None:
    if form is None:
        return None
    try:
        found = parse_qs(form.decode("latin-1"), max_num_fields=1000).get(TOKEN_FIELD, [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None
