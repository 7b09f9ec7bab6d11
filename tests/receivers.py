"""Receivers of calls, on loopback: those that answer, and those that do what receivers do.

with Receiver() as receiver:
    receiver.behaviour = status(500)
    ...
    assert receiver.requests[0].body == b"..."
"""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.certificates import certificate

_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """A request that a receiver was sent; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Visit:
    """One connection, as a behaviour sees it."""

    receiver: "Receiver"
    connection: socket.socket
    #: All that came, as it came.
    heard: bytearray = field(default_factory=bytearray)

    def take(self) -> None:
        """Read a whole request and note it."""
        while b"\r\n\r\n" not in self.heard:
            self._hear()
        head, _, _ = bytes(self.heard).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        whole = len(head) + 4 + int(headers.get("content-length", "0"))
        while len(self.heard) < whole:
            self._hear()
        method, target, _ = first.split(" ")
        self.receiver.requests.append(Request(method, target, headers, bytes(self.heard[len(head) + 4 : whole])))

    def listen(self) -> None:
        """Read until the caller is gone."""
        with suppress(EOFError):
            while True:
                self._hear()

    def say(self, content: bytes) -> None:
        self.connection.sendall(content)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for that long, or until the receiver is closed."""
        self.receiver.closing.wait(seconds)

    def reset(self) -> None:
        """End the connection in the middle, as a process does that is killed."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _hear(self) -> None:
        found = self.connection.recv(65536)
        if not found:
            raise EOFError
        self.heard += found


Behaviour = Callable[[Visit], None]


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer a status; `retry_after="5"` is a header."""

    def behave(visit: Visit) -> None:
        visit.take()
        visit.say(answer(code, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    return behave


def slow(seconds: float) -> Behaviour:
    """Answer that all is well, but later."""

    def behave(visit: Visit) -> None:
        visit.take()
        visit.wait(seconds)
        visit.say(answer(200))

    return behave


def malformed(content: bytes = b"What do you want?\r\n\r\n") -> Behaviour:
    """Answer just that, and close."""

    def behave(visit: Visit) -> None:
        visit.take()
        visit.say(content)

    return behave


def endless(first: bytes, again: bytes, every: float = 0.0) -> Behaviour:
    """Answer something and then something else again and again, as fast as it is taken or every so many seconds."""

    def behave(visit: Visit) -> None:
        visit.take()
        visit.say(first)
        while not visit.receiver.closing.wait(every):
            visit.say(again)

    return behave


def redirect(url: str, code: int = 302) -> Behaviour:
    """Point elsewhere."""
    return status(code, location=url)


def ok(visit: Visit) -> None:
    """Answer that all is well."""
    status(200, b"ok")(visit)


def hang(visit: Visit) -> None:
    """Take the request and say nothing."""
    visit.take()
    visit.wait()


def reset(visit: Visit) -> None:
    """Take the request and end the connection in the middle."""
    visit.take()
    visit.reset()


def listen(visit: Visit) -> None:
    """Note what comes and say nothing."""
    visit.listen()


def endless_body(visit: Visit) -> None:
    """Answer that all is well, and never come to an end."""
    endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)(visit)


def answer(code: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Write an answer as it goes over the wire."""
    phrase = HTTPStatus(code).phrase if code in set(HTTPStatus) else "Whatever"
    lines = [f"HTTP/1.1 {code} {phrase}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Receiver:
    """A server of its own, on a port of its own.

    Args:
        behaviour: What it does; another one can be given at any time, for connections from then on.
        folder: Where it keeps a certificate, for TLS; None for plain HTTP.
        asks_for_certificate: Whether with TLS it wants one of the caller.
        address: The address of loopback to bind.
    """

    def __init__(
        self,
        behaviour: Behaviour = ok,
        folder: Path | None = None,
        asks_for_certificate: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        self.visits: list[Visit] = []
        self.closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tls = _tls(folder, asks_for_certificate) if folder else None
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.create_server((address, 0), family=family, backlog=128)
        self.host = f"[{address}]" if ":" in address else address
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}/hook"

    def heard(self) -> list[bytes]:
        """Return what came on each connection, once all of them have ended."""
        for thread in self._threads[1:]:
            thread.join(_PATIENCE_SECONDS)
            assert not thread.is_alive(), "a connection is still open"
        return [bytes(visit.heard) for visit in self.visits]

    def __enter__(self) -> Self:
        self._begin(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        with suppress(OSError):
            # Wakes who accepts.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for visit in self.visits:
            with suppress(OSError):
                visit.connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS)

    def _begin(self, what: Callable[[], None]) -> None:
        thread = threading.Thread(target=what, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            visit = Visit(self, connection)
            self.visits.append(visit)
            self._begin(lambda visit=visit, behaviour=self.behaviour: self._receive(visit, behaviour))

    def _receive(self, visit: Visit, behaviour: Behaviour) -> None:
        # Callers go away whenever they like.
        with suppress(OSError, EOFError), visit.connection:
            if self._tls is not None:
                visit.connection = self._tls.wrap_socket(visit.connection, server_side=True)
            with visit.connection:
                behaviour(visit)


def _tls(folder: Path, asks_for_certificate: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own, key = certificate(folder)
    context.load_cert_chain(own, key)
    if asks_for_certificate:
        context.load_verify_locations(own)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
