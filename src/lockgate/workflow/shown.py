"""What people are shown of webhooks in place of what is secret."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from lockgate.delivery.spoken import spoken
from lockgate.events.dialects.chat import Chat
from lockgate.events.settings import Setting, secret_among

#: In place of what is secret.
SHOWN = "..."


def has_secret_url(dialect: str) -> bool:
    """Say whether whoever has a webhook's URL can call its receiver: a chat asks for nothing else.

    So it is taken to be where the dialect's template is there no more.
    """
    return isinstance(spoken().get(dialect), Chat | None)


def address(dialect: str, url: str) -> str:
    """Return a webhook's URL as people are shown it: if it is secret, its host and the first of several path parts.

    Args:
        dialect: The webhook's dialect.
        url: Its URL, or one that is called for it.
    """
    if not has_secret_url(dialect):
        return url
    parts = urlsplit(url)
    first, is_followed, _ = parts.path.strip("/").partition("/")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{f'{first}/' if is_followed else ''}{SHOWN}"


def without_secrets(known: Collection[Setting], settings: Mapping[str, str]) -> dict[str, str]:
    """Return an endpoint's settings with dots in place of what is secret.

    Args:
        known: The settings that its dialect knows.
        settings: Those that it has.
    """
    secret = secret_among(known, settings)
    return {name: SHOWN if name in secret else value for name, value in settings.items()}
