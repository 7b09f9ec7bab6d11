"""Sending one HTTP call to a receiver that may be anybody's, or one e-mail to the operator's relay.

Each call has a connection of its own. A connection that is kept has been checked for the addresses of a moment ago, and
may be half closed: then nobody knows whether the receiver has the call. What a new one costs, a delivery can afford.
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from lockgate import __version__
from lockgate.delivery.addresses import Allowed, check_url, is_open
from lockgate.delivery.answer import Answer, Failure
from lockgate.delivery.relay import Relay
from lockgate.delivery.retry_after import seconds_to_wait
from lockgate.errors import BadInput
from lockgate.events.dialect import Call, Mail

#: For all of a call, from the question where its host is to the last byte of the answer.
DEADLINE_SECONDS = 30.0
MOST_BYTES = 64 * 1024

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OUR_HEADERS = {
    "User-Agent": f"Lockgate/{__version__}",
    # A small answer that is compressed can be a large one.
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Sender:
    """Sends calls.

    Args:
        allowed: What may be reached beyond the public Internet.
        deadline: How many seconds a call may take.
        relay: By which e-mail leaves; None if there is none.
    """

    def __init__(self, allowed: Allowed, deadline: float = DEADLINE_SECONDS, relay: Relay | None = None) -> None:
        self._allowed = allowed
        self._relay = relay
        self._deadline = deadline
        self._verifying = _transport(verify=True)
        self._trusting = _transport(verify=False)

    async def send(self, call: Call | Mail, verify_certificate: bool = True) -> Answer:
        """Send a call or an e-mail and return what came of it, whatever the receiver does.

        Args:
            call: The call or e-mail.
            verify_certificate: Whether the receiver must show that it is the one that is called; a relay always must.
        """
        if isinstance(call, Call):
            return await self._call(call, verify_certificate)
        if self._relay is None:
            return Answer(None, Failure.NO_RELAY.value, None, 0, b"")
        return await self._relay.send(call, self._deadline)

    async def _call(self, call: Call, verify_certificate: bool) -> Answer:
        began = time.monotonic()
        heard = _Heard()
        transport = self._verifying if verify_certificate else self._trusting
        failure: Failure | None = None
        try:
            async with asyncio.timeout(self._deadline):
                await self._exchange(call, transport, heard)
        except _Failed as error:
            failure = error.failure
        except (httpx.HTTPError, OSError) as error:
            failure = _failure(error, heard)
        finally:
            await heard.hang_up()
        return Answer(
            status=heard.status,
            error=failure.value if failure else "",
            retry_after=heard.retry_after,
            milliseconds=round((time.monotonic() - began) * 1000),
            body=bytes(heard.body[:MOST_BYTES]),
        )

    async def close(self) -> None:
        """Let go of what calls that were under way have left."""
        await self._verifying.aclose()
        await self._trusting.aclose()

    async def _exchange(self, call: Call, transport: httpx.AsyncHTTPTransport, heard: "_Heard") -> None:
        request = self._request(call, heard)
        await self._check_addresses(request.url)
        answer = await transport.handle_async_request(request)
        try:
            heard.status = answer.status_code
            heard.retry_after = seconds_to_wait(answer.headers.get("Retry-After"), datetime.now(UTC))
            async for chunk in answer.aiter_raw():
                heard.body += chunk
                if len(heard.body) >= MOST_BYTES:
                    return
        finally:
            await answer.aclose()

    def _request(self, call: Call, heard: "_Heard") -> httpx.Request:
        if not _are_headers(call.headers):
            raise _Failed(Failure.UNSENDABLE)
        try:
            # Seen again each time: what is allowed may have changed since the URL was given.
            check_url(call.url, self._allowed)
        except BadInput:
            raise _Failed(Failure.REFUSED) from None
        headers = httpx.Headers(call.headers)
        headers.update(_OUR_HEADERS)
        url = httpx.URL(call.url)
        watch = _Watch(_host(url), self._allowed, heard)
        return httpx.Request(call.method, url, headers=headers, content=call.body, extensions={"trace": watch.see})

    async def _check_addresses(self, url: httpx.URL) -> None:
        """Refuse a host before anything is connected if any of its addresses is closed."""
        host = _host(url)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _Failed(Failure.UNKNOWN_HOST) from None
        if not all(is_open(str(address[0]), self._allowed, host) for *_, address in found):
            raise _Failed(Failure.REFUSED)


@dataclass
class _Heard:
    """How far a call has come."""

    status: int | None = None
    retry_after: float | None = None
    body: bytearray = field(default_factory=bytearray)
    in_handshake: bool = False
    stream: Any = None

    async def hang_up(self) -> None:
        """Close the connection: httpx forgets one whose call ends in the handshake, and it stays open."""
        if self.stream is not None:
            await self.stream.aclose()


class _Failed(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(frozen=True)
class _Watch:
    """Sees each step of a call, before the next one is taken."""

    host: str
    allowed: Allowed
    heard: _Heard

    async def see(self, step: str, told: Mapping[str, Any]) -> None:
        """Note how far the call is, and end it if it is connected to where it must not be."""
        if step == "connection.start_tls.started":
            self.heard.in_handshake = True
        elif step == "connection.start_tls.complete":
            self.heard.in_handshake = False
        elif step == "connection.connect_tcp.complete":
            self.heard.stream = told["return_value"]
            self._check_peer()

    def _check_peer(self) -> None:
        """The name was asked for twice, and its owner may have answered twice: only the peer is what it is.

        Whoever does that is not told what they have reached: it looks as if nobody had been there.
        """
        peer = self.heard.stream.get_extra_info("server_addr")
        # One that is gone already has none.
        if peer is None or not is_open(peer[0], self.allowed, self.host):
            raise _Failed(Failure.NOT_CONNECTED)


def _transport(verify: bool) -> httpx.AsyncHTTPTransport:
    # Not a client: that logs URLs, which may be secrets, keeps cookies, and takes proxies from the environment.
    # A set of own certificates (SSL_CERT_FILE) is taken from there: how else would one call a house's own receivers?
    return httpx.AsyncHTTPTransport(
        verify=httpx.create_ssl_context(verify=verify),
        trust_env=False,
        # As many as there are: those that hang must not keep others waiting.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
    )


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _are_headers(headers: Mapping[str, str]) -> bool:
    return all(
        _HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable() and value == value.strip()
        for name, value in headers.items()
    )


def _failure(error: httpx.HTTPError | OSError, heard: _Heard) -> Failure:
    # Before the others, of which it is one.
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Failure.TIMED_OUT
    # With TLS 1.3 the receiver may say after the handshake that it wanted another one.
    if heard.in_handshake or isinstance(error, ssl.SSLError):
        return Failure.NO_TLS
    if isinstance(error, httpx.ConnectError):
        return Failure.NOT_CONNECTED
    if isinstance(error, httpx.ProtocolError):
        return Failure.MALFORMED
    return Failure.BROKEN
