"""GitHub Actions (https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event): an event starts the
workflows of a repository that are for `repository_dispatch`.
"""

import re
from typing import Any, ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import MOST_BYTES, Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.payload import compact, payload

_NAME = re.compile(r"(?!\.{1,2}$)[\w.-]{1,100}", re.ASCII)
_MOST_OF_A_TYPE = 100
#: GitHub takes ten at the top, so what changed goes into one.
_TOP = ("id", "workspace", "model", "version", "target", "request_id", "actor", "outcome", "url")
_CHANGE = ("before", "after", "reason")


class Github:
    """Sends `repository_dispatch` to a repository; the endpoint's address is that of GitHub's API."""

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SECRET_SETTINGS: ClassVar[frozenset[str]] = frozenset({"token"})

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that names no repository or token.

        Raises:
            BadInput: saying what is missing or malformed.
        """
        settings = endpoint.settings
        if not all(_NAME.fullmatch(settings.get(name, "")) for name in ("owner", "repo")):
            raise BadInput("GitHub needs `owner` and `repo`: whose the repository is, and its name.")
        token = settings.get("token", "")
        if not (token and token.isascii() and token.isprintable()):
            raise BadInput("GitHub needs `token`, one that may write the repository's contents.")
        if len(settings.get("event_type", "")) > _MOST_OF_A_TYPE:
            raise BadInput(f"GitHub's `event_type` has at most {_MOST_OF_A_TYPE} characters.")

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type: it is told as what it is."""
        return (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that sends `repository_dispatch`, with the event's type if no other is set."""
        settings = endpoint.settings
        body = {
            "event_type": settings.get("event_type") or name,
            "client_payload": _client_payload(told, attempt.base_url),
        }
        return Call(
            f"{endpoint.url.rstrip('/')}/repos/{settings['owner']}/{settings['repo']}/dispatches",
            compact(body),
            {
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {settings['token']}",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )


def _client_payload(told: Told, base_url: str) -> dict[str, Any]:
    data = payload(told, base_url)["data"]
    top = {key: data[key] for key in _TOP if key in data}
    change = {key: data[key] for key in _CHANGE if key in data}
    return {**top, "change": change if len(compact(change)) < MOST_BYTES else {"shortened": True}}
