"""E-mail (RFC 5322): a message to people, in plain text. The relay is the operator's (`lockgate.delivery.relay`)."""

import re
from typing import ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Endpoint, Mail, Told
from lockgate.events.event import EventType
from lockgate.events.payload import page
from lockgate.events.settings import Setting
from lockgate.events.titles import subject, title
from lockgate.events.wording import line, paragraphs

SCHEME = "mailto:"
_MOST_ADDRESSES = 20
_MOST_OF_A_SUBJECT = 200
#: What everybody's relay takes, and that no line of SMTP or of a header takes for anything else.
_ADDRESS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+=~-]{0,63}@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_MOST_OF_AN_ADDRESS = 254


class Email:
    """Tells an event to people by mail; the endpoint's address is `mailto:`, with one address or several."""

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def check(self, endpoint: Endpoint) -> None:
        """Refuse what names nobody, or says more than to whom.

        Raises:
            BadInput: saying what to write.
        """
        found = addresses(endpoint.url)
        if not found or len(found) > _MOST_ADDRESSES or not all(_is_address(one) for one in found):
            raise BadInput(
                f"E-mail goes to {SCHEME} and an address, or up to {_MOST_ADDRESSES} with commas between them: "
                f"{SCHEME}team@example.com,lead@example.com. Nothing follows them."
            )

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type: it is told as what it is."""
        return (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Mail:
        """Return the message."""
        about = line(subject(told), _MOST_OF_A_SUBJECT)
        parts = [about] if about else []
        parts += ["\n".join(lines) for lines in paragraphs(told, line)]
        if link := page(told, attempt.base_url):
            parts.append(link)
        # In ASCII a subject goes out as it is, for those who sort their mail by it.
        headline = f"[Lockgate] {title(told)}" + (f": {about}" if about else "").replace("\N{RIGHTWARDS ARROW}", "->")
        return Mail(addresses(endpoint.url), headline, "\n\n".join(parts) + "\n", attempt.message_id, told.at)


def addresses(url: str) -> tuple[str, ...]:
    """Return the addresses that a `mailto:` URL has."""
    return tuple(url.removeprefix(SCHEME).split(",")) if url.startswith(SCHEME) else ()


def _is_address(text: str) -> bool:
    return len(text) <= _MOST_OF_AN_ADDRESS and _ADDRESS.fullmatch(text) is not None and ".." not in text
