"""Where a call comes from: the peer of the socket, or who a proxy says, if the proxy is one of ours."""

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from lockgate.access.identity import TrustedProxies

_FORWARDED_USER = "lockgate.forwarded_user"


class Origins:
    """Takes a proxy's word on address, scheme and user if the socket's peer is among the trusted ones.

    uvicorn would take the first two from whoever calls from the same machine, before we see who the peer was: the
    server runs it with that off, and this is the one place where a forwarded header means anything.

    Args:
        app: What is behind.
        trusted: The proxies that may say who is calling; None for none.
        behind: Addresses and networks of more that may say from where, comma-separated.
    """

    def __init__(self, app: ASGIApp, trusted: TrustedProxies | None, behind: str = "") -> None:
        self._app = app
        self._trusted = trusted
        known = [str(network) for network in trusted.addresses] if trusted else []
        # It looks itself whether the peer is one of them.
        self._forwarded = ProxyHeadersMiddleware(app, [*known, *filter(None, behind.split(","))])  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note what the proxy says, if it is to be believed."""
        peer = scope.get("client")
        if self._trusted is not None and peer is not None and self._trusted.include(peer[0]):
            scope[_FORWARDED_USER] = _only(scope, self._trusted.header)
        await self._forwarded(scope, receive, send)  # type: ignore[arg-type]


def forwarded_user(scope: Scope) -> str | None:
    """Return the name that a trusted proxy says is calling, if it says one."""
    name: str | None = scope.get(_FORWARDED_USER)
    return name


def _only(scope: Scope, header: str | None) -> str | None:
    """Return a header's value; None if it stands there twice, of which one may be the caller's own."""
    if header is None:
        return None
    wanted = header.lower().encode()
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[0].decode("latin-1").strip() or None if len(found) == 1 else None
