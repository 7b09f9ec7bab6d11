"""GitHub Actions (https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event): an event starts the
workflows of a repository that are for `repository_dispatch`.
"""

from typing import Any, ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import MOST_BYTES, Attempt, Call, Endpoint, Told
from lockgate.events.dialects.github_api import REPOSITORY, call, check_repository
from lockgate.events.event import EventType
from lockgate.events.payload import compact, payload
from lockgate.events.settings import Setting

_MOST_OF_A_TYPE = 100
#: GitHub takes ten at the top, so what changed goes into one.
_TOP = ("id", "workspace", "model", "version", "target", "request_id", "actor", "outcome", "url")
_CHANGE = ("before", "after", "reason")


class Github:
    """Sends `repository_dispatch` to a repository; the endpoint's address is that of GitHub's API."""

    EVENTS: ClassVar[tuple[str, ...]] = tuple(EventType)
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = (*REPOSITORY, Setting("event_type", says_where=True))

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that names no repository or token.

        Raises:
            BadInput: saying what is missing or malformed.
        """
        check_repository(endpoint)
        if len(endpoint.settings.get("event_type", "")) > _MOST_OF_A_TYPE:
            raise BadInput(f"GitHub's `event_type` has at most {_MOST_OF_A_TYPE} characters.")

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type: it is told as what it is."""
        return (told.type,)

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that sends `repository_dispatch`, with the event's type if no other is set."""
        body = {
            "event_type": endpoint.settings.get("event_type") or name,
            "client_payload": _client_payload(told, attempt.base_url),
        }
        return call(endpoint, "dispatches", body)


def _client_payload(told: Told, base_url: str) -> dict[str, Any]:
    data = payload(told, base_url)["data"]
    top = {key: data[key] for key in _TOP if key in data}
    change = {key: data[key] for key in _CHANGE if key in data}
    return {**top, "change": change if len(compact(change)) < MOST_BYTES else {"shortened": True}}
