"""A relay for e-mail on loopback: a real SMTP server, which keeps what it takes.

with Relay() as relay:
    ...
    assert relay.messages[0]["Subject"] == "..."
"""

import ssl
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as AS_SENT
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.certificates import certificate
from tests.house import free_port

ACCEPTED = "250 OK"


class Relay:
    """A server of its own, on a port of its own.

    Args:
        folder: Where it keeps a certificate, for TLS; None for none.
        from_the_start: Whether TLS begins at once, and not by STARTTLS.
        login: The only user and password; None if nobody has to sign in.
    """

    def __init__(
        self, folder: Path | None = None, from_the_start: bool = False, login: tuple[str, str] | None = None
    ) -> None:
        self.messages: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []
        #: What it says to each recipient, and at the end of each message.
        self.to_recipient: Callable[[str], str] = lambda address: ACCEPTED
        self.at_end = ACCEPTED
        self.ca = ""
        self.port = free_port()
        context = None
        if folder is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.ca, key = certificate(folder)
            context.load_cert_chain(self.ca, key)
        options: dict[str, Any] = {}
        if context is not None and not from_the_start:
            options = {"tls_context": context, "require_starttls": True}
        if login is not None:
            options |= {"authenticator": _only(login), "auth_required": True, "auth_require_tls": context is not None}
            if from_the_start:
                options["auth_require_tls"] = False
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, ssl_context=context if from_the_start else None, **options
        )

    async def handle_RCPT(  # noqa: N802 - as the server calls it
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        said = self.to_recipient(address)
        if said == ACCEPTED:
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.at_end == ACCEPTED:
            assert isinstance(envelope.content, bytes)
            self.messages.append(message_from_bytes(envelope.content, _class=EmailMessage, policy=AS_SENT))
            self.envelopes.append(envelope)
            self.sessions.append(session)
        return self.at_end

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()


def _only(login: tuple[str, str]) -> Callable[..., AuthResult]:
    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        given = isinstance(data, LoginPassword) and (data.login.decode(), data.password.decode())
        return AuthResult(success=given == login, handled=False)

    return authenticate
