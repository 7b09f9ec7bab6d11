"""Jira, in the cloud and of one's own (https://developer.atlassian.com/cloud/jira/platform/rest/v2/): an issue for each
promotion request, with a comment for what happens to it, moved along when it is decided.

Version 2 of the REST API is spoken by both, and takes texts instead of documents.
"""

import base64
import json
import re
from typing import Any, ClassVar

from lockgate.errors import BadInput
from lockgate.events.dialect import Attempt, Call, Endpoint, Told
from lockgate.events.event import EventType
from lockgate.events.payload import compact, request_page
from lockgate.events.settings import Setting
from lockgate.events.titles import subject, title
from lockgate.events.wording import cut, line, paragraphs
from lockgate.promotions.request import State

_TRANSITION = "transition."
#: A project's key, and an issue's. Nothing else becomes part of a URL.
_PROJECT = re.compile(r"[A-Z][A-Z0-9_]{1,99}", re.ASCII)
_ISSUE = re.compile(r"[A-Z][A-Z0-9_]{1,99}-[0-9]{1,15}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,15}", re.ASCII)
#: Jira takes 255 characters.
_MOST_OF_A_SUMMARY = 250
#: What means something in Jira's notation for texts, and in numeric form nothing.
_NOTATION = frozenset("\\{}[]!*_-+^~?|#@")


class Jira:
    """Keeps an issue for each request; the endpoint's address is Jira's own, without a path of the API."""

    EVENTS: ClassVar[tuple[str, ...]] = (
        EventType.REQUEST_OPENED,
        EventType.EVIDENCE_CHANGED,
        EventType.INCUMBENT_CHANGED,
        EventType.GATE_FAILED,
        EventType.GATES_PASSED,
        EventType.REVIEW_ASKED,
        EventType.REQUEST_COMMENTED,
        EventType.REQUEST_REVIEWED,
        EventType.REQUEST_REJECTED,
        EventType.REJECTION_LIFTED,
        EventType.REQUEST_WITHDRAWN,
        EventType.REQUEST_EXPIRED,
        EventType.REQUEST_SUPERSEDED,
        EventType.PROMOTION_REFUSED,
        EventType.PROMOTED,
    )
    SIGNS: ClassVar[bool] = False
    SETTINGS: ClassVar[tuple[Setting, ...]] = (
        Setting("project", says_where=True),
        Setting("issue_type"),
        Setting("user", says_where=True),
        Setting("token", is_secret=True),
        Setting("transition.EVENT", pattern=rf"{re.escape(_TRANSITION)}.+"),
    )

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an endpoint that names no project or token, or a transition that could never be made.

        Raises:
            BadInput: saying what is missing or malformed.
        """
        settings = endpoint.settings
        if not _PROJECT.fullmatch(settings.get("project", "")):
            raise BadInput("Jira needs `project`: the project's key, such as ML.")
        if not settings.get("token"):
            raise BadInput("Jira needs `token`: an API token, with the `user` whose it is; or alone, a personal one.")
        if ":" in settings.get("user", ""):
            raise BadInput("Jira's `user` is an e-mail address or a name, without a colon.")
        for name, value in settings.items():
            if name.startswith(_TRANSITION) and not (
                name.removeprefix(_TRANSITION) in self.EVENTS and _NUMBER.fullmatch(value)
            ):
                raise BadInput(
                    "A transition is set for an event, by its number in Jira's workflow: "
                    f"`{_TRANSITION}{EventType.PROMOTED}=41`. The events are: {', '.join(self.EVENTS)}."
                )

    def names(self, told: Told) -> tuple[str, ...]:
        """Return the event's type if it is about a request: Jira is told of nothing else."""
        return (told.type,) if told.type in self.EVENTS and "request_id" in told.data else ()

    def subject(self, told: Told) -> str | None:
        """Return the request: of each, Jira's key of its issue is remembered."""
        return _label(told) if "request_id" in told.data else None

    def learn(self, told: Told, answer: bytes) -> str | None:
        """Return the key of the issue that was created, if it is one."""
        try:
            said = json.loads(answer)
        except (ValueError, RecursionError):
            return None
        key = said.get("key") if isinstance(said, dict) else None
        return key if isinstance(key, str) and _ISSUE.fullmatch(key) else None

    def call(self, told: Told, name: str, endpoint: Endpoint, attempt: Attempt) -> Call:
        """Return the call that creates the request's issue; once there is one, moves it along or comments on it."""
        if not attempt.remembered:
            return _call(endpoint, "", _creation(told, endpoint, attempt))
        issue = f"/{attempt.remembered}"
        comment = {"body": _text(told, attempt.base_url)}
        transition = endpoint.settings.get(_TRANSITION + name)
        if transition is None or not _decides(told):
            return _call(endpoint, f"{issue}/comment", comment)
        moved = {"transition": {"id": transition}, "update": {"comment": [{"add": comment}]}}
        return _call(endpoint, f"{issue}/transitions", moved)


def _decides(told: Told) -> bool:
    """Say whether an event may move an issue: a review does once it is the last that is needed."""
    return told.type is not EventType.REQUEST_REVIEWED or (
        not told.was_refused and told.after.get("state") == State.APPROVED
    )


def _creation(told: Told, endpoint: Endpoint, attempt: Attempt) -> dict[str, Any]:
    return {
        "fields": {
            "project": {"key": endpoint.settings["project"]},
            "issuetype": {"name": endpoint.settings.get("issue_type") or "Task"},
            "summary": line(f"Promotion: {subject(told)}", _MOST_OF_A_SUMMARY),
            "description": _text(told, attempt.base_url),
            "labels": ["lockgate", _label(told)],
        }
    }


def _label(told: Told) -> str:
    return f"lockgate-request-{told.data['request_id']}"


def _call(endpoint: Endpoint, path: str, body: dict[str, Any]) -> Call:
    headers = {"Accept": "application/json", "Authorization": _authorization(endpoint)}
    url = f"{endpoint.url.rstrip('/')}/rest/api/2/issue{path}"
    return Call(url, compact(body), {**headers, "Content-Type": "application/json"})


def _authorization(endpoint: Endpoint) -> str:
    user, token = endpoint.settings.get("user"), endpoint.settings["token"]
    if not user:
        return f"Bearer {token}"
    return f"Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}"


def _text(told: Told, base_url: str) -> str:
    head = f"*{title(told)}*\n{notation(subject(told))}"
    page = request_page(told, base_url)
    parts = ["\n".join(lines) for lines in paragraphs(told, notation)]
    return "\n\n".join([head, *parts, *([page] if page else [])])


def notation(text: str, most: int = 1_000) -> str:
    """Return what somebody wrote for Jira's notation: no link, no mention, no macro, at most so long when escaped."""
    signs = [f"&#{ord(sign)};" if sign in _NOTATION else sign for sign in line(text, most)]
    # Jira makes links of addresses by themselves.
    return cut([":\N{WORD JOINER}" if sign == ":" else sign for sign in signs], most)
