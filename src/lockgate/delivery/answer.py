"""What came of a call or an e-mail."""

from dataclasses import dataclass
from enum import StrEnum


class Failure(StrEnum):
    """Why there is no whole answer. Nothing that a receiver says is among it: others may read this."""

    UNSENDABLE = "The call has a header that HTTP does not allow."
    REFUSED = "The URL, or an address that its host leads to, is not one that deliveries may reach."
    UNKNOWN_HOST = "The URL's host is not known: no address was found for it."
    NOT_CONNECTED = "No connection to the receiver could be made."
    NO_TLS = "No TLS connection to the receiver could be made. See whether its certificate is valid for its host."
    TIMED_OUT = "The receiver took longer than a delivery may take."
    BROKEN = "The connection broke before the answer was whole."
    MALFORMED = "The answer was not HTTP, or not a whole one."
    UNTOLD = "The event couldn't be told in the webhook's dialect; the server's log says why."
    UNSENT = "The call couldn't be sent; the server's log says why."
    NO_RELAY = "This server has no relay for e-mail. Whoever runs it sets LOCKGATE_SMTP_URL and LOCKGATE_SMTP_FROM."
    NOT_FOR_THEM = "This server sends no e-mail to the domain of one of the addresses: see LOCKGATE_SMTP_DOMAINS."


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        status: What the receiver answered; None if nothing.
        error: Why there is no whole answer, one of `Failure`; empty if there is one.
        retry_after: For how many seconds the receiver asks not to be called.
        milliseconds: How long it took.
        body: What it answered, as far as it was read: for dialects that go on with something in it. It is the
            receiver's word and is shown to nobody: or the server would read out to them what only it can reach.
    """

    status: int | None
    error: str
    retry_after: float | None
    milliseconds: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken the call. One that points elsewhere has not: it is followed nowhere."""
        return self.status is not None and 200 <= self.status < 300 and not self.error
