"""The operator's relay, by which e-mail leaves: where it is, and one message given to it.

To whom a message goes, whoever made the webhook chose, within the domains that the operator allows; by which server,
only the operator. So its address is not judged as those of webhooks are.
"""

import asyncio
import os
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as AS_SENT
from email.utils import format_datetime, getaddresses, parseaddr
from typing import cast
from urllib.parse import unquote, urlsplit

import httpx
from aiosmtplib import SMTP
from aiosmtplib.errors import SMTPException, SMTPResponseException, SMTPServerDisconnected

from lockgate.delivery.addresses import ALLOW_HOSTS, ALLOW_HTTP, Allowed
from lockgate.delivery.answer import Answer, Failure
from lockgate.errors import BadInput
from lockgate.events.dialect import Mail

URL = "LOCKGATE_SMTP_URL"
FROM = "LOCKGATE_SMTP_FROM"
DOMAINS = "LOCKGATE_SMTP_DOMAINS"

#: Where messages are submitted (RFC 6409), and where with TLS from the start (RFC 8314).
_PORTS = {"smtp": 587, "smtps": 465}
_ADDRESS = re.compile(r"[\w.+=~-]+@[A-Za-z0-9.-]+", re.ASCII)
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_TAKEN = 250


@dataclass(frozen=True)
class Relay:
    """A server that takes e-mail.

    Attributes:
        host: Where it is.
        port: On which port.
        sender: From whom messages are: an address, or a name and an address in angle brackets.
        tls: From the start, by STARTTLS, or not at all.
        user: As whom to sign in; nobody if empty.
        password: With which password.
        domains: Where its recipients may be, and nowhere below; none is anywhere.
    """

    host: str
    port: int
    sender: str
    tls: str
    user: str = ""
    password: str = field(default="", repr=False)
    domains: tuple[str, ...] = ()

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Relay | None":
        """Read it from the environment; return None if there is none.

        Raises:
            BadInput: for what is malformed there, without repeating the URL, which may have a password in it.
        """
        url, sender = environment.get(URL, "").strip(), environment.get(FROM, "").strip()
        if not url and not sender:
            return None
        if not _is_one_sender(sender):
            raise BadInput(f"{FROM} is from whom e-mail is, with {URL}: `Lockgate <lockgate@example.com>`.")
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname or ""
        except ValueError:
            raise _not_a_relay() from None
        if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
            raise _not_a_relay()
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        tls = "start" if parts.scheme == "smtps" else "none" if _may_be_plain(host, environment) else "starttls"
        return cls(host, port or _PORTS[parts.scheme], sender, tls, user, password, _domains(environment))

    def is_for(self, addresses: Sequence[str]) -> bool:
        """Say whether all of some addresses are where recipients may be."""
        return not self.domains or all(_domain_of(one) in self.domains for one in addresses)

    async def send(self, mail: Mail, deadline: float) -> Answer:
        """Give a message to the relay and return what came of it. It goes to all whom it is for, or to nobody.

        Args:
            mail: The message.
            deadline: How many seconds it may take.
        """
        if not self.is_for(mail.to):
            return Answer(None, Failure.NOT_FOR_THEM.value, None, 0, b"")
        began = time.monotonic()
        status: int | None = None
        failure: Failure | None = None
        try:
            async with asyncio.timeout(deadline):
                status = await self._exchange(mail)
        except SMTPResponseException as error:
            status = error.code
        except (SMTPException, OSError, MessageError, ValueError) as error:
            failure = _failure(error)
        took = round((time.monotonic() - began) * 1000)
        return Answer(status, failure.value if failure else "", None, took, b"")

    async def _exchange(self, mail: Mail) -> int:
        address = parseaddr(self.sender)[1]
        content = message(mail, self.sender).as_bytes()
        client = SMTP(
            hostname=self.host,
            port=self.port,
            local_hostname=_domain(self.sender),
            use_tls=self.tls == "start",
            start_tls=self.tls == "starttls",
            tls_context=httpx.create_ssl_context(),
            timeout=None,
        )
        try:
            await client.connect()
            if self.user:
                await client.login(self.user, self.password)
            await client.mail(address)
            # Who is refused keeps it from the others too: or those would have it again with each attempt.
            for one in mail.to:
                await client.rcpt(one)
            await client.data(content)
        finally:
            _hang_up(client)
        return _TAKEN


def _hang_up(client: SMTP) -> None:
    """Close a connection at once: closed in order, one by TLS stays open for as long as the relay likes."""
    if client.transport is not None:
        cast(asyncio.Transport, client.transport).abort()
    client.close()


def check_mail(addresses: Sequence[str]) -> None:
    """Refuse e-mail where this server has no relay for it, or none that is for these addresses.

    Raises:
        BadInput: saying what to set.
    """
    relay = Relay.read()
    if relay is None:
        raise BadInput(
            f"This server sends no e-mail yet. Whoever runs it sets {URL} (smtp://user:password@mail.example.com) and "
            f"{FROM} (Lockgate <lockgate@example.com>)."
        )
    if not relay.is_for(addresses):
        raise BadInput(
            f"This server sends e-mail to addresses at {', '.join(relay.domains)} only. Whoever runs it sets {DOMAINS}."
        )


def message(mail: Mail, sender: str) -> EmailMessage:
    """Return a message as it is sent.

    Args:
        mail: What it says, and to whom.
        sender: From whom it is.
    """
    written = EmailMessage(AS_SENT)
    written["From"] = sender
    written["To"] = ", ".join(mail.to)
    written["Subject"] = mail.subject
    written["Date"] = format_datetime(mail.at)
    written["Message-ID"] = f"<{mail.message_id}@{_domain(sender)}>"
    # So that nobody's absence is answered (RFC 3834).
    written["Auto-Submitted"] = "auto-generated"
    # Any relay takes it: what it is made of is ASCII, in short lines.
    written.set_content(mail.text, cte="quoted-printable")
    return written


def _is_one_sender(text: str) -> bool:
    found = getaddresses([text])
    return len(found) == 1 and _ADDRESS.fullmatch(found[0][1]) is not None and text.isprintable()


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _domains(environment: Mapping[str, str]) -> tuple[str, ...]:
    text = environment.get(DOMAINS, "")
    found = tuple(one.strip().lower() for one in text.split(",")) if text.strip() else ()
    for one in found:
        if not _DOMAIN.fullmatch(one):
            raise BadInput(f"{DOMAINS} has domains with commas between them: example.com,example.org. {one!r} is none.")
    return found


def _may_be_plain(host: str, environment: Mapping[str, str]) -> bool:
    allowed = Allowed.read(environment)
    return allowed.http and allowed.names(host)


def _not_a_relay() -> BadInput:
    return BadInput(
        f"{URL} is where e-mail is given to: smtp://user:password@mail.example.com (with STARTTLS; without, only for "
        f"hosts in {ALLOW_HOSTS} with {ALLOW_HTTP}=true), or smtps://. What is special in a password is "
        "percent-encoded."
    )


def _failure(error: Exception) -> Failure:
    if isinstance(error, TimeoutError):
        return Failure.TIMED_OUT
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Failure.NO_TLS
    if isinstance(error, SMTPServerDisconnected):
        return Failure.BROKEN
    if isinstance(error, OSError):
        return Failure.NOT_CONNECTED
    # It offers no STARTTLS, or no way to sign in that is known.
    return Failure.NO_TLS if isinstance(error, SMTPException) and "STARTTLS" in str(error) else Failure.MALFORMED
