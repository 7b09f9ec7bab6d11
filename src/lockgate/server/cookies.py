"""The cookies that browsers get: out of reach of scripts, of plain http where there is https, and of other sites."""

from starlette.requests import Request
from starlette.responses import Response

from lockgate.access.session_tokens import LIFETIME
from lockgate.server.authentication import SESSION_COOKIE
from lockgate.settings import WorkerSettings


def set_session_cookie(answer: Response, session: str, request: Request, settings: WorkerSettings) -> None:
    """Let a browser keep its session."""
    set_cookie(answer, SESSION_COOKIE, session, request, settings, int(LIFETIME.total_seconds()), "/")


def set_cookie(
    answer: Response,
    name: str,
    value: str,
    request: Request,
    settings: WorkerSettings,
    seconds: int,
    path: str = "/lockgate/sign-in",
) -> None:
    """Let a browser keep something for a while, and send it along on a path of ours."""
    answer.set_cookie(
        name,
        value,
        max_age=seconds,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https" or settings.public_url.startswith("https:"),
        path=f"{settings.static_prefix}{path}",
    )


def delete_cookie(answer: Response, name: str, settings: WorkerSettings, path: str = "/lockgate/sign-in") -> None:
    """Let a browser forget something."""
    answer.delete_cookie(name, path=f"{settings.static_prefix}{path}")
